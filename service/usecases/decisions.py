"""The decision log to be looked at: what was decided, on what, and would it come out the same again?"""

from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from policies import errors, logged, quantity
from policies.balance import Levels
from policies.compiler.cedar import Reason
from policies.decision import Decision, Number
from policies.engine import Engine, Outcome
from policies.logged import Facts, Logged
from service.context import Context
from service.decision_log import RELEASE
from store import catalogs, postgres
from store import decisions as store
from store.decisions import Wanted

LAST = "9999-12-31T00:00:00+00:00~~"
"""A place behind all that can be kept: no id begins with a sign above it."""
FIRST = datetime(1970, 1, 1, tzinfo=UTC)
END = datetime(9999, 1, 1, tzinfo=UTC)
What = Literal["release", "catalog", "version", "usage", "context", "answer"]


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which decisions; None is any. Half-open in time."""

    tenant_id: str | None = None
    feature_id: str | None = None
    outcome: Outcome | None = None
    reason: Reason | None = None
    start: datetime | None = None
    end: datetime | None = None


class Summary(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One decision of the log. `weight` is how many answers it stands for: N of an allow sampled 1 in N."""

    decision_id: str
    as_of: datetime
    tenant_id: str
    feature_id: str
    entity_id: str | None
    requested: Number
    context: dict[str, str]
    allowed: bool
    outcome: str
    reason: str
    policy_id: str | None
    degraded: bool
    plan_id: str | None
    plan_version: str | None
    catalog: str
    weight: int


class Whole(Summary, frozen=True, kw_only=True, rename="camel"):
    """One decision with what it stood on. Quantities of `facts` and `levels` are scaled integers."""

    release: str
    """What decided: our version and the engine's."""
    facts: Facts
    levels: Levels | None
    """What the counters said; null if none bore on it, or none could be read."""
    counters_away: bool
    facts_stale: bool


class Page(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A part of the list, newest first."""

    items: list[Summary]
    next_cursor: str | None


class Difference(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One thing that is not as it was: of the answer itself, or a reason why it may differ."""

    what: What
    logged: str | None
    now: str | None
    message: str


class Rerun(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What comes out today on what was known then. `decision` is null if it cannot be decided again."""

    same: bool
    decision: Decision | None
    differences: list[Difference]


async def listed(context: Context, wanted: Filter, *, after: str, limit: int) -> Page:
    """Decisions that are kept, newest first.

    Errors: InvalidError for a cursor that no page gave; UnavailableError.
    """
    span = Wanted(
        start=wanted.start or FIRST,
        end=wanted.end or END,
        tenant_id=wanted.tenant_id,
        feature_id=wanted.feature_id,
        outcome=wanted.outcome,
        reason=wanted.reason,
    )
    async with postgres.transaction(context.pool) as connection:
        found = await store.page(connection, span, before=_place(after), limit=limit + 1)
    shown = found[:limit]
    last = shown[-1] if len(found) > limit else None
    return Page(
        items=[Summary(**_summary(context, _read(kept.body))) for kept in shown],
        next_cursor=f"{last.as_of.astimezone(UTC).isoformat()}~{last.decision_id}" if last else None,
    )


async def get(context: Context, decision_id: str, *, only: str | None = None) -> Whole:
    """One decision; `only` leaves none of another tenant than that one.

    Errors: NotFoundError, UnavailableError.
    """
    found = await _find(context, decision_id, only)
    return Whole(
        **_summary(context, found),
        release=found.release,
        facts=found.facts,
        levels=found.levels,
        counters_away=found.away,
        facts_stale=found.stale,
    )


async def rerun(context: Context, decision_id: str, *, only: str | None = None) -> Rerun:
    """Decides again on the facts and the levels of then, with the catalog of then and the program of today.

    Errors: NotFoundError, UnavailableError.
    """
    found = await _find(context, decision_id, only)
    differences = _told_release(found)
    async with postgres.transaction(context.pool) as connection:
        offer = await catalogs.read_offer(connection, found.facts.catalog)
        if offer is None:
            return _impossible(differences, "catalog", found.facts.catalog)
        needed = found.facts.snapshot.named(offer)
        versions = await catalogs.read_versions(connection, *needed, lines_of=offer.hash)
    gone = sorted((needed[0] - versions.plans.keys()) | (needed[1] - versions.addons.keys()))
    if gone:
        return _impossible(differences, "version", gone[0])
    right = logged.right(found, offer, versions)
    try:
        again = logged.run(Engine(), found, right, catalog_hash=offer.hash)
    except errors.InvalidError as error:
        differences.append(Difference(what="context", logged=None, now=None, message=error.detail))
        return Rerun(same=False, decision=None, differences=differences)
    if isinstance(again, logged.Unlike):
        message = f"It cannot be decided again: {again.message}."
        differences.append(Difference(what="usage", logged=None, now=None, message=message))
        return Rerun(same=False, decision=None, differences=differences)
    unlike = _compared(found, again)
    return Rerun(same=not unlike, decision=again, differences=[*differences, *unlike])


async def _find(context: Context, decision_id: str, only: str | None) -> Logged:
    async with postgres.transaction(context.pool) as connection:
        body = await store.get(connection, decision_id, tenant_id=only)
    if body is None:
        raise errors.NotFoundError(
            f"No decision {decision_id} is kept: allows are sampled, and all are dropped after some weeks."
        )
    return _read(body)


def _read(body: str) -> Logged:
    return msgspec.json.decode(body, type=Logged)


def _summary(context: Context, one: Logged) -> dict[str, Any]:
    meaning = context.catalogs.meanings.get(one.feature_id)
    return {
        "decision_id": one.decision_id,
        "as_of": one.as_of,
        "tenant_id": one.tenant_id,
        "feature_id": one.feature_id,
        "entity_id": one.entity_id,
        "requested": quantity.render(one.quantity, meaning.decimals if meaning else 0),
        "context": one.context,
        **msgspec.structs.asdict(one.answer),
        "plan_id": one.facts.plan_id,
        "plan_version": one.facts.plan_version,
        "catalog": one.facts.catalog,
        "weight": one.weight,
    }


def _told_release(found: Logged) -> list[Difference]:
    if found.release == RELEASE:
        return []
    message = f"It was decided by {found.release}; this is {RELEASE}."
    return [Difference(what="release", logged=found.release, now=RELEASE, message=message)]


def _impossible(differences: list[Difference], what: What, name: str) -> Rerun:
    message = f"It cannot be decided again: {name} is not kept any more."
    gone = Difference(what=what, logged=name, now=None, message=message)
    return Rerun(same=False, decision=None, differences=[*differences, gone])


def _compared(found: Logged, again: Decision) -> list[Difference]:
    before, after = found.answer, logged.answered(again)
    return [
        Difference(
            what="answer",
            logged=_text(getattr(before, name)),
            now=_text(getattr(after, name)),
            message=f"{encoded} was {_text(getattr(before, name))} and is {_text(getattr(after, name))}.",
        )
        for name, encoded in ((field.name, field.encode_name) for field in msgspec.structs.fields(before))
        if getattr(before, name) != getattr(after, name)
    ]


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _place(after: str) -> tuple[datetime, str]:
    at, _, decision_id = (after or LAST).partition("~")
    try:
        return datetime.fromisoformat(at).astimezone(UTC), decision_id
    except (ValueError, OverflowError) as error:
        raise errors.invalid(
            "?cursor", "A cursor is the `nextCursor` of the page before, as it came."
        ) from error
