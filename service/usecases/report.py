"""How much was used, by whom, when: series over whole hours, days or months, from what has been flushed."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec

from policies import errors, limits, period, quantity
from policies.model import LEVELS
from service.context import Context
from service.usecases import check
from store import postgres
from store import usage as usage_store
from store.catalogs import Meaning
from store.usage import GroupBy, Span, Step

DEFAULT_SPAN: dict[Step, timedelta] = {
    "hour": timedelta(days=1),
    "day": timedelta(days=30),
    "month": timedelta(days=365),
}
Number = int | str


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What a report is asked for. What is left out is chosen: the last day, month or year up to now."""

    tenant_id: str | None = None
    feature_id: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    step: Step = "day"
    group_by: GroupBy | None = None


class Series(msgspec.Struct, frozen=True, rename="camel"):
    """One group: a point for every step, also where nothing was used."""

    key: str
    points: list[tuple[datetime, Number]]


class Report(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer. A level (R21) has the hours in which it rose.

    `total` is None where quantities do not add up: of different features, and of a level unless the span is
    made of whole usage periods of one tenant.
    """

    series: list[Series]
    total: Number | None
    events: int
    flushed_through: datetime | None
    """Every event acknowledged before it is in the report."""


async def usage(context: Context, question: Question) -> Report:
    """The report.

    Errors: InvalidError for a span that is not whole hours or has too many points, for an unknown feature
    or tenant, and for a grouping that would add up different features; UnavailableError.
    """
    span = _span(question, context.clock.now())
    feature = _feature(context, question)
    async with postgres.transaction(context.pool) as connection:
        through = await usage_store.flushed_through(connection, question.tenant_id)
        points = await usage_store.series(connection, span, limit=limits.SERIES_POINTS + 1)
    if question.tenant_id is not None and not points:
        await _known_tenant(context, question.tenant_id)
    steps = list(_steps(span))
    by_key: dict[str, dict[datetime, int]] = {}
    for point in points:
        by_key.setdefault(point.key, {})[point.at] = int(point.quantity)
    if feature is not None and not by_key:
        by_key = {_lone_key(span): {}} if _lone_key(span) else {}
    if len(points) > limits.SERIES_POINTS or len(by_key) * len(steps) > limits.SERIES_POINTS:
        detail = f"The report would have more than {limits.SERIES_POINTS:,} points; ask for a shorter span."
        raise errors.invalid("?from", detail)
    decimals = {key: _decimals(context, feature, key) for key in by_key}
    return Report(
        series=[
            Series(key, [(at, quantity.render(found.get(at, 0), decimals[key])) for at in steps])
            for key, found in by_key.items()
        ],
        total=quantity.render(sum(int(point.quantity) for point in points), feature.decimals)
        if feature is not None and await _adds_up(context, feature, span)
        else None,
        events=sum(point.events for point in points),
        flushed_through=through,
    )


async def _adds_up(context: Context, feature: Meaning, span: Span) -> bool:
    """Whether the points of one feature are parts of a whole: those of a level are within a usage period."""
    if feature.aggregation not in LEVELS:
        return True
    if span.tenant_id is None:
        return False
    offer, snapshot = check.active_offer(context), await context.snapshots.load(span.tenant_id)
    at = span.start
    for _ in range(limits.REPORT_PERIODS):
        right = await check.resolve(context, offer, snapshot, feature.feature_id, at)
        if right.period is None or right.period.start != at or right.period.end is None:
            return False
        at = right.period.end
        if at >= span.end:
            return at == span.end
    return False


def _span(question: Question, now: datetime) -> Span:
    end = question.end or _next_hour(now)
    start = question.start or end - DEFAULT_SPAN[question.step]
    for at, pointer in ((start, "?from"), (end, "?to")):
        if at != _hour(at):
            raise errors.invalid(pointer, "A report is made of whole hours in UTC: no minutes, no seconds.")
    if end <= start:
        raise errors.invalid("?to", "`to` is not after `from`.")
    if (end - start) / timedelta(hours=1) > limits.SERIES_POINTS:
        detail = f"The report would have more than {limits.SERIES_POINTS:,} points; ask for a shorter span."
        raise errors.invalid("?from", detail)
    grouping = question.group_by or "feature"
    if question.feature_id is None and grouping != "feature":
        detail = "Quantities of different features do not add up: name a featureId, or group by feature."
        raise errors.invalid("?groupBy", detail)
    return Span(
        start=start,
        end=end,
        step=question.step,
        group_by=grouping,
        tenant_id=question.tenant_id,
        feature_id=question.feature_id,
    )


def _hour(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _next_hour(now: datetime) -> datetime:
    return _hour(now) + timedelta(hours=1)


def _steps(span: Span) -> Iterator[datetime]:
    """The start of every step that the span touches."""
    at = span.start
    while at < span.end:
        step = period.containing(at, interval=span.step, anchor="calendar", anchored_at=at)
        yield step.start
        assert step.end is not None, "hours, days and months end"
        at = step.end


def _feature(context: Context, question: Question) -> Meaning | None:
    """As it was first published: its numbers can be read also when no plan has it any more."""
    if question.feature_id is None:
        return None
    feature = context.catalogs.meanings.get(question.feature_id)
    if feature is None:
        raise errors.invalid("?featureId", f"No plan knows a feature {question.feature_id}.")
    return feature


async def _known_tenant(context: Context, tenant_id: str) -> None:
    """As Postgres has it now: it may have been made a moment ago, by another process."""
    if not (await context.snapshots.load(tenant_id)).known:
        raise errors.invalid("?tenantId", f"There is no tenant {tenant_id}.")


def _lone_key(span: Span) -> str:
    """The one group there would be, so that a report without usage shows a line of zeros."""
    by_group = {"feature": span.feature_id, "tenant": span.tenant_id}
    return by_group.get(span.group_by) or ""


def _decimals(context: Context, feature: Meaning | None, key: str) -> int:
    known = feature or context.catalogs.meanings.get(key)
    return known.decimals if known else 0
