"""Counting is what the rules say, whatever happens in whatever order: beside a plain model (account.py)."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from service.clock import FixedClock
from service.context import Context
from tests.conftest import open_counters
from tests.model import acts, terms
from tests.model.account import Account
from tests.model.real import Real
from tests.model.side_by_side import SideBySide

NIGHTLY = os.environ.get("METERGATE_HYPOTHESIS") == "nightly"
PARTS = 5 if NIGHTLY else 1
"""Each finds stories of its own: they are told side by side, and one that fails hides no other."""
SEQUENCES = 200 if NIGHTLY else 40
"""In each part with each of the two catalogs."""
CHAPTERS = 12 if NIGHTLY else 6
BEGINNINGS = (
    datetime(2048, 1, 31, 9, 30, tzinfo=UTC),  # months that have no such day
    datetime(2048, 2, 29, tzinfo=UTC),  # years that have no such day
    datetime(2047, 12, 31, 23, 59, 59, tzinfo=UTC),
    datetime(2049, 2, 27, 22, 15, tzinfo=UTC),
)
_numbers = count()
HOUR, MOMENT = timedelta(hours=1), timedelta(seconds=1)
SETTLED_LONG_AFTER = [
    (acts.Use("reserve", "minutes", 6, None, None),),
    (acts.Edge("minutes", 0, 2 * HOUR), acts.Expire(), acts.Edge("minutes", 0, 2 * HOUR)),
    (acts.Settle(0, 5, nothing=False), acts.Fill("record", "minutes", "granted", 5, None)),
]
"""What a period has left to those after it is not used there, however long ago it ended."""
TWO_INSTANTS_AT_ONCE = [
    (
        acts.Wait(HOUR),
        acts.Change("business", at_renewal=False),
        acts.Fill("record", "tokens", "granted", 0, None),
    ),
    (acts.Change("pro", at_renewal=False),),
    (
        acts.Together(
            (
                acts.Use("consume", "tokens", 3, None, None),
                acts.Use("consume", "tokens", 2, None, timedelta(minutes=2)),
            )
        ),
    ),
]
"""Uses of before and after a change of plan at once, where both plans grant what was used of a larger one."""
VOIDED_NOTHING = [
    (acts.Give("tokens", 5, 50, timedelta(0), None), acts.Use("record", "tokens", 0, None, None)),
    (acts.Revise(0, None), acts.Flush()),
]
"""An event that drew nothing is voided where there is more than one bucket."""
HELD_OVER = [
    (acts.Use("reserve", "minutes", 6, None, None), acts.Edge("minutes", 0, 2 * HOUR), acts.Expire()),
    (acts.Ask("minutes", 1, None, timedelta(0)), acts.Ask("minutes", 1, None, HOUR)),
]
"""What was held at the end of a period did not go on, though nobody used it; the past says the same."""
HELD_BEFORE_ANY_ROLLOVER = [
    (acts.Fill("record", "minutes", "granted", 0, None), acts.Use("reserve", "minutes", 1, None, None)),
    (acts.Change("saver", at_renewal=False), acts.Edge("minutes", 0, timedelta(0))),
    (acts.Use("record", "minutes", 20, None, 3 * HOUR), acts.Release(0)),
    (acts.Ask("minutes", 1, None, timedelta(0)),),
]
"""Nor did what was held on a plan of which nothing goes on, before one came of which it does."""
SETTLED_AFTER_A_CHANGE = [
    (acts.Use("reserve", "minutes", 6, None, None), acts.Change("saver", at_renewal=False)),
    (acts.Edge("minutes", 0, 2 * HOUR), acts.Settle(0, 10, nothing=False)),
]
"""What such a plan leaves to those after it is not used any more by a settle of what was held before."""
SETTLED_IN_A_CUT_PERIOD = [
    (acts.Use("reserve", "tokens", 6, None, None), acts.Change("daily", at_renewal=False)),
    (acts.Wait(HOUR), acts.Wait(HOUR), acts.Settle(0, 10, nothing=False)),
    (acts.Ask("tokens", 1, None, timedelta(0)),),
]
"""Nor where a change of plan has ended the period earlier than was known when it was held."""
RELEASED_IN_A_CUT_PERIOD = [
    (acts.Fill("record", "tokens", "granted", -2, None), acts.Use("reserve", "tokens", 12, None, None)),
    (acts.Use("record", "tokens", 5, None, None), acts.Change("daily", at_renewal=False)),
    (acts.Wait(HOUR), acts.Wait(HOUR), acts.Release(0), acts.Ask("tokens", 1, None, timedelta(0))),
]
"""A release there moves what others used, which the past counts as the counters do."""
TRIED_WITHOUT_OVERAGE = [
    (acts.Cancel(at_renewal=False), acts.Start("pro", trial=True), acts.Override("tokens", None, 0, None)),
    (acts.Fill("record", "tokens", "granted", -1, None), acts.Fill("consume", "tokens", "granted", 5, None)),
]
"""What a trial does not buy is what the plan sells, also where all of it was taken from a tenant."""
CARRIED_OVER_A_GAP = [
    (acts.Wait(timedelta(days=1)), acts.Use("record", "minutes", 7, None, None)),
    (acts.Change("daily", at_renewal=False), acts.Change("free", at_renewal=False)),
]
"""What a plan leaves to another one that counts otherwise, with a plan between them that counts nothing."""
USED_BEFORE_ANOTHER_CHANGE = [
    (acts.Edge("tokens", 0, timedelta(0)), acts.Fill("record", "tokens", "granted", -1, None)),
    (acts.Change("daily", at_renewal=False),),
    (acts.Use("consume", "tokens", 15, None, timedelta(minutes=2)),),
]
"""What went on into the next period and was used there is not there for late uses, also once that is over."""
HELD_FOR_TOO_LONG = [
    (acts.Use("reserve", "minutes", 41, None, None), acts.Wait(timedelta(days=62)), acts.Wipe()),
    (acts.Expire(),),
]
"""What nobody ended until its counters were gone comes back to nothing, which nobody looks at any more."""
CAPPED_A_MOMENT_AGO = [
    (acts.Use("consume", "tokens", 15, None, None), acts.Edge("tokens", 0, MOMENT), acts.Wipe()),
    (acts.Use("consume", "tokens", 10, None, timedelta(minutes=2)),),
]
"""A rebuild puts back what was counted in the hour that ended a moment ago: a use may still be of then."""


@pytest.fixture(params=["free", None], ids=["with a fallback plan", "without"])
async def tenant(
    request: pytest.FixtureRequest, context: Context, clock: FixedClock, publish: Callable
) -> Callable[[datetime], SideBySide]:
    """Makes a tenant that nobody knows yet, on both sides, at an instant."""
    editions = [(await publish(terms.files(plans, request.param))).hash for plans in terms.EDITIONS]

    def made(at: datetime) -> SideBySide:
        clock.at = at
        real = Real(context, clock, f"model-{next(_numbers)}", editions=editions)
        return SideBySide(real, Account(request.param, at))

    await open_counters(context)
    return made


@pytest.mark.parametrize("part", range(PARTS))
@settings(max_examples=SEQUENCES, deadline=None, suppress_health_check=list(HealthCheck))
@example(at=BEGINNINGS[0], plan="saver", history=SETTLED_LONG_AFTER)
@example(at=BEGINNINGS[0], plan="saver", history=HELD_OVER)
@example(at=BEGINNINGS[0], plan="team", history=HELD_BEFORE_ANY_ROLLOVER)
@example(at=BEGINNINGS[0], plan="team", history=SETTLED_AFTER_A_CHANGE)
@example(at=BEGINNINGS[0], plan="saver", history=SETTLED_IN_A_CUT_PERIOD)
@example(at=BEGINNINGS[0], plan="saver", history=RELEASED_IN_A_CUT_PERIOD)
@example(at=BEGINNINGS[0], plan="free", history=TRIED_WITHOUT_OVERAGE)
@example(at=BEGINNINGS[0], plan="saver", history=CARRIED_OVER_A_GAP)
@example(at=BEGINNINGS[0], plan="saver", history=USED_BEFORE_ANOTHER_CHANGE)
@example(at=BEGINNINGS[0], plan="saver", history=TWO_INSTANTS_AT_ONCE)
@example(at=BEGINNINGS[0], plan="free", history=VOIDED_NOTHING)
@example(at=BEGINNINGS[0], plan="free", history=HELD_FOR_TOO_LONG)
@example(at=BEGINNINGS[0], plan="daily", history=CAPPED_A_MOMENT_AGO)
@given(
    at=st.sampled_from(BEGINNINGS),
    plan=acts.plans,
    history=st.lists(acts.chapters, min_size=3, max_size=CHAPTERS),
)
async def test_any_history_comes_to_what_the_rules_say(tenant, part, at, plan, history):
    both = tenant(at)
    happens = [act for chapter in history for act in chapter]
    await both.real.begin()
    try:
        for act in (acts.Wipe(), acts.Change(plan, at_renewal=False), *happens, acts.Flush(), acts.Wipe()):
            await both.perform(act)
    finally:
        await both.real.leave()
