"""Every key that a script touches comes in KEYS, and all of a call share one slot: a cluster parts others.

A server that is asked to tell all that it does tells the commands of scripts, too.
"""

from collections.abc import Iterator
from datetime import timedelta

import pytest
import redis

from service.context import Context
from store import keyspace
from store.counters import Correction
from tests.conftest import NOW
from tests.store import giving, ledger
from tests.store.ledger import TOKENS, event
from tests.store.test_consume import use

END = "the story is over"


async def story(context: Context) -> None:
    """Each script at least once, with grants, caps and entities."""
    await ledger.subscribed(context, "capped", "pro")
    await giving.give(context, giving.grant(1, 50, starts=NOW, ends=NOW + timedelta(days=3)))
    await ledger.statuses(context, event(1, 60), event(2, 20_000), event(1, 60))
    await ledger.statuses(context, event(3, 5, tenant_id="capped", entity_id="one"))
    await use(context, 4, 10)
    await use(context, 5, 10, tenant_id="capped", entity_id="one")
    await use(context, 6, 10**9)
    correction = Correction("c1", keyspace.shard_of("acme"), "acme", ledger.month(), f"{TOKENS}:i", 1)
    await context.counters.correct(correction.shard, [correction])


def told(monitor: "redis.client.Monitor") -> Iterator[tuple[str, list[str]]]:
    """Who did what: `lua` or the kind of client, and the words of the command."""
    for line in monitor.listen():
        if END in line["command"]:
            return
        yield line["client_type"], line["command"].split()


@pytest.fixture
async def calls(counting: Context, redis_url: str) -> list[tuple[set[str], list[list[str]]]]:
    """For each script call of the story its KEYS, and the commands that it ran."""
    found: list[tuple[set[str], list[list[str]]]] = []
    with redis.Redis.from_url(redis_url) as client, client.monitor() as monitor:
        await story(counting)
        client.echo(END)
        for kind, words in told(monitor):
            if words[0].upper() == "EVALSHA":
                found.append((set(words[3 : 3 + int(words[2])]), []))
            elif kind == "lua":
                found[-1][1].append(words)
    return found


def test_a_script_touches_only_what_its_call_names(calls: list[tuple[set[str], list[list[str]]]]):
    assert sum(len(commands) for _, commands in calls) > 50
    for keys, commands in calls:
        touched = {words[1] for words in commands}
        assert touched <= keys


def test_all_keys_of_a_call_share_a_slot(calls: list[tuple[set[str], list[list[str]]]]):
    for keys, _ in calls:
        assert len({key.partition("{")[2].partition("}")[0] for key in keys}) == 1
