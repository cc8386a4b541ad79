"""What a server has lost is found and told, however it lost it; what it has kept is no incident."""

import asyncio
import os
from pathlib import Path

import pytest
import redis

from policies import errors
from service import wiring
from service.config import Config
from service.context import Context
from service.usecases import check, quarantine
from service.usecases.check import Check
from service.usecases.quarantine import Verdict
from store import certify, flush, incidents, journal, keyspace, postgres
from store.incidents import Reach
from store.link import RedisAwayError
from tests.conftest import NOW, PATIENT
from tests.servers import Valkey, until
from tests.store.ledger import ORDER, TOKENS, event, flush_all, levels, statuses, stored
from tests.store.test_acknowledged import told

SHARD = keyspace.shard_of("acme")
STEP = 1 if os.environ.get("METERGATE_HYPOTHESIS") == "nightly" else 11
"""Each how manieth bit is flipped; a nightly run flips all of them."""


async def recertified(context: Context) -> None:
    """As a worker does it; the first word after a restart may find a connection that is gone."""
    while True:
        try:
            assert await certify.certify(context.pool, context.counters.link, now=NOW)
        except RedisAwayError:
            await asyncio.sleep(0)
        else:
            return


async def degraded(context: Context) -> bool:
    """Whether a check says that it does not know the counters; one that does not must know all of them."""
    (decision,) = await check.check(context, [Check(tenant_id="acme", feature_id=TOKENS)])
    assert decision.degraded or decision.usage == sum(await levels(context))
    return decision.degraded


async def test_a_restart_loses_nothing_and_is_no_incident(own: Context, server: Valkey):
    assert await statuses(own, event(1)) == ["accepted"]
    await flush_all(own)
    assert await statuses(own, event(2)) == ["accepted"]
    server.kill()
    server.start()
    await degraded(own)  # the connection that is gone
    assert await degraded(own)
    await recertified(own)
    assert not await degraded(own)
    await incidents.tell_tips(own.pool, own.counters.link.tips, now=NOW)
    assert await statuses(own, event(3)) == ["accepted"]
    await flush_all(own)
    assert (await levels(own), await stored(own), await told(own)) == ((30, 0, 0), (3, 30), [])


@pytest.mark.parametrize("how", ["emptied", "an older file", "another server"])
async def test_what_was_acknowledged_and_is_gone_is_counted(own: Context, server: Valkey, how: str):
    assert await statuses(own, event(1)) == ["accepted"]
    await flush_all(own)
    copy = None
    if how == "an older file":
        copy = server.kept()
    assert await statuses(own, event(2)) == ["accepted"]
    await flush_all(own)
    for number in (3, 4):
        assert await statuses(own, event(number)) == ["accepted"]
    await incidents.tell_tips(own.pool, own.counters.link.tips, now=NOW)
    if how == "emptied":
        await own.counters.link.send([("FLUSHALL",)])
    else:
        server.kill()
        server.put_back(copy)
        server.start()
        await degraded(own)
    assert await degraded(own)  # never from zero
    await recertified(own)
    assert not await degraded(own)
    assert await told(own) == [("journal-older", None), ("entries-lost", 2)]
    assert await statuses(own, event(2), event(3)) == ["accepted"] * 2  # their marks are gone, too
    await flush_all(own)
    assert await stored(own) == (3, 30)
    assert await told(own) == [("journal-older", None), ("entries-lost", 2)]


async def test_it_is_told_too_when_the_worker_was_faster_than_who_had_acknowledged(own: Context):
    assert await statuses(own, event(1)) == ["accepted"]
    await own.counters.link.send([("FLUSHALL",)])
    await recertified(own)
    assert await told(own) == []  # nothing had been brought over, so nothing is missed yet
    assert await statuses(own, event(2)) == ["accepted"]
    await incidents.tell_tips(own.pool, own.counters.link.tips, now=NOW)
    assert await told(own) == [("entries-lost", 1)]


