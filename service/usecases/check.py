"""May this tenant use this feature now? Reads what is needed in one round trip, and never consumes."""

import secrets
from collections.abc import Sequence
from datetime import datetime

import msgspec

from policies import decide, entitlement, errors, quantity
from policies.decide import Request
from policies.decision import Decision
from policies.entitlement import Right, Snapshot
from policies.model import Catalog
from service.context import Context
from service.usecases import levels
from store.counters import FenceClosedError, Levels, Want
from store.link import RedisAwayError

UNIT = 1


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One question, its types and bounds checked at the border. `quantity` is in the feature's unit."""

    tenant_id: str
    feature_id: str
    quantity: int | str = UNIT
    entity_id: str | None = None
    context: dict[str, str] = {}
    explain: bool = False
    pointer: str = ""
    """Where it stands in the body, for naming its bad fields."""


class _Case(msgspec.Struct):
    """A question on its way to an answer."""

    check: Check
    snapshot: Snapshot
    right: Right
    request: Request
    want: Want
    """Without fields where no counter bears on it: the tenant's version is read all the same."""


async def check(context: Context, questions: Sequence[Check]) -> list[Decision]:
    """The decisions, in order.

    Errors: InvalidError for what a feature does not take (a key of the context, an entity, decimals);
    UnavailableError when a tenant is in no cache and Postgres is away, or no catalog is active.
    """
    now = context.clock.now()
    catalog = active_catalog(context)
    cases = [await _case(context, catalog, question, now) for question in questions]
    found = await _read(context, cases, now)
    late: list[int] = []
    if found is not None:
        late = [
            number
            for number, case in enumerate(cases)
            if found[number].snapshot_version > case.snapshot.version
        ]
        if late and await _renew(context, catalog, cases, late, now):
            late = []
            found = await _read(context, cases, now)
    if found is None:
        return [_degraded(context, case, now, catalog) for case in cases]
    return [
        _decided(context, case, found[place], now, catalog, degraded=place in late)
        for place, case in enumerate(cases)
    ]


async def entitlements(
    context: Context, tenant_id: str, *, entity_id: str | None
) -> tuple[list[Decision], int]:
    """A decision on one unit of every feature of the catalog, and the snapshot version behind them."""
    catalog = active_catalog(context)
    questions = [
        Check(
            tenant_id=tenant_id,
            feature_id=feature.id,
            entity_id=entity_id if feature.entity != "none" else None,
        )
        for feature in catalog.features.values()
        if feature.entity != "required" or entity_id is not None
    ]
    decisions = await check(context, questions)
    return decisions, (await context.snapshots.get(tenant_id)).version


def active_catalog(context: Context) -> Catalog:
    """The active catalog.

    Errors: UnavailableError before the first one is published.
    """
    if context.catalogs.active is None:
        raise errors.UnavailableError("No catalog is active yet.", retry_after_s=2)
    return context.catalogs.active


async def resolve(
    context: Context, catalog: Catalog, snapshot: Snapshot, feature_id: str, at: datetime
) -> Right:
    """The right to a feature, with the plan versions that it needs."""
    named = {phase.plan_version for held in snapshot.subscriptions for phase in held.phases}
    plans = (await context.catalogs.need(named)).plans
    return entitlement.resolve(snapshot, catalog=catalog, versions=plans, feature_id=feature_id, at=at)


async def _case(context: Context, catalog: Catalog, question: Check, now: datetime) -> _Case:
    snapshot = await context.snapshots.get(question.tenant_id)
    right = await resolve(context, catalog, snapshot, question.feature_id, now)
    request = _request(question, right)
    bare = Want(question.tenant_id, ())
    wanted = levels.want(right, question.entity_id) if decide.needs_levels(right) else bare
    return _Case(question, snapshot, right, request, wanted)


def _request(question: Check, right: Right) -> Request:
    feature = right.feature
    if feature is not None and feature.entity == "required" and question.entity_id is None:
        raise errors.invalid(f"{question.pointer}/entityId", f"{feature.id} is decided by entity: say which.")
    if feature is not None and feature.entity == "none" and question.entity_id is not None:
        detail = f"{feature.id} is not decided by entity: leave it out."
        raise errors.invalid(f"{question.pointer}/entityId", detail)
    taken = feature.context if feature is not None else tuple(question.context)
    for key in question.context:
        if key not in taken:
            known = ", ".join(taken) or "none"
            detail = f"{question.feature_id} takes these keys of context: {known}."
            raise errors.invalid(f"{question.pointer}/context/{key}", detail)
    try:
        scaled = quantity.parse(question.quantity, feature.decimals if feature else 0)
    except ValueError as error:
        raise errors.invalid(f"{question.pointer}/quantity", str(error)) from error
    return Request(
        feature_id=question.feature_id,
        quantity=scaled,
        entity_id=question.entity_id,
        context=question.context,
    )


async def _read(context: Context, cases: Sequence[_Case], now: datetime) -> list[Levels] | None:
    """The levels of each case in one round trip; None when Redis cannot be believed now."""
    try:
        found = await context.counters.read([case.want for case in cases])
    except (RedisAwayError, FenceClosedError):
        return None
    for case, got in zip(cases, found, strict=True):
        if case.want.fields:
            context.last_known.keep(case.want, got.values, now)
    return found


async def _renew(
    context: Context, catalog: Catalog, cases: list[_Case], late: Sequence[int], now: datetime
) -> bool:
    """Reads the snapshots again that Redis knows a newer version of; False if Postgres is away.

    The old rights then decide, and the answers say that they are degraded.
    """
    try:
        for tenant_id in {cases[number].check.tenant_id for number in late}:
            await context.snapshots.renew(tenant_id)
    except errors.UnavailableError:
        return False
    for number in late:
        cases[number] = await _case(context, catalog, cases[number].check, now)
    return True


def _decided(
    context: Context, case: _Case, found: Levels, now: datetime, catalog: Catalog, *, degraded: bool
) -> Decision:
    needed = decide.needs_levels(case.right)
    return decide.decide(
        context.engine,
        case.right,
        case.request,
        levels.read(case.right, case.check.entity_id, found.values) if needed else None,
        now=now,
        decision_id=_decision_id(),
        catalog_hash=catalog.hash,
        degraded=degraded,
        explain=case.check.explain,
    )


def _degraded(context: Context, case: _Case, now: datetime, catalog: Catalog) -> Decision:
    """Without Redis: boolean and static features are decided as ever, metered ones by `whenUnavailable`."""
    recalled = context.last_known.recall(case.want, now) if case.want.fields else None
    return decide.unavailable(
        context.engine,
        case.right,
        case.request,
        levels.read(case.right, case.check.entity_id, recalled) if recalled else None,
        now=now,
        decision_id=_decision_id(),
        catalog_hash=catalog.hash,
        explain=case.check.explain,
    )


def _decision_id() -> str:
    return f"dec_{secrets.token_hex(10)}"
