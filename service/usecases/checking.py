"""One question of now: the way that most checks go, shorter than that of many.

About a tenant that the process has not met, snapshot and counters come in one round trip where the counters
can be named without the snapshot: where the rights of others to the feature want the same.
"""

import msgspec

from policies.decision import Decision
from policies.snapshot import Snapshot
from service.context import Context
from service.usecases import check
from service.usecases.check import Question
from store.link import RedisAwayError
from store.reading import FenceClosedError, Levels, Want


class _Met(msgspec.Struct, frozen=True, gc=False):
    """A tenant that this process did not know, with the counters that others' rights to the feature want."""

    snapshot: Snapshot
    want: Want
    levels: Levels


async def one(context: Context, question: Question) -> Decision:
    """As `check.check` of one question of now.

    Errors: as there.
    """
    now, offer = context.clock.now(), check.active_offer(context)
    snapshot, met, standing = context.snapshots.cached(question.tenant_id), None, None
    if snapshot is None:
        met = await _meet(context, question)
        snapshot = met.snapshot if met is not None else await context.snapshots.get(question.tenant_id)
    else:
        standing = context.rights.get(snapshot, offer, question.feature_id, now)
    if standing is None:
        standing = await check.resolve_and_keep(context, offer, snapshot, question.feature_id, now)
    case = check.case_of(standing, question, 0, check.whole)
    try:
        known = met is not None and met.want == case.want
        found = met.levels if met is not None and known else await context.counters.read_one(case.want)
    except (RedisAwayError, FenceClosedError):
        decision, read = check.without_counters(context, case, now, noted=True), None
    else:
        check.remember(context, case, found, now)
        if check.is_outdated((case,), (found,)):
            return (await check.check(context, (question,), at=now))[0]
        decision, read = check.decision_on(context, case, found, now, degraded=False, noted=True), found
    return await check.explained(context, case, read, decision) if question.explain else decision


async def _meet(context: Context, question: Question) -> _Met | None:
    """Snapshot and counters in one trip; None where the snapshot has to come from Postgres."""
    want = Want(question.tenant_id, context.rights.usual(question.feature_id))
    try:
        met = await context.counters.meet(want)
    except (RedisAwayError, FenceClosedError):
        return None
    snapshot = context.snapshots.take(met)
    if snapshot is not None:
        return _Met(snapshot, want, met.levels)
    await context.snapshots.load(question.tenant_id)
    return None
