"""A tenant that a process has not met: one trip, or one query for all of them, and never an old right."""

import asyncio
import sys
from collections.abc import AsyncIterator

import pytest

from policies.decision import Decision
from service import wiring
from service.context import Context
from service.usecases import check, checking, subscribe
from service.usecases.check import Check
from store import keyspace
from tests.conftest import PATIENT
from tests.store import ledger

VOICE = Check(tenant_id="acme", feature_id="premium-voice-model")
COPY = keyspace.snapshot(keyspace.shard_of("acme"), "acme")


@pytest.fixture
async def cold(counting: Context, config, clock) -> AsyncIterator[Context]:
    """Another process, which has met no tenant on these plans but another."""
    await ledger.subscribed(counting, "other", "free")
    async with wiring.open_context(config, clock, PATIENT) as process:
        assert await plan_of(process, "other") == "free"
        yield process


async def plan_of(context: Context, tenant_id: str = "acme") -> str | None:
    ask = Check(tenant_id=tenant_id, feature_id=VOICE.feature_id)
    decision = await answer(context, ask)
    assert not decision.degraded
    return decision.plan_id


async def by_many(context: Context, ask: Check) -> Decision:
    return (await check.check(context, [ask]))[0]


answer = checking.one


@pytest.fixture(params=[checking.one, by_many], ids=["one", "many"])
def either_way(request, monkeypatch):
    """Of one question, as elsewhere here, and of several, which takes another way to the snapshot."""
    monkeypatch.setattr(sys.modules[__name__], "answer", request.param)


async def copied(context: Context) -> bytes:
    """The copy in Redis, once it is there."""
    await context.snapshots.load("acme")
    await asyncio.gather(*context.snapshots._source._copying)
    (copy,) = (await context.counters.link.send([("GET", COPY)])).values
    assert copy
    return copy


@pytest.fixture
def forged(catalog):
    """Makes a copy say that the tenant is on pro."""
    free, pro = (catalog.plans[name].version.encode() for name in ("free", "pro"))

    def forge(copy: bytes) -> bytes:
        assert free in copy
        return copy.replace(free, pro)

    return forge


async def change(context: Context, plan_id: str) -> None:
    await subscribe.change(context, ledger.ORDER, "acme", subscribe.Move(plan_id=plan_id, when="now"))


async def asked_of_postgres(context: Context) -> int:
    return context.pool.get_stats().get("requests_num", 0)


async def test_what_redis_has_is_not_asked_of_postgres(counting: Context, cold: Context):
    await copied(counting)
    await cold.pool.close()
    assert await plan_of(cold) == "free"


@pytest.mark.usefixtures("either_way")
async def test_a_copy_that_comes_late_never_decides(counting: Context, cold: Context):
    """Its writer read Postgres before the change and reached Redis after it."""
    late = await copied(counting)
    await change(counting, "pro")
    await counting.counters.link.send([("SET", COPY, late)])
    assert await plan_of(cold) == "pro"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: b"",
        lambda copy: copy[:-1],
        lambda copy: copy[8:],
        lambda copy: b"00000000" + copy[8:],
        lambda copy: copy.replace(b'"version": ', b'"version": 9'),
    ],
    ids=["empty", "cut", "unmarked", "of another query", "of another version"],
)
async def test_a_copy_that_is_none_is_passed_over(counting: Context, cold: Context, spoil, forged):
    good = await copied(counting)
    assert spoil(good) != good
    await counting.counters.link.send([("SET", COPY, spoil(forged(good)))])
    assert await plan_of(cold) == "free"


@pytest.mark.parametrize("what", ["copy", "version", "both"])
async def test_deleting_what_redis_has_changes_no_answer(counting: Context, cold: Context, what: str, forged):
    wrong = forged(await copied(counting))
    versions = ("HDEL", keyspace.versions(keyspace.shard_of("acme")), "acme")
    commands = {"copy": [("DEL", COPY)], "version": [("SET", COPY, wrong), versions]}
    await counting.counters.link.send(commands.get(what, [("DEL", COPY), versions]))
    assert await plan_of(cold) == "free"
    (found,) = await cold.counters.read([check.Want("acme", ())])
    assert found.snapshot_version == (await counting.snapshots.load("acme")).version


async def test_a_version_that_redis_lost_makes_a_warm_process_look_again(counting: Context, cold: Context):
    """Else the word of a change that was lost with it would never be missed."""
    assert await plan_of(cold) == "free"
    await change(counting, "pro")
    await counting.counters.link.send([("DEL", keyspace.versions(keyspace.shard_of("acme")))])
    assert await plan_of(cold) == "pro"


