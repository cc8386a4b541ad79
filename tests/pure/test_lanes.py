"""A worker's lanes: a node that is slow or away keeps no other from anything, and is not begun twice."""

import asyncio
from collections import Counter

import pytest

from jobs.lanes import Lanes
from policies import limits
from store.link import Link, RedisAwayError
from store.nodes import Node

NODES = [Node(name, Link("redis://127.0.0.1:1"), ()) for name in ("one", "two", "three")]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "NODE_PATIENCE_S", 0.01)


async def test_the_slow_one_is_waited_for_by_a_later_run():
    slow, begun = asyncio.Event(), Counter()

    async def act(node: Node) -> str:
        begun[node.name] += 1
        if node.name == "two":
            await slow.wait()
        return node.name

    lanes = Lanes()
    assert await lanes.run(NODES, act) == (["one", "three"], None)
    assert await lanes.run(NODES, act) == (["one", "three"], None)
    slow.set()
    assert await lanes.run(NODES, act) == (["two", "one", "three"], None)
    assert begun == {"one": 3, "two": 1, "three": 3}
    slow.clear()
    assert await lanes.run(NODES, act) == (["one", "three"], None)
    await lanes.close()
    assert begun["two"] == 2


async def test_who_is_away_is_named_after_all_others_have_done_their_part():
    async def act(node: Node) -> str:
        if node.name != "three":
            raise RedisAwayError("it hangs")
        return node.name

    done, away = await Lanes().run(NODES, act)
    assert (done, str(away)) == (["three"], "one: it hangs; two: it hangs")


async def test_a_server_by_itself_is_waited_for():
    async def act(node: Node) -> int:
        await asyncio.sleep(10 * limits.NODE_PATIENCE_S)
        return len(node.shards)

    (alone,) = NODES[0].link.nodes()
    assert await Lanes().run([alone], act) == ([256], None)