async def test_with_postgres_away_what_was_acknowledged_is_told_later(own: Context, config: Config, clock):
    await statuses(own, event(1))
    pool, tips = own.pool, own.counters.link.tips
    await pool.close()
    await incidents.tell_tips(pool, tips, now=NOW)
    async with wiring.open_context(config, clock, PATIENT) as other:
        await incidents.tell_tips(other.pool, tips, now=NOW)
        async with postgres.transaction(other.pool) as connection:
            found = await postgres.scalars(connection, b"select number from journal_tips", {})
    assert found == [tips.last(SHARD)]


async def test_a_certification_that_died_before_its_commit_hides_nothing(own: Context, server: Valkey):
    """The shards are open and their numbers go on, though Postgres does not know: the next entry says so."""
    await statuses(own, event(1))
    await flush_all(own)
    await statuses(own, event(2))
    async with postgres.transaction(own.pool) as connection:
        await connection.execute(b"create table before as table flush_cursors")
        await connection.execute(b"create table tips_before as table journal_tips")
    await own.counters.link.send([("FLUSHALL",)])
    await recertified(own)
    async with postgres.transaction(own.pool) as connection:
        await connection.execute(b"truncate incidents, journal_epochs, journal_tips")
        await connection.execute(b"insert into journal_tips table tips_before")
        await connection.execute(
            b"update flush_cursors c set number = b.number from before b where b.shard = c.shard"
        )
    await statuses(own, event(3))
    await flush_all(own)
    await incidents.tell_tips(own.pool, own.counters.link.tips, now=NOW)
    assert await told(own) == [("entries-lost", 1)]


async def test_an_entry_that_vanishes_from_the_middle_is_missed(own: Context):
    for number in range(1, 5):
        await statuses(own, event(number))
    (entries,) = (await own.counters.link.send([("XRANGE", keyspace.journal(SHARD), "-", "+")])).values
    await own.counters.link.send([("XDEL", keyspace.journal(SHARD), entries[1][0])])
    await flush_all(own)
    assert await told(own) == [("journal-gap", 1)]
    assert await stored(own) == (3, 30)


async def test_a_flipped_bit_in_the_file_is_found_wherever_it_is(own: Context, server: Valkey):
    """Of the entries of a journal as the server writes them; loaded again for each position."""
    for number in range(1, 4):
        await statuses(own, event(number))
    (file,) = server.folder.glob("appendonlydir/*.incr.aof")
    whole = file.read_bytes()
    begin = whole.index(b"HINCRBY")
    end = whole.index(b"XADD", whole.index(b"XADD") + 4)
    right = _found(server)
    assert not _missed(right, right)
    silent, harmless = [], 0
    for bit in range((begin - 20) * 8, end * 8, STEP):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        after = _loaded(server, file, whole)
        if after is not None and not _missed(after, right):
            harmless += after[0] == right[0]
            silent += [] if after[0] == right[0] else [bit]
    assert silent == []
    assert harmless > 0  # of counters and marks, which are not the journal's


def _loaded(server: Valkey, file: Path, whole: bytes) -> "Found | None":
    """What the server then has; None if it refuses the file."""
    with redis.Redis.from_url(server.url, retry=None) as client:
        try:
            client.execute_command("DEBUG", "LOADAOF")
            return _found(server)
        except redis.ResponseError:
            return None
        except redis.ConnectionError:
            until(lambda: server.process is None or server.process.poll() is not None, "its end")
            server.kill()
            file.write_bytes(whole)
            server.start()
            return None


Found = tuple[list[tuple[journal.Line, ...]], list[tuple[str, int]], bool, int]
"""What entries say, whatever they are called; their numbers; whether one is damaged; the last number."""


def _found(server: Valkey) -> Found:
    with redis.Redis.from_url(server.url) as client:
        reply = client.execute_command("XRANGE", keyspace.journal(SHARD), "-", "+")
        number = client.hget(keyspace.versions(SHARD), keyspace.NUMBER)
    entries = [
        journal.decode(name, [part for pair in fields.items() for part in pair]) for name, fields in reply
    ]
    kept = [entry.events for entry in entries]
    numbers = [(entry.entry_id, entry.number) for entry in entries]
    there = int(number) if number is not None and number.isdigit() else 0
    return kept, numbers, any(entry.damage for entry in entries), there


