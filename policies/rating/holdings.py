"""On what did a subscription stand over time, as far as it is paid for?"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from policies import subscription
from policies.combine import Held
from policies.model import PlanVersion, Versions
from policies.subscription import Phase, Subscription

FOREVER: Final = datetime.max.replace(tzinfo=UTC)


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """A plan with its add-ons over a half-open span."""

    start: datetime
    end: datetime
    plan: PlanVersion
    addons: tuple[Held, ...]
    trial: bool
    """Then nothing is owed for it."""


def of(held: Subscription, versions: Versions) -> tuple[Holding, ...]:
    """In order of time. Where payments say `ended` there is none, nor on a fallback plan: nobody bought it.

    Errors: KeyError if a version is missing.
    """
    return tuple(piece for phase in held.phases for piece in _pieces(held, phase, versions))


def at(holdings: Sequence[Holding], instant: datetime) -> Holding | None:
    """The one that holds at an instant."""
    return next((one for one in holdings if one.start <= instant < one.end), None)


def _pieces(held: Subscription, phase: Phase, versions: Versions) -> Iterator[Holding]:
    """The parts of a phase between the edges of trial and billing status."""
    begin, end = phase.start, phase.end or FOREVER
    addons = tuple(Held(versions.addons[one.addon_version], one.quantity) for one in phase.addons)
    edges = {fact.since for fact in held.billing} | ({held.trial_ends_at} if held.trial_ends_at else set())
    within = sorted(edge for edge in edges if begin < edge < end)
    for start, stop in zip([begin, *within], [*within, end], strict=True):
        if subscription.billing_status_at(held, start) == "ended":
            continue
        yield Holding(
            start=start,
            end=stop,
            plan=versions.plans[phase.plan_version],
            addons=addons,
            trial=held.trial_ends_at is not None and start < held.trial_ends_at,
        )
