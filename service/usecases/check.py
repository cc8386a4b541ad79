"""May this tenant use this feature now? Reads what is needed in one round trip, and never consumes."""

import asyncio
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Final, Protocol

import msgspec

from policies import decide, errors, pattern, quantity
from policies.decide import Request
from policies.decision import Decision
from policies.entitlement import Right
from policies.model import Feature, Offer
from policies.snapshot import Snapshot
from service import ids
from service.context import Context
from service.rights import Given, Standing
from service.usecases import explaining, levels
from store.link import RedisAwayError
from store.reading import FenceClosedError, Levels, Want

UNIT = 1
_UNUSED: Final = ""
"""An entity that nobody can name at the border, so nothing was ever counted for it."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One question, its types and bounds checked at the border. `quantity` is in the feature's unit."""

    tenant_id: str
    feature_id: str
    quantity: int | str = UNIT
    entity_id: str | None = None
    context: dict[str, str] = {}
    explain: bool = False


class Question(Protocol):
    """What a check asks, in whatever shape it came."""

    @property
    def tenant_id(self) -> str: ...  # noqa: D102 - as in Check, and so are the others
    @property
    def feature_id(self) -> str: ...  # noqa: D102
    @property
    def quantity(self) -> int | str: ...  # noqa: D102
    @property
    def entity_id(self) -> str | None: ...  # noqa: D102
    @property
    def context(self) -> dict[str, str] | None: ...  # noqa: D102
    @property
    def explain(self) -> bool: ...  # noqa: D102


class Case(msgspec.Struct, gc=False):
    """A question on its way to an answer."""

    question: Question
    standing: Standing
    request: Request
    want: Want
    """Without fields where no counter bears on it: the tenant's version is read all the same."""


Pointer = Callable[[int], str]
"""Says where a question stands in the body, by its place; asked only for what is wrong."""


def whole(place: int) -> str:
    """The pointer to a question that is the whole body."""
    del place
    return ""


async def check(
    context: Context,
    questions: Sequence[Question],
    pointer: Pointer = whole,
    *,
    at: datetime | None = None,
    noted: bool = True,
) -> list[Decision]:
    """The decisions, in order; `pointer` says where each question stands, for naming its bad fields.

    They are of now, or of an instant near it, and go to the decision log unless `noted` says otherwise.

    Errors: InvalidError for what a feature does not take (a key of the context, an entity, decimals);
    UnavailableError when a tenant is in no cache and Postgres is away, or no catalog is active.
    """
    now = at or context.clock.now()
    cases = _warm_cases(context, questions, pointer, now)
    if cases is None:
        cases = await _cases(context, questions, pointer, now)
    found = await _read(context, cases, now)
    doubtful: AbstractSet[str] = frozenset()
    if found and is_outdated(cases, found):
        doubtful = await _catch_up(context, cases, found)
        cases = await _cases(context, questions, pointer, now)
        found = await _read(context, cases, now)
    if found is None:
        decisions = [without_counters(context, case, now, noted=noted) for case in cases]
    else:
        decisions = [
            decision_on(context, case, got, now, degraded=case.question.tenant_id in doubtful, noted=noted)
            for case, got in zip(cases, found, strict=True)
        ]
    for place, case in enumerate(cases):
        if case.question.explain:
            read = found[place] if found is not None else None
            decisions[place] = await explained(context, case, read, decisions[place])
    return decisions


async def entitlements(
    context: Context, tenant_id: str, *, entity_id: str | None
) -> tuple[list[Decision], int]:
    """A decision on one unit of every feature of the catalog, and the snapshot version behind them.

    What is decided by entity, where none is named, is answered as for one that has used nothing yet.
    """
    questions = [
        Check(tenant_id=tenant_id, feature_id=feature.id, entity_id=_listed_for(feature, entity_id))
        for feature in active_offer(context).features.values()
    ]
    decisions = await check(context, questions, noted=False)  # a list that is looked at is no use
    version = (await context.snapshots.get(tenant_id)).version
    return [
        msgspec.structs.replace(one, entity_id=None) if one.entity_id == _UNUSED else one for one in decisions
    ], version


def _listed_for(feature: Feature, entity_id: str | None) -> str | None:
    if feature.entity == "none":
        return None
    return _UNUSED if entity_id is None and feature.entity == "required" else entity_id


def active_offer(context: Context) -> Offer:
    """What the active catalog offers.

    Errors: UnavailableError before the first one is published.
    """
    if context.catalogs.active is None:
        raise errors.UnavailableError("No catalog is active yet.", retry_after_s=2)
    return context.catalogs.active