def _missed(after: Found, right: Found) -> bool:
    """Whether flush, certification or who had acknowledged find something wrong."""
    _, numbers, damaged, there = after
    reach = Reach(SHARD, right[1][0][1] - 1)
    found = incidents.checked(reach, numbers, now=NOW)
    compared = incidents.compared(Reach(SHARD, found.last), there, now=NOW)
    return damaged or bool(found.gaps) or compared is not None or found.last < right[3]


# --- the quarantine -----------------------------------------------------------------------------------


async def refused(context: Context) -> str:
    """An entry that Postgres has refused; its id."""
    async with postgres.transaction(context.pool) as connection:
        await connection.execute(b"alter table usage_keys add constraint no check (tenant_id <> 'acme')")
    await statuses(context, event(1, 10), event(2, 20))
    flushed = await flush_all(context)
    assert (flushed.events, flushed.quarantined) == (0, 1)
    assert await told(context) == [("entry-quarantined", 1)]
    (aside,) = await quarantine.listed(context, ended=False, limit=10)
    assert (aside.shard, aside.events) == (SHARD, 2)
    return aside.entry_id


async def mend(context: Context) -> None:
    async with postgres.transaction(context.pool) as connection:
        await connection.execute(b"alter table usage_keys drop constraint no")


async def test_of_many_entries_only_the_one_that_is_refused_is_put_aside(counting: Context):
    async with postgres.transaction(counting.pool) as connection:
        await connection.execute(b"alter table usage_hourly add check (quantity <> 30)")
    for number in range(1, 8):
        await statuses(counting, event(number, 30 if number == 5 else 1, entity_id=f"e{number}"))
    flushed = await flush_all(counting)
    assert (flushed.entries, flushed.events, flushed.quarantined) == (7, 6, 1)
    assert await stored(counting) == (6, 6)
    assert await told(counting) == [("entry-quarantined", 1)]


async def test_what_was_put_aside_counts_once_it_is_applied(counting: Context):
    verdict = Verdict(shard=SHARD, entry_id=await refused(counting), reason="the constraint was wrong")
    with pytest.raises(errors.ConflictError, match="still refuses"):
        await quarantine.apply(counting, ORDER, verdict)
    await mend(counting)
    await quarantine.apply(counting, ORDER, verdict)
    assert await stored(counting) == (2, 30)
    with pytest.raises(errors.ConflictError, match="applied already"):
        await quarantine.dismiss(counting, ORDER, verdict)
    assert await degraded(counting)
    await recertified(counting)
    assert await levels(counting) == (30, 0, 0)
    whole = await quarantine.show(counting, SHARD, verdict.entry_id)
    assert [line.event.quantity for line in whole.lines] == [10, 20]
    async with postgres.transaction(counting.pool) as connection:
        audited = await postgres.scalars(
            connection, b"select reason from audit where action = 'quarantine.apply'", {}
        )
        closed = await postgres.scalars(connection, b"select reason from incidents", {})
    assert (audited, closed) == ([verdict.reason], [f"applied: {verdict.reason}"])


async def test_what_is_dismissed_leaves_the_counters_too(counting: Context):
    verdict = Verdict(shard=SHARD, entry_id=await refused(counting), reason="made by mistake")
    assert await levels(counting) == (30, 0, 0)
    await quarantine.dismiss(counting, ORDER, verdict)
    await mend(counting)
    await recertified(counting)
    assert (await levels(counting), await stored(counting)) == ((0, 0, 0), (0, 0))


async def test_nobody_can_apply_what_nobody_can_believe(counting: Context):
    link = counting.counters.link
    await link.send([("XADD", keyspace.journal(SHARD), "7-7", "n", 1, "b", b"\x91", "x", "0", "s", 1)])
    await flush.flush_once(counting.pool, link, now=NOW)
    with pytest.raises(errors.ConflictError, match="digest does not match"):
        await quarantine.apply(counting, ORDER, Verdict(shard=SHARD, entry_id="7-7", reason="hope"))
    with pytest.raises(errors.NotFoundError):
        await quarantine.dismiss(counting, ORDER, Verdict(shard=SHARD, entry_id="7-8", reason="hope"))
