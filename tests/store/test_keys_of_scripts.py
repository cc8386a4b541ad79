"""Every key that a script touches comes in KEYS, and all of a call share one slot: a cluster parts others.

A server that is asked to tell all that it does tells the commands of scripts, too.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple

import msgspec
import pytest
import redis

from jobs import expire
from service.context import Context
from service.usecases import books, reservations, reserve, revise
from service.usecases.events import EventName
from service.usecases.fitting import Wanted
from service.usecases.reservations import Told
from store import certify, keyspace, scripts
from store.counters import Correction
from store.turns import Rates, Turns
from tests.conftest import NOW
from tests.store import giving, ledger, test_meters
from tests.store.ledger import ORDER, TOKENS, event, flush_all, worker
from tests.store.test_consume import use

END = "the story is over"


async def story(context: Context) -> None:
    """Each script at least once, with grants, caps and entities."""
    await ledger.subscribed(context, "capped", "pro")
    await giving.give(context, giving.grant(1, 50, starts=NOW, ends=NOW + timedelta(days=3)))
    await ledger.statuses(context, event(1, 60), event(2, 2_000), event(1, 60))
    await ledger.statuses(context, event(3, 5, tenant_id="capped", entity_id="one"))
    await use(context, 4, 10)
    await use(context, 5, 10, tenant_id="capped", entity_id="one")
    await use(context, 6, 10**9)
    settled, released = [await hold(context, number, 20) for number in (7, 8)]
    await reservations.settle(context, Told(settled, None), 30)
    await reservations.release(context, Told(released, None))
    await hold(context, 9, 5)
    await expire.run(worker(context), NOW + timedelta(minutes=10))
    for event_id, quantity in (("e2", 30_000), ("e1", None)):
        wish = revise.Wish(quantity=quantity, reason="it was wrong")
        await revise.revise(context, ORDER, EventName("acme", "tests", event_id), wish)
    correction = Correction("c1", keyspace.shard_of("acme"), "acme", ledger.month(), f"{TOKENS}:i", 1)
    await context.counters.correct(correction.shard, [correction])
    await flush_all(context)
    await context.counters.link.send(
        [("DEL", keyspace.fence(keyspace.shard_of(each))) for each in ("acme", "capped")]
    )
    assert len(await certify.certify(context.pool, context.counters.link, now=NOW)) == 2
    assert await Turns(context.counters.link, Rates(), real_ms=lambda: 1).take("invoices", "me") == 0
    await books.look(context, ["acme", "capped"], now=NOW)


async def story_of_levels(context: Context) -> None:
    """The same of the highest number of seats and of different users."""
    await ledger.subscribed(context, "teams", "free")
    told = [test_meters.seats(1, 4), test_meters.seats(2, 12), test_meters.user(3, "ada")]
    await ledger.statuses(context, *(msgspec.structs.replace(one, tenant_id="teams") for one in told))
    met = {"feature_id": test_meters.USERS, "properties": {"user_id": "bob"}, "tenant_id": "teams"}
    await use(context, 10, 1, **met)
    for event_id in ("s2", "v3"):
        wish = revise.Wish(quantity=None, reason="no")
        await revise.revise(context, ORDER, EventName("teams", "tests", event_id), wish)


async def hold(context: Context, number: int, quantity: int) -> str:
    wanted = Wanted(
        event_id=f"h{number}",
        tenant_id="acme",
        service_id="tests",
        feature_id=TOKENS,
        quantity=quantity,
        seconds=60,
    )
    given = await reserve.reserve(context, wanted)
    assert given.reservation_id is not None
    return given.reservation_id


class Call(NamedTuple):
    """One call of a script: its digest, its KEYS, and the commands that it ran."""

    sha: str
    keys: set[str]
    commands: list[list[str]]


def told(monitor: "redis.client.Monitor") -> Iterator[tuple[str, list[str]]]:
    """Who did what: `lua` or the kind of client, and the words of the command."""
    for line in monitor.listen():
        if END in line["command"]:
            return
        yield line["client_type"], line["command"].split()


@pytest.fixture
async def calls(counting: Context, redis_url: str, publish, example_files) -> list[Call]:
    """Each script call of the story."""
    found: list[Call] = []
    with redis.Redis.from_url(redis_url) as client, client.monitor() as monitor:
        await story(counting)
        await publish(test_meters.leveled(example_files))
        await story_of_levels(counting)
        client.echo(END)
        for kind, words in told(monitor):
            if words[0].upper() == "EVALSHA":
                found.append(Call(words[1], set(words[3 : 3 + int(words[2])]), []))
            elif kind == "lua":
                found[-1].commands.append(words)
    return found


def test_a_script_touches_only_what_its_call_names(calls: list[Call]):
    assert sum(len(call.commands) for call in calls) > 50
    for call in calls:
        assert {words[1] for words in call.commands} <= call.keys


def test_all_keys_of_a_call_share_a_slot(calls: list[Call]):
    for call in calls:
        assert len({key.partition("{")[2].partition("}")[0] for key in call.keys}) == 1


def test_every_script_took_part(calls: list[Call]):
    assert {call.sha for call in calls} == {script.sha for script in scripts.ALL}
