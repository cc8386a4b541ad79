"""The record script books as policies.balance.draw says (law 7): the same random history through both."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies import balance, limits
from policies.balance import Capacity, Levels
from service.context import Context
from store.counters import Account, Recording
from store.journal import JournalEvent, encode
from store.reading import Want
from tests.conftest import NOW

WINDOW = "m.0"
amounts = st.one_of(st.integers(0, 30), st.integers(0, limits.QUANTITY_MAX))
capacities = st.builds(
    Capacity,
    included=st.one_of(st.none(), amounts),
    up_to=st.one_of(st.none(), amounts),
)
histories = st.lists(st.tuples(capacities, amounts), min_size=1, max_size=8)


def recording(number: int, tenant_id: str, room: Capacity, quantity: int) -> Recording:
    digest = number.to_bytes(12) + bytes(4)  # the mark keeps the first 12
    line = JournalEvent(
        kind="record",
        tenant_id=tenant_id,
        service_id="s",
        event_id=str(number),
        feature_id="f",
        entity_id="",
        plan_id="",
        quantity=quantity,
        measured=quantity,
        event_at=0,
        accepted_at=0,
        window=WINDOW,
        ends=0,
        caps=(),
        digest=digest,
        fingerprint=1,
        properties=None,
    )
    account = Account(
        tenant_id=tenant_id,
        snapshot_version=0,
        feature_id="f",
        window=WINDOW,
        included=limits.COUNTER_MAX if room.included is None else room.included,
        overage=room.up_to,
        ends=0,
    )
    return Recording(account, quantity, digest, 1, encode(line))


class Numbers:
    """Never the same tenant or event twice in a run, so that examples do not meet."""

    last = 0

    @classmethod
    def next(cls) -> int:
        cls.last += 1
        return cls.last


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=histories, together=st.booleans())
async def test_script_and_specification_draw_alike(
    counting: Context, history: list[tuple[Capacity, int]], together: bool
):
    tenant_id = f"model-{Numbers.next()}"
    expected = Levels()
    for room, quantity in history:
        taken = balance.draw(room, expected, quantity)
        assert taken.included + taken.overage + taken.excess == quantity
        expected = Levels(
            included=expected.included + taken.included,
            overage=expected.overage + taken.overage,
            excess=expected.excess + taken.excess,
        )
    events = [recording(Numbers.next(), tenant_id, room, quantity) for room, quantity in history]
    for batch in [events] if together else [[one] for one in events]:
        assert set(await counting.counters.record(batch, now=NOW)) == {"accepted"}
    fields = tuple((WINDOW, f"f:{bucket}") for bucket in "iox")
    (found,) = await counting.counters.read([Want(tenant_id, fields)])
    assert found.values == (expected.included, expected.overage, expected.excess)


async def test_a_counter_never_passes_its_bound(counting: Context):
    """Lua counts in doubles: past 2^53 it would lose units without a word."""
    most = Capacity(included=None, up_to=None)
    full = [recording(Numbers.next(), "bound", most, limits.QUANTITY_MAX) for _ in range(9)]
    assert set(await counting.counters.record(full, now=NOW)) == {"accepted"}
    over = recording(Numbers.next(), "bound", most, 1)
    assert await counting.counters.record([over], now=NOW) == ["overflow"]
    (found,) = await counting.counters.read([Want("bound", ((WINDOW, "f:i"),))])
    assert found.values == (limits.COUNTER_MAX,)