async def standing_of(context: Context, tenant_id: str, feature_id: str, at: datetime) -> Standing:
    """What a tenant's right to a feature is at an instant near this one.

    Errors: UnavailableError when it is in no cache and Postgres is away, or no catalog is active.
    """
    offer = active_offer(context)
    snapshot = context.snapshots.cached(tenant_id) or await context.snapshots.get(tenant_id)
    standing = context.rights.get(snapshot, offer, feature_id, at)
    return standing or await resolve_and_keep(context, offer, snapshot, feature_id, at)


async def resolve(context: Context, offer: Offer, snapshot: Snapshot, feature_id: str, at: datetime) -> Right:
    """The right to a feature, with the plan and add-on versions that it needs."""
    plans, addons = snapshot.named(offer)
    versions = context.catalogs.known(plans, addons) or await context.catalogs.need(plans, addons)
    return pattern.resolve(snapshot, offer=offer, versions=versions, feature_id=feature_id, at=at)


def _warm_cases(
    context: Context, questions: Sequence[Question], pointer: Pointer, now: datetime
) -> list[Case] | None:
    """The cases, if all that they are made of is at hand."""
    offer = active_offer(context)
    cases = []
    for place, question in enumerate(questions):
        standing = at_hand(context, offer, question, now)
        if standing is None:
            return None
        cases.append(case_of(standing, question, place, pointer))
    return cases


def at_hand(context: Context, offer: Offer, question: Question, now: datetime) -> Standing | None:
    """The standing that this process knows; what Redis says may be newer."""
    snapshot = context.snapshots.cached(question.tenant_id)
    return None if snapshot is None else context.rights.get(snapshot, offer, question.feature_id, now)


async def _cases(
    context: Context, questions: Sequence[Question], pointer: Pointer, now: datetime
) -> list[Case]:
    offer = active_offer(context)
    snapshots = await context.snapshots.need({question.tenant_id for question in questions})
    cases = []
    for place, question in enumerate(questions):
        snapshot = snapshots[question.tenant_id]
        standing = context.rights.get(snapshot, offer, question.feature_id, now)
        if standing is None:
            standing = await resolve_and_keep(context, offer, snapshot, question.feature_id, now)
        cases.append(case_of(standing, question, place, pointer))
    return cases


def case_of(standing: Standing, question: Question, place: int, pointer: Pointer) -> Case:
    """The case of a question about a right; errors as `request_of`."""
    want = standing.want
    if question.entity_id is not None and standing.by_entity:
        want = levels.want(standing.right, question.entity_id)
    return Case(question, standing, request_of(question, standing.right, place, pointer), want)


async def resolve_and_keep(
    context: Context, offer: Offer, snapshot: Snapshot, feature_id: str, now: datetime
) -> Standing:
    """Resolves a right, and keeps it for the next request."""
    right = await resolve(context, offer, snapshot, feature_id, now)
    standing = standing_on(snapshot, offer, right, now)
    context.rights.keep(standing)
    if right.feature is not None:
        context.rights.note(feature_id, standing.want.fields)
    return standing


def standing_on(snapshot: Snapshot, offer: Offer, right: Right, since: datetime) -> Standing:
    """What a right that was resolved at an instant makes possible, kept nowhere yet."""
    counted = decide.needs_levels(right)
    return Standing(
        snapshot=snapshot,
        offer=offer,
        since=since,
        right=right,
        want=levels.want(right, None) if counted else Want(snapshot.tenant_id, ()),
        by_entity=counted and levels.by_entity(right),
        remembered=counted and right.feature is not None and right.feature.when_unavailable == "lastKnown",
    )


def request_of(question: Question, right: Right, place: int, pointer: Pointer) -> Request:
    """What is put to the engine; `pointer` and `place` name bad fields.

    Errors: InvalidError for what the feature does not take.
    """
    feature, entity_id, said = right.feature, question.entity_id, question.context or {}
    if feature is not None and feature.entity == "required" and entity_id is None:
        raise errors.invalid(f"{pointer(place)}/entityId", f"{feature.id} is decided by entity: say which.")
    if feature is not None and feature.entity == "none" and entity_id is not None:
        detail = f"{feature.id} is not decided by entity: leave it out."
        raise errors.invalid(f"{pointer(place)}/entityId", detail)
    if said and feature is not None:
        for key in said:
            if key not in feature.context:
                known = ", ".join(feature.context) or "none"
                detail = f"{feature.id} takes these keys of context: {known}."
                raise errors.invalid(f"{pointer(place)}/context/{key}", detail)
    try:
        scaled = quantity.parse(question.quantity, feature.decimals if feature else 0)
    except ValueError as error:
        raise errors.invalid(f"{pointer(place)}/quantity", str(error)) from error
    return Request(feature_id=question.feature_id, quantity=scaled, entity_id=entity_id, context=said)


