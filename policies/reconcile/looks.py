"""Two looks: what a second one, a minute later, finds just so is open; only that may be acted on."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Final, Literal

import msgspec

from policies.reconcile.classes import Class
from policies.reconcile.finding import Finding

APART: Final = timedelta(seconds=60)
State = Literal["suspected", "open", "gone"]


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A finding with its history."""

    finding: Finding
    state: State = "suspected"
    looks: int = 1
    first_seen_at: datetime
    last_seen_at: datetime


def looked(
    before: Mapping[str, Kept], found: Collection[Finding], now: datetime, *, covered: Collection[Class]
) -> tuple[Kept, ...]:
    """How each stands after a look, also those that it has not found any more.

    What is of no class that the look has `covered` stays as it was: it was not looked for.
    """
    after = {one.finding_id: _again(before.get(one.finding_id), one, now) for one in found}
    for finding_id, kept in before.items():
        if finding_id not in after and kept.state != "gone" and kept.finding.kind in covered:
            after[finding_id] = msgspec.structs.replace(kept, state="gone", last_seen_at=now)
    return tuple(after.values())


def _again(before: Kept | None, found: Finding, now: datetime) -> Kept:
    fresh = Kept(finding=found, first_seen_at=now, last_seen_at=now)
    if before is None or before.state == "gone" or before.finding != found:
        return fresh
    apart = now - before.first_seen_at >= APART
    return Kept(
        finding=found,
        state="open" if apart or before.state == "open" else "suspected",
        looks=before.looks + 1,
        first_seen_at=before.first_seen_at,
        last_seen_at=now,
    )
