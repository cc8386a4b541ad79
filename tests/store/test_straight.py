"""The short way of the scripts does what their long way does (law 7): the same calls through both."""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies import limits
from service.context import Context
from store import consuming, counters, journal, keyspace, scripts
from store.accounts import Account, BucketRoom, CapMove
from store.consuming import Ceilings, Use
from store.conversation import Command
from store.counters import Recording
from store.link import RUN_ID
from tests.conftest import NOW
from tests.store.test_draws import Numbers, amounts

FEATURES = ("f", "g")
WINDOWS = {"m": 4_000_000_000, "h": 4_100_000_000, "d": 0}
"""Letters of time windows, and until when their counters are kept."""
maybe = st.none() | amounts
few = st.integers(0, 3) | amounts


class Act(NamedTuple):
    """An act on one of a few tenants, with what its account and its caps are."""

    feature: int
    tenant: int
    quantity: int
    name: int
    body: int
    size: int
    overage: int | None
    version: int
    caps: Sequence[tuple[str, int, int | None]]
    granted: int | None
    drawn: int | None


caps = st.lists(
    st.tuples(st.sampled_from("mhd"), st.integers(0, 1), maybe),
    max_size=3,
    unique_by=lambda cap: cap[:2],
)
acts = st.builds(
    Act,
    feature=st.integers(0, 1),
    tenant=st.integers(0, 1),
    quantity=st.one_of(st.integers(0, 30), st.just(limits.QUANTITY_MAX)),
    name=st.integers(0, 5),
    body=st.integers(1, 2),
    size=few,
    overage=maybe,
    version=st.integers(3, 4),
    caps=caps,
    granted=st.none() | few,
    drawn=maybe,
)
stories = st.lists(st.lists(acts, min_size=1, max_size=4), min_size=1, max_size=6)
"""Calls, each with its acts."""


class Way(NamedTuple):
    """One of the two: its script, and tenants of its own in a shard of its own."""

    script: scripts.Script
    shard: int
    tenants: tuple[str, str]


Make = Callable[[Way, Sequence[Act], int], Command]


def long_way(script: scripts.Script) -> scripts.Script:
    """The script without the part."""
    short = scripts._read("parts", "straight.lua")
    assert short in script.text
    return scripts.of(script.name, script.text.replace(short, ""))


@functools.cache
def tenants_of(shard: int) -> tuple[str, str]:
    """Two names of a shard."""
    names = (f"way-{number}" for number in itertools.count())
    found = itertools.islice((name for name in names if keyspace.shard_of(name) == shard), 2)
    return next(found), next(found)


def account(act: Act, tenant_id: str, run: int) -> Account:
    feature, window = FEATURES[act.feature], f"m.{run}"
    room = BucketRoom(window, f"{feature}:i", act.size, WINDOWS["m"])
    return Account(tenant_id, act.version, feature, window, act.overage, WINDOWS["m"], (room,))


def moved(act: Act, run: int) -> tuple[CapMove, ...]:
    """Some of them are counted in the window of the account."""
    name = FEATURES[act.feature]
    return tuple(CapMove(f"{letter}.{run}", f"{name}:c{n}", WINDOWS[letter]) for letter, n, _ in act.caps)


def told(act: Act, run: int) -> tuple[int, bytes, int, bytes]:
    """Quantity, digest, fingerprint and payload."""
    return (
        act.quantity,
        digest_of(act.name, run),
        act.body,
        msgspec.msgpack.encode([act.name, act.body, act.quantity]),
    )


def digest_of(name: int, run: int) -> bytes:
    return run.to_bytes(10) + name.to_bytes(2) + bytes(4)


def recorded(way: Way, call: Sequence[Act], run: int) -> Command:
    batch = [
        Recording(account(act, way.tenants[act.tenant], run), *told(act, run), caps=moved(act, run))
        for act in call
    ]
    return counters.record_command(way.shard, batch, NOW)


