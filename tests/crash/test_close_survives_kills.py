"""The close of billing periods is killed between any two steps, and begun anew: nothing twice, no gap."""

from policies import limits
from service.usecases import closing
from store.crash_points import POINTS
from tests.crash.mortal import Order
from tests.store.billed import WHEN, issued, tenants

AT = [point for point in POINTS if point.startswith("close-")]


async def test_whenever_it_is_killed_the_next_one_finds_all_or_nothing(
    context, clock, publish, mortals, monkeypatch
):
    """Each time the first batch of two is committed, and the second is killed on its way.

    Of each invoice that is there then the total is right (`issued` adds them up).
    """
    assert len(AT) >= 6
    names = await tenants(context, publish, clock, 2 * len(AT) + 5)
    done = 0
    for point in AT:
        await mortals.dies(Order("close", WHEN, f"{point}:2"))
        done += 4 if point == "close-committed" else 2
        found = await issued(context)
        assert [one.number for one in found] == [*range(1, done + 1)], point
    monkeypatch.setattr(limits, "CLOSE_BATCH", 2)
    rest = await closing.close_due(context, WHEN)
    assert rest.periods == len(names) - done > 0
    found = await issued(context)
    assert sorted(one.tenant_id for one in found) == sorted(names)
    assert [one.number for one in found] == [*range(1, len(names) + 1)]