async def _read(context: Context, cases: Sequence[Case], now: datetime) -> list[Levels] | None:
    """The levels of each case in one round trip; None when Redis cannot be believed now."""
    try:
        found = await context.counters.read([case.want for case in cases])
    except (RedisAwayError, FenceClosedError):
        return None
    for case, got in zip(cases, found, strict=True):
        remember(context, case, got, now)
    return found


def remember(context: Context, case: Case, found: Levels, now: datetime) -> None:
    """Keeps what was read for when Redis is away, if the feature goes by that."""
    if case.standing.remembered:
        context.last_known.keep(case.want, found.values, now)


def is_outdated(cases: Sequence[Case], found: Sequence[Levels]) -> bool:
    """Whether Redis knows of something newer than what these cases were made of."""
    word, active = found[0].catalog, cases[0].standing.offer.hash
    if word is not None and word != active:
        return True
    for case, read in zip(cases, found, strict=True):
        if read.snapshot_version != case.standing.snapshot.version and _is_late(case, read):
            return True
    return False


def _is_late(case: Case, read: Levels) -> bool:
    """Whether Redis knows a newer snapshot, or has lost the version that it knew."""
    snapshot = case.standing.snapshot
    if read.snapshot_version is None:
        return snapshot.known
    return read.snapshot_version > snapshot.version


async def _catch_up(context: Context, cases: Sequence[Case], found: Sequence[Levels]) -> AbstractSet[str]:
    """Reads again what is newer; names the tenants of whom that cannot be done, since Postgres is away.

    The old rights then decide, and the answers say that they are degraded.
    """
    word = found[0].catalog
    if word is not None and not await context.follower.heed(word):
        return {case.question.tenant_id for case in cases}
    late = {case.question.tenant_id for case, read in zip(cases, found, strict=True) if _is_late(case, read)}
    try:
        await asyncio.gather(*map(context.snapshots.renew, late))
    except errors.UnavailableError:
        return late
    return frozenset()


def decision_on(
    context: Context, case: Case, found: Levels, now: datetime, *, degraded: bool, noted: bool
) -> Decision:
    """The decision; the last one with its instant and id anew, where it answers this request too."""
    standing, request, plain = case.standing, case.request, not (degraded or case.question.explain)
    given = standing.given
    if given is not None and plain and given.counted == found.values:
        again = given.again(context.engine, standing.right, request, now=now, decision_id=ids.DECISIONS.new())
        if again is not None:
            if noted:
                context.decisions.note(again, standing, request, given.levels)
            return again
    read = levels.read(standing.right, request.entity_id, found.values) if case.want.fields else None
    decision = decide.decide(
        context.engine,
        standing.right,
        request,
        read,
        now=now,
        decision_id=ids.DECISIONS.new(),
        catalog_hash=standing.offer.hash,
        degraded=degraded,
        explain=case.question.explain,
    )
    if plain and decision.outcome != "indeterminate":
        if standing.decided:
            standing.given = Given(found.values, request, read, decision)
        standing.decided = True
    if noted:
        context.decisions.note(decision, standing, request, read, stale=degraded)
    return decision


async def explained(context: Context, case: Case, found: Levels | None, decision: Decision) -> Decision:
    """The decision with all that stands behind it."""
    read = None
    if found is not None and case.want.fields:
        read = levels.read(case.standing.right, case.question.entity_id, found.values)
    return await explaining.explained(context, case.standing, case.request, read, decision)


def without_counters(context: Context, case: Case, now: datetime, *, noted: bool) -> Decision:
    """Without Redis: boolean and static features are decided as ever, metered ones by `whenUnavailable`."""
    standing = case.standing
    recalled = context.last_known.recall(case.want, now) if case.want.fields else None
    read = levels.read(standing.right, case.question.entity_id, recalled) if recalled else None
    decision = decide.unavailable(
        context.engine,
        standing.right,
        case.request,
        read,
        now=now,
        decision_id=ids.DECISIONS.new(),
        catalog_hash=standing.offer.hash,
        explain=case.question.explain,
    )
    if noted:
        context.decisions.note(decision, standing, case.request, read, away=True)
    return decision