def consumed(way: Way, call: Sequence[Act], run: int) -> Command:
    uses = [
        Use(
            account(act, way.tenants[act.tenant], run),
            *told(act, run),
            ceilings=Ceilings(act.granted, act.drawn, tuple(ceiling for *_, ceiling in act.caps)),
            caps=moved(act, run),
        )
        for act in call
    ]
    return consuming._command(way.shard, [(use, NOW) for use in uses], RUN_ID)


async def left(context: Context, way: Way, run: int) -> list[Any]:
    """All that a call may have changed: counters and their ends of life, the journal, the marks."""
    shard = way.shard
    hashes = [
        keyspace.counters(shard, tenant, window)
        for tenant in way.tenants
        for window in (f"{letter}.{run}" for letter in WINDOWS)
    ]
    digests = [digest_of(name, run) for name in range(6)]
    marks = [
        (keyspace.marks(shard, keyspace.day_of(NOW), keyspace.mark_bucket(one)), one[:12]) for one in digests
    ]
    commands: list[Command] = [(word, key) for key in hashes for word in ("HGETALL", "EXPIRETIME")]
    commands += [("HGET", key, field) for key, field in marks]
    commands += [("TTL", key) for key, _ in marks]
    commands += [("XRANGE", keyspace.journal(shard), "-", "+")]
    *values, entries = (await context.counters.link.send(commands)).values
    lives = [life > 0 for life in values[-len(marks) :]]  # by the server's clock
    found: list[Any] = [sorted_fields(value) if isinstance(value, list) else value for value in values]
    return [*found[: -len(marks)], lives, [fields[:6] for _, fields in entries]]


def sorted_fields(flat: list[bytes]) -> list[tuple[bytes, bytes]]:
    return sorted(zip(flat[::2], flat[1::2], strict=True))


async def side_by_side(
    context: Context, script: scripts.Script, make: Make, story: Sequence[Sequence[Act]], *, late: int
) -> None:
    """Tells a story to both ways, call by call; a reservation of the first tenants ends so late."""
    link, run = context.counters.link, Numbers.next()
    ways = [Way(script, 200, tenants_of(200)), Way(long_way(script), 201, tenants_of(201))]
    for way in ways:
        await link.send(
            [
                ("SCRIPT", "LOAD", way.script.text),
                ("DEL", keyspace.journal(way.shard)),
                ("HSET", keyspace.versions(way.shard), way.tenants[0], 4, "#", 0),
                ("ZADD", keyspace.due(way.shard), journal.microseconds(NOW) + late, way.tenants[0]),
            ]
        )
    for call in story:
        replies = []
        for way in ways:
            name, _, *words = make(way, call, run)
            replies.append((await link.send([(name, way.script.sha, *words)])).values)
        assert replies[0] == replies[1]
    assert await left(context, ways[0], run) == await left(context, ways[1], run)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(story=stories)
async def test_what_is_recorded(counting: Context, story: list[list[Act]]):
    await side_by_side(counting, scripts.RECORD, recorded, story, late=0)


@settings(max_examples=90, deadline=None, suppress_health_check=list(HealthCheck))
@given(story=stories, late=st.integers(0, 1))
async def test_what_is_consumed(counting: Context, story: list[list[Act]], late: int):
    await side_by_side(counting, scripts.CONSUME, consumed, story, late=late)


@pytest.mark.parametrize(
    ("script", "make"), [(scripts.RECORD, recorded), (scripts.CONSUME, consumed)], ids=["record", "consume"]
)
async def test_a_cap_that_reaches_the_bound_of_a_counter(
    counting: Context, script: scripts.Script, make: Make
):
    act = Act(0, 0, limits.QUANTITY_MAX, 0, 1, 5 * limits.QUANTITY_MAX, None, 4, [("h", 0, None)], None, None)
    story = [[act._replace(name=name)] for name in range(10)]
    await side_by_side(counting, script, make, story, late=1)


async def test_a_right_that_shrank_below_what_was_used_of_it(counting: Context):
    act = Act(0, 0, 3, 0, 1, 3, None, 4, (), 3, None)
    then = [act._replace(name=name, size=1, granted=name, quantity=1) for name in (1, 3)]
    await side_by_side(counting, scripts.CONSUME, consumed, [[act], *([one] for one in then)], late=1)