@pytest.mark.usefixtures("either_way")
async def test_behind_a_closed_fence_no_copy_is_believed(counting: Context, cold: Context, forged):
    """A server that came back without its last writes has an old copy at an old version."""
    wrong = forged(await copied(counting))
    shard = keyspace.shard_of("acme")
    await counting.counters.link.send([("SET", COPY, wrong), ("DEL", keyspace.fence(shard))])
    decision = await answer(cold, VOICE)
    assert (decision.plan_id, decision.degraded) == ("free", True)


async def test_a_version_that_comes_a_second_time_finds_no_copy_of_the_first(
    counting: Context, cold: Context
):
    """Postgres was restored to before a change; the next one gets the same number."""
    copy = await copied(counting)
    version = (await counting.snapshots.load("acme")).version
    await asyncio.gather(*counting.snapshots._source._copying)
    lost = copy.replace(b'"free"', b'"enterprise"').replace(
        b'"version": %d' % version, b'"version": %d' % (version + 1)
    )
    assert lost.count(b'"version": %d' % (version + 1)) == 1
    await counting.counters.raise_versions({"acme": version + 1})
    await counting.counters.link.send([("SET", COPY, lost)])
    await change(counting, "pro")
    assert await plan_of(cold) == "pro"


async def test_many_cold_tenants_are_one_query(counting: Context, cold: Context):
    names = [f"t{number}" for number in range(40)]
    for name in names[:3]:
        await ledger.subscribed(counting, name, "free")
    before = await asked_of_postgres(cold)
    decisions = await check.check(cold, [Check(tenant_id=name, feature_id="data-region") for name in names])
    assert [decision.reason for decision in decisions[:4]] == ["value"] * 3 + ["unknown_tenant"]
    assert await asked_of_postgres(cold) == before + 1


async def test_callers_that_wait_for_postgres_gather_for_its_next_query(counting: Context, cold: Context):
    names = [f"t{number}" for number in range(40)]
    before = await asked_of_postgres(cold)
    await asyncio.gather(*(plan_of(cold, name) for name in names * 2))
    assert await asked_of_postgres(cold) <= before + 3


async def test_with_postgres_away_everyone_who_waits_is_told(cold: Context):
    await cold.pool.close()
    told = await asyncio.gather(*(plan_of(cold, f"t{n}") for n in range(5)), return_exceptions=True)
    assert {type(error).__name__ for error in told} == {"UnavailableError"}


# --- one question: counters where others' are -------------------------------------------------------


@pytest.fixture
async def copies(counting: Context) -> None:
    """Tenants whose snapshots Redis has: three on the same plan and days, one on another."""
    for tenant_id, plan_id in (("a1", "free"), ("a2", "free"), ("a3", "free"), ("b1", "pro"), ("b2", "free")):
        await ledger.subscribed(counting, tenant_id, plan_id)
        await counting.snapshots.load(tenant_id)
    await asyncio.gather(*counting.snapshots._source._copying)


async def gets(context: Context) -> int:
    """GETs so far: of each trip the catalog and the fence, and the copy where one is wanted."""
    stats = (await context.counters.link.send([("INFO", "commandstats")])).values[0].decode()
    (line,) = [line for line in stats.splitlines() if line.startswith("cmdstat_get:")]
    return int(line.partition("calls=")[2].partition(",")[0])


async def test_counters_that_are_where_others_are_come_with_the_snapshot(copies, config, clock, counting):
    """And who has them elsewhere gets a second trip, and its own."""
    asked = {}
    await ledger.statuses(counting, *(ledger.event(n, 100 + n, tenant_id=t) for n, t in enumerate(ORDER)))
    async with wiring.open_context(config, clock, PATIENT) as process:
        for tenant_id in ORDER:
            before = await gets(counting)
            ask = Check(tenant_id=tenant_id, feature_id="ai-tokens")
            decision = await checking.one(process, ask)
            asked[tenant_id] = await gets(counting) - before
            again = await by_many(process, ask)
            assert decision.usage == again.usage == 100 + ORDER.index(tenant_id)
            assert (decision.plan_id, decision.granted) == (again.plan_id, again.granted)
    assert asked == {"a1": 5, "a2": 5, "a3": 3, "b1": 5, "b2": 5}


ORDER = ("a1", "a2", "a3", "b1", "b2")
