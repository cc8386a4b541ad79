"""What would have been decided at an instant: the events up to it, the facts and the catalog of then (R11).

What was answered then is in the decision log, and may differ: events may have come late, or been counted
ahead of their time. No counter is read; what the journal still holds is brought to Postgres first.
"""

from datetime import datetime, timedelta

import msgspec

from policies import decide, entitlement, errors, explain, limits, stretches
from policies.balance import Levels
from policies.decide import Request
from policies.decision import Decision
from policies.engine import Engine
from policies.entitlement import Right
from policies.explain import Sold
from policies.model import MeteredTerms, Offer, Versions
from policies.snapshot import Snapshot
from service import ids
from service.context import Context
from service.usecases import check
from service.usecases.check import Question
from store import catalogs, flush, keyspace, past, postgres
from store.link import RedisAwayError


class Then(msgspec.Struct, frozen=True, kw_only=True):
    """What held at the instant."""

    at: datetime
    feature_id: str
    snapshot: Snapshot
    offer: Offer
    versions: Versions

    def right(self, instant: datetime) -> Right:
        """The right of an instant, as far as these facts reach."""
        return entitlement.resolve(
            self.snapshot, offer=self.offer, versions=self.versions, feature_id=self.feature_id, at=instant
        )


async def decided(context: Context, question: Question, at: datetime) -> Decision:
    """The decision; `degraded` where events of a moment ago may be missing, with Redis away or too busy.

    Errors: InvalidError for an instant out of reach, and as `check`; UnavailableError.
    """
    _refuse_out_of_reach(at, context.clock.now())
    complete = await bring_over(context, question.tenant_id)
    async with postgres.transaction(context.pool) as connection:
        then = await facts(connection, question.tenant_id, question.feature_id, at)
        right = then.right(at)
        request = check.request_of(question, right, 0, check.whole)
        levels = await _levels(connection, then, right, request) if decide.needs_levels(right) else None
    engine = Engine()  # of its own: slices of old plans would push out those of today
    decision = decide.decide(
        engine,
        right,
        request,
        levels,
        now=at,
        decision_id=ids.DECISIONS.new(),
        catalog_hash=then.offer.hash,
        degraded=levels is not None and not complete,
        explain=question.explain,
    )
    if not question.explain:
        return decision
    # Plans and add-ons are not proposed: nobody can buy one for a time that is over.
    sold = Sold(plans=[], addons=[], later=then.right)
    return explain.complete(decision, engine, right, request, levels, now=at, sold=sold)


def _refuse_out_of_reach(at: datetime, now: datetime) -> None:
    if at > now + timedelta(seconds=limits.EVENT_AHEAD_SECONDS):
        raise errors.invalid(
            "/at", "This instant is more than 5 minutes ahead; nobody knows what will be used."
        )
    if at < now - timedelta(days=limits.HISTORY_DAYS):
        raise errors.invalid("/at", f"Decisions of the past reach {limits.HISTORY_DAYS} days back.")


async def bring_over(context: Context, tenant_id: str) -> bool:
    """Whether all that was accepted for this tenant up to now is in Postgres."""
    link, shard = context.counters.link, keyspace.shard_of(tenant_id)
    try:
        return await flush.drain(context.pool, link, shard=shard, now=context.clock.now())
    except RedisAwayError:
        return False


async def facts(
    connection: postgres.Connection,
    tenant_id: str,
    feature_id: str,
    at: datetime,
    *,
    catalog: str | None = None,
) -> Then:
    """What held of a tenant at an instant, as far as it bears on a feature; on the catalog of then.

    `catalog` names the one that was decided on, which may have been the one before for a moment.
    Errors: InvalidError where no catalog was active.
    """
    active = catalog or await past.active_hash(connection, at)
    offer = await catalogs.read_offer(connection, active) if active is not None else None
    if offer is None:
        raise errors.invalid("/at", "No catalog was active at this instant, so nothing could be decided.")
    snapshot = await past.snapshot(connection, tenant_id, feature_id=feature_id, at=at)
    needed = snapshot.named(offer)
    versions = await catalogs.read_versions(connection, *needed, lines_of=offer.hash)
    return Then(at=at, feature_id=feature_id, snapshot=snapshot, offer=offer, versions=versions)


async def _levels(connection: postgres.Connection, then: Then, right: Right, request: Request) -> Levels:
    assert isinstance(right.terms, MeteredTerms), "only metered features have counters"
    capped = [
        stretches.capped(
            then.snapshot.subscriptions,
            offer=then.offer,
            versions=then.versions,
            feature_id=right.feature_id,
            cap=cap,
            window=window,
        )
        for cap, window in zip(right.terms.caps, right.cap_windows, strict=True)
    ]
    return await past.levels(connection, right, entity_id=request.entity_id, capped=capped, at=then.at)
