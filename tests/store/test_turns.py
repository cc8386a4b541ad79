"""Turns at a provider, given by Redis to all processes together; the time is the test's."""

import pytest

from integrations.payments import BusyError
from service.provider import Spaced
from store.link import Link
from store.turns import Rates, Turns


class Wall:
    """The clock on the wall."""

    ms = 1_764_000_000_000

    def read(self) -> int:
        return self.ms


@pytest.fixture
def wall():
    return Wall()


@pytest.fixture
async def turns(redis_url, wall):
    """Two processes, each with its own connection."""
    links = [Link(redis_url), Link(redis_url)]
    yield [Turns(link, Rates(at_once=4, all=10, lane=5), real_ms=wall.read) for link in links]
    for link in links:
        await link.close()


async def taken(turns, lane, count, *, ms_apart, wall):
    """How many of so many that are asked for in a row are given at once, and given back."""
    given = 0
    for number in range(count):
        if await turns[number % 2].take(lane, f"{lane}{number}") == 0:
            given += 1
            await turns[number % 2].give_back(f"{lane}{number}")
        wall.ms += ms_apart
    return given


async def test_so_many_at_once_and_no_more(turns, wall):
    assert [await turns[number % 2].take("pay", f"h{number}") for number in range(5)] == [0, 0, 0, 0, 50]
    await turns[0].give_back("h1")
    assert await turns[1].take("pay", "h5") == 0
    wall.ms += 31_000
    assert await turns[1].take("pay", "h6") == 0, "the turns of the dead come back"


async def test_a_lane_gets_its_rate_and_a_burst_of_a_second(turns, wall):
    assert await taken(turns, "pay", 50, ms_apart=0, wall=wall) == 6
    assert 48 <= await taken(turns, "pay", 1000, ms_apart=10, wall=wall) <= 50, "five a second for ten"


async def test_all_lanes_together_get_no_more_than_the_account(turns, wall):
    given = 0
    for _ in range(1000):
        for lane in ("a", "b", "c"):
            given += await taken(turns, lane, 1, ms_apart=0, wall=wall)
        wall.ms += 10
    assert 105 <= given <= 111, "ten a second for ten, and a burst"


async def test_a_lane_that_was_refused_is_closed_for_everybody(turns, wall):
    await turns[0].close("pay", 3)
    assert await turns[1].take("pay", "h1") == 3000
    assert await turns[1].take("draft", "h2") == 0
    wall.ms += 3000
    assert await turns[1].take("pay", "h1") == 0


async def test_who_would_wait_too_long_is_told_when_to_come_back(turns):
    spaced = Spaced(turns[0])
    await spaced.refused("pay", 60)
    with pytest.raises(BusyError) as raised:
        async with spaced.turn("pay"):
            raise AssertionError("this was closed")
    assert raised.value.after_s == 60


async def test_a_turn_that_ended_is_free_again(turns):
    spaced = Spaced(turns[0])
    for number in range(6):
        async with spaced.turn(f"lane{number}"):
            pass
    assert await turns[1].take("other", "h") == 0


async def test_without_redis_there_are_no_turns():
    link = Link("redis://127.0.0.1:1")
    with pytest.raises(BusyError, match="Redis, which is away"):
        async with Spaced(Turns(link, Rates(), real_ms=lambda: 1)).turn("pay"):
            raise AssertionError("there was a turn")
    await link.close()
