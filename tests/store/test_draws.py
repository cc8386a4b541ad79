"""The record script books as policies.balance.draw says (law 7): the same random history through both."""

from collections.abc import Sequence

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies import balance, limits
from policies.balance import Capacity, Draw, Levels, Room
from service.context import Context
from store import journal, keyspace
from store.accounts import Account, BucketRoom, GrantBucket
from store.counters import Recording
from store.journal import JournalEvent, encode
from store.reading import Want
from tests.conftest import NOW

WINDOW = "m.0"
amounts = st.one_of(st.integers(0, 30), st.integers(0, limits.QUANTITY_MAX))


def alone(included: int | None, up_to: int | None) -> Capacity:
    """What a plan gives without any grant."""
    return Capacity(finite=(Room("included", included),), up_to=up_to)


capacities = st.builds(alone, st.none() | amounts, st.none() | amounts)
GRANTS = 4
turns = st.tuples(st.permutations(range(GRANTS)), st.integers(0, GRANTS), st.integers(0, GRANTS))
"""Which of the grants hold, in which order, and how many of them are drawn before the included quantity."""
histories = st.lists(st.tuples(capacities, amounts), min_size=1, max_size=8)


def recording(
    number: int,
    tenant_id: str,
    room: Capacity,
    quantity: int,
    *,
    held: Sequence[int] = (),
) -> Recording:
    """An event on a capacity whose grants are these, by number, in draw order."""
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
    return Recording(account(tenant_id, room, held), quantity, digest, 1, encode(line))


def account(tenant_id: str, room: Capacity, held: Sequence[int]) -> Account:
    """The account of a capacity; two of the grants share an expiry, and so a key."""
    grants, finite = iter(held), []
    for bucket in room.finite:
        if bucket.kind == "included":
            size = limits.COUNTER_MAX if bucket.size is None else bucket.size
            finite.append(BucketRoom(WINDOW, "f:i", size, 0))
        else:
            assert bucket.size is not None
            number = next(grants)
            name = GrantBucket(f"g.{number // 2}", f"grt{number}", number // 2)
            field = keyspace.grant_field("f", name.grant_id)
            finite.append(BucketRoom(name.window, field, bucket.size, 0, name))
    return Account(
        tenant_id=tenant_id,
        snapshot_version=0,
        feature_id="f",
        window=WINDOW,
        overage=room.up_to,
        ends=0,
        finite=tuple(finite),
    )


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


def with_grants(
    room: Capacity, turn: tuple[list[int], int, int], sizes: list[int]
) -> tuple[Capacity, list[int]]:
    """The capacity with those grants that hold, and which they are, in the order in which they are drawn."""
    order, count, before = turn
    held = order[:count]
    rooms = [Room("grant", sizes[grant]) for grant in held]
    return Capacity(finite=(*rooms[:before], *room.finite, *rooms[before:]), up_to=room.up_to), held


def drawn_from(levels: Levels, taken: Draw) -> Levels:
    return msgspec.structs.replace(
        levels,
        included=levels.included + taken.included,
        overage=levels.overage + taken.overage,
        excess=levels.excess + taken.excess,
    )


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    history=st.lists(st.tuples(capacities, turns, amounts), min_size=1, max_size=8),
    sizes=st.lists(amounts, min_size=GRANTS, max_size=GRANTS),
    together=st.booleans(),
)
async def test_script_and_specification_draw_alike_from_grants(counting: Context, history, sizes, together):
    """Grants come, go and change places in mid-history; each keeps what was drawn from it."""
    tenant_id = f"model-{Numbers.next()}"
    expected, used, draws, events = Levels(), [0] * GRANTS, [], []
    for room, turn, quantity in history:
        full, held = with_grants(room, turn, sizes)
        at = msgspec.structs.replace(expected, grants=tuple(used[grant] for grant in held))
        taken = balance.draw(full, at, quantity)
        assert taken.included + taken.overage + taken.excess + sum(taken.grants) == quantity
        expected = drawn_from(expected, taken)
        for grant, amount in zip(held, taken.grants, strict=True):
            used[grant] += amount
        drawn = {f"grt{grant}": amount for grant, amount in zip(held, taken.grants, strict=True) if amount}
        draws.append((taken.included, taken.overage, taken.excess, drawn))
        events.append(recording(Numbers.next(), tenant_id, full, quantity, held=held))
    for batch in [events] if together else [[one] for one in events]:
        assert set(await counting.counters.record(batch, now=NOW)) == {"accepted"}
    fields = [(WINDOW, f"f:{bucket}") for bucket in "iox"]
    fields += [(f"g.{grant // 2}", keyspace.grant_field("f", f"grt{grant}")) for grant in range(GRANTS)]
    (levels,) = await counting.counters.read([Want(tenant_id, tuple(fields))])
    assert levels.values == (expected.included, expected.overage, expected.excess, *used)
    assert await journaled(counting, tenant_id) == draws


async def journaled(context: Context, tenant_id: str) -> list[tuple[int, int, int, dict[str, int]]]:
    """The draws of a tenant as its journal has them: what each bucket of its events gave."""
    key = keyspace.journal(keyspace.shard_of(tenant_id))
    (entries,) = (await context.counters.link.send([("XRANGE", key, "-", "+")])).values
    found = []
    for entry_id, fields in entries:
        entry = journal.decode(entry_id, fields)
        assert entry.damage == ""
        found += [
            (
                line.draw.included,
                line.draw.overage,
                line.draw.excess,
                {one.grant_id: amount for one, amount in line.draw.grants},
            )
            for line in entry.events
            if line.event.tenant_id == tenant_id
        ]
    return found


async def test_a_counter_never_passes_its_bound(counting: Context):
    """Lua counts in doubles: past 2^53 it would lose units without a word."""
    most = alone(None, None)
    full = [recording(Numbers.next(), "bound", most, limits.QUANTITY_MAX) for _ in range(9)]
    assert set(await counting.counters.record(full, now=NOW)) == {"accepted"}
    over = recording(Numbers.next(), "bound", most, 1)
    assert await counting.counters.record([over], now=NOW) == ["overflow"]
    (found,) = await counting.counters.read([Want("bound", ((WINDOW, "f:i"),))])
    assert found.values == (limits.COUNTER_MAX,)
