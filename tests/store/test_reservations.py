"""Reservations in Redis and Postgres: the scripts against the rule, the flush, a wipe, what is put back."""

import asyncio
from datetime import timedelta

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies import balance, errors, limits, reservation
from policies.balance import Draw, Levels
from service.context import Context
from service.usecases import reservations, reserve
from service.usecases.fitting import Wanted
from service.usecases.reservations import Told
from service.usecases.reserve import Reserved
from store import certify, flush, journal, keyspace, postgres
from store.accounts import CapMove, Carrying
from store.consuming import Ceilings, Use
from store.holds import End, Name
from store.journal import Hold, JournalEvent
from store.reading import Want
from tests.conftest import NOW
from tests.store import ledger
from tests.store.ledger import TOKENS
from tests.store.test_draws import GRANTS, WINDOW, Numbers, account, capacities, turns, with_grants

FREE = 10_000
small = st.integers(0, 40)
CAP = ("d.0", "f:c")
acts = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), small, st.just(0)),
        st.tuples(st.just("settle"), small, small),
        st.tuples(st.just("release"), st.just(0), small),
        st.tuples(st.just("record"), small, st.just(0)),
    ),
    min_size=1,
    max_size=12,
)


def use(tenant_id, room, held, quantity, *, kind="reserve", ceiling=None):
    """A use as a script is given it; without a ceiling everything fits."""
    number, where = Numbers.next(), account(tenant_id, room, held)
    digest = number.to_bytes(16)
    digest = digest[8:] + digest[:8]  # the mark keeps the first 12
    cap = CapMove(*CAP, 0)
    line = JournalEvent(
        kind=kind, tenant_id=tenant_id, service_id="s", event_id=str(number), feature_id="f", entity_id="",
        plan_id="", quantity=quantity, measured=quantity, event_at=journal.microseconds(NOW), accepted_at=0,
        window=WINDOW, ends=0, caps=(cap,), digest=digest, fingerprint=1, properties=None,
        hold=Hold(where, (cap,), 0, False) if kind == "reserve" else None,
    )  # fmt: skip
    ceilings = Ceilings(None, ceiling, (None,))
    return Use(where, quantity, digest, 1, journal.encode(line), ceilings, (cap,))


class Model:
    """What the counters must be, by the pure rules; `open` are the reservations with what they hold."""

    def __init__(self, room, held):
        self.room, self.held = room, held
        self.levels, self.cap, self.open = Levels(grants=(0,) * len(held)), 0, []

    def reserved(self):
        total = Draw(grants=(0,) * len(self.held))
        for _, own, _ in self.open:
            total = reservation.plus(total, own)
        return total

    def record(self, quantity):
        drawn = balance.draw(self.room, self.levels, quantity)
        self.levels, self.cap = reservation.moved(self.levels, drawn), self.cap + quantity
        return drawn

    def end(self, place, quantity):
        reserved = self.reserved()
        _, own, had = self.open.pop(place)
        change = reservation.ended(self.room, self.levels, reserved, own, quantity)
        self.levels, self.cap = reservation.moved(self.levels, change), self.cap + quantity - had

    def counters(self):
        """By field, as Redis has them; the cap last."""
        held, levels = self.reserved(), self.levels
        both = [
            (levels.included, held.included),
            (levels.overage, held.overage),
            (levels.excess, held.excess),
        ]
        both += list(zip(levels.grants, held.grants, strict=True))
        return (*(part for pair in both for part in pair), sum(one for _, one in both), self.cap)


def fields(held):
    """The counters of `Model.counters`: of each bucket all, then what is held; all that is held; the cap."""
    buckets = [(WINDOW, f"f:{bucket}") for bucket in "iox"]
    buckets += [(f"g.{grant // 2}", keyspace.grant_field("f", f"grt{grant}")) for grant in held]
    both = [(window, name) for window, field in buckets for name in (field, keyspace.reserved_field(field))]
    return (*both, (WINDOW, "f:r"), CAP)


async def flushed_counters(context, tenant_id):
    """The sums in Postgres, by window and field, after a flush."""
    while (await flush.flush_once(context.pool, context.counters.link, now=NOW)).more:
        pass
    async with postgres.transaction(context.pool) as connection:
        query = b"select time_window, field, used from usage_counters where tenant_id = %(tenant_id)s"
        rows = await postgres.rows(connection, query, {"tenant_id": tenant_id}, Sum)
    return {(row.time_window, row.field): row.used for row in rows}


class Sum(msgspec.Struct):
    time_window: str
    field: str
    used: int


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    room=capacities,
    turn=turns,
    sizes=st.lists(small, min_size=GRANTS, max_size=GRANTS),
    history=acts,
)
async def test_scripts_and_specification_hold_and_end_alike(counting: Context, room, turn, sizes, history):
    """Any order of reserves, ends and records; Redis as the rule says, and Postgres as Redis."""
    tenant_id = f"model-{Numbers.next()}"
    full, held = with_grants(room, turn, sizes)
    model = Model(full, held)
    for act, quantity, pick in history:
        if act == "reserve":
            one = use(tenant_id, full, held, quantity)
            assert (await counting.holds.reserve(one, seconds=60, now=NOW)).found.outcome == "counted"
            drawn = model.record(quantity)
            model.open.append((one.digest, drawn, quantity))
        elif act == "record":
            one = use(tenant_id, full, held, quantity, kind="consume")
            assert (await counting.consumer.consume(one, now=NOW)).outcome == "counted"
            model.record(quantity)
        elif model.open:
            place = pick % len(model.open)
            line = await counting.holds.find(Name.of(tenant_id, model.open[place][0]))
            assert await counting.holds.end([End(act, line, quantity)], now=NOW) == ["done"]
            model.end(place, quantity)
        (found,) = await counting.counters.read([Want(tenant_id, fields(held))])
        assert found.values == model.counters()
    kept = await flushed_counters(counting, tenant_id)
    assert tuple(kept.get(field, 0) for field in fields(held)) == model.counters()


async def reserved(instance: Context, number: int, quantity: int = 10, **more) -> Reserved:
    wanted = {
        "event_id": f"r{number}",
        "tenant_id": "acme",
        "service_id": "tests",
        "feature_id": TOKENS,
        "quantity": quantity,
        "seconds": 60,
    }
    return await reserve.reserve(instance, Wanted(**wanted | more))


async def standing(context: Context) -> tuple[int, int]:
    """What is counted in the included bucket, and what of it is held."""
    wanted = ((ledger.month(), f"{TOKENS}:i"), (ledger.month(), f"{TOKENS}:r"))
    (found,) = await context.counters.read([Want("acme", wanted)])
    return found.values


def told(given: Reserved) -> Told:
    return Told(given.reservation_id, None)


async def wiped(context: Context, at=NOW) -> None:
    """Redis loses everything, and is certified anew."""
    await context.counters.link.send([("FLUSHALL",)])
    await certify.certify(context.pool, context.counters.link, now=at)


async def test_many_at_once_hold_exactly_what_there_is(counting: Context):
    given = await asyncio.gather(*(reserved(counting, number, 300) for number in range(64)))
    assert sum(one.reservation_id is not None for one in given) == 33
    assert await standing(counting) == (9_900, 9_900)


async def test_one_key_holds_once_however_often_and_at_once_it_comes(counting: Context):
    given = await asyncio.gather(*(reserved(counting, 1, 50) for _ in range(16)))
    assert len({(one.reservation_id, one.expires_at, one.decision.decision_id) for one in given}) == 1
    assert await standing(counting) == (50, 50)


async def test_uses_and_settles_at_once_never_pass_the_limit(counting: Context):
    """Whoever returns units lets others in; at no moment is more counted than there is."""
    given = await asyncio.gather(*(reserved(counting, number, 100) for number in range(100)))
    more = [reserved(counting, 1_000 + number, 50) for number in range(100)]
    ends = [reservations.settle(counting, told(one), 50) for one in given]
    done = await asyncio.gather(*(part for pair in zip(more, ends, strict=True) for part in pair))
    late = [one for one in done[::2] if one.reservation_id is not None]
    assert await standing(counting) == (5_000 + 50 * len(late), 50 * len(late))
    assert await standing(counting) <= (FREE, FREE)


async def test_a_returned_hold_takes_overage_back_that_others_ran_into(counting: Context):
    """While 20,000 of pro's million were held, others drew 10,000 of overage: they did not need to."""
    await ledger.subscribed(counting, "big", "pro")
    given = await reserved(counting, 1, 20_000, tenant_id="big", entity_id="one")
    key = keyspace.counters(keyspace.shard_of("big"), "big", ledger.month())
    await counting.counters.send_all([("HINCRBY", key, f"{TOKENS}:i", 900_000)])
    await ledger.statuses(counting, ledger.event(1, 90_000, tenant_id="big", entity_id="two"))
    assert await ledger.levels(counting, "big") == (1_000_000, 10_000, 0)
    await reservations.release(counting, told(given))
    assert await ledger.levels(counting, "big") == (990_000, 0, 0)


async def test_a_wipe_puts_open_reservations_back_and_they_settle(counting: Context):
    open_one = await reserved(counting, 1, 400)
    settled = await reserved(counting, 2, 300)
    view = await reservations.settle(counting, told(settled), 100)
    await ledger.statuses(counting, ledger.event(1, 7))
    await ledger.flush_all(counting)
    await wiped(counting)
    assert await standing(counting) == (507, 400)
    assert await reservations.settle(counting, told(settled), 100) == view
    assert (await reserved(counting, 1, 400)) == open_one
    assert (await reservations.settle(counting, told(open_one), 150)).returned == 250
    assert await standing(counting) == (257, 0)
    await ledger.flush_all(counting)
    await wiped(counting)
    assert await standing(counting) == (257, 0)
    assert await ledger.stored(counting) == (3, 257)


async def test_what_expired_while_redis_was_away_returns_after_the_rebuild(counting: Context, clock):
    await reserved(counting, 1, 400)
    await ledger.flush_all(counting)
    clock.at = NOW + timedelta(seconds=60)
    await wiped(counting, clock.at)
    assert await counting.holds.tenants_due(now=NOW) == []
    assert await counting.holds.tenants_due(now=clock.at) == ["acme"]
    assert await counting.holds.sweep("acme", now=clock.at) == 1
    assert await standing(counting) == (0, 0)
    assert await counting.holds.tenants_due(now=clock.at) == []


async def test_a_reserve_that_comes_again_after_it_ended_and_a_wipe_counts_once(counting: Context):
    """Its mark and its hold are gone, so the script takes it for new; the flush takes all of it back."""
    await reservations.settle(counting, told(await reserved(counting, 1, 400)), 100)
    await ledger.flush_all(counting)
    await wiped(counting)
    again = await reserved(counting, 1, 400)
    await reservations.settle(counting, told(again), 100)
    await ledger.flush_all(counting)
    await wiped(counting)
    assert await standing(counting) == (100, 0)
    assert await ledger.stored(counting) == (1, 100)


async def test_the_clock_of_a_shard_never_runs_back(counting: Context, clock):
    """One process is a minute ahead: what it ends stays ended, and holds of others end by the same clock."""
    await reserved(counting, 1, 100)
    clock.at = NOW + timedelta(seconds=59)
    ahead = await reserved(counting, 2, 100, seconds=10)
    clock.at = NOW
    behind = await reserved(counting, 3, 100, seconds=10)
    assert behind.expires_at == ahead.expires_at == NOW + timedelta(seconds=69)
    line = await counting.holds.find(Name.parse(behind.reservation_id))
    assert await counting.holds.end([End("expire", line)], now=NOW) == ["early"]
    clock.at = NOW + timedelta(seconds=69)
    assert await counting.holds.sweep("acme", now=clock.at) == 3
    assert await standing(counting) == (0, 0)


async def test_thousands_that_expire_together_are_all_ended_in_bounded_batches(
    counting: Context, clock, monkeypatch
):
    monkeypatch.setattr(limits, "RESERVATIONS_SWEPT", 16)
    await asyncio.gather(*(reserved(counting, number, 1) for number in range(100)))
    clock.at = NOW + timedelta(seconds=60)
    assert await counting.holds.sweep("acme", now=clock.at) == 100
    assert await standing(counting) == (0, 0)


async def test_a_sweep_and_a_settle_at_once_end_it_once(counting: Context, clock):
    given = await reserved(counting, 1, 400)
    clock.at = NOW + timedelta(seconds=60)
    view, _ = await asyncio.gather(
        reservations.settle(counting, told(given), 100), counting.holds.sweep("acme", now=clock.at)
    )
    assert (view.state, view.quantity) == ("settled", 100)
    assert await standing(counting) == (100, 0)
    await ledger.flush_all(counting)
    assert await ledger.stored(counting) == (1, 100)


async def test_nothing_in_redis_is_left_of_what_ended_but_counters(counting: Context):
    await reservations.release(counting, told(await reserved(counting, 1, 400)))
    shard = keyspace.shard_of("acme")
    keys = (keyspace.holds(shard), keyspace.due(shard), keyspace.expiries(shard, "acme"))
    assert (await counting.counters.link.send([("EXISTS", *keys)])).values == [0]


async def test_an_end_does_not_depend_on_the_version_of_the_facts(counting: Context):
    """Those of its reserve are kept with it."""
    given = await reserved(counting, 1, 400)
    await counting.counters.raise_versions({"acme": 99})
    assert (await reservations.settle(counting, told(given), 5)).quantity == 5
    assert await standing(counting) == (5, 0)


async def test_an_end_that_comes_twice_is_done_once_also_in_one_call(counting: Context):
    given = await reserved(counting, 1, 400)
    line = await counting.holds.find(Name.parse(given.reservation_id))
    twice = [End("settle", line, 100), End("release", line)]
    assert await counting.holds.end(twice, now=NOW) == ["done", "gone"]
    assert await counting.holds.end(twice, now=NOW) == ["gone", "gone"]
    assert await standing(counting) == (100, 0)


@pytest.mark.parametrize("carrying", [None, Carrying((), 0)], ids=["nothing goes on", "it rolls over"])
@pytest.mark.parametrize(
    ("minutes", "said", "late"), [(0, None, 0), (60, None, 1), (120, None, 2), (120, 0, 0), (0, 2, 2)]
)
def test_an_end_is_as_late_as_its_period_says_or_the_facts_of_now(carrying, minutes, said, late):
    """Whatever the plan of the reserve: one that lets the rest go on may have come since (R19)."""
    given, ends = use("acme", balance.Capacity(finite=(), up_to=0), (), 1), NOW + timedelta(hours=1)
    where = msgspec.structs.replace(given.account, carrying=carrying)
    hold = Hold(where, (), 0, False, journal.microseconds(ends))
    event = msgspec.structs.replace(msgspec.msgpack.decode(given.payload, type=JournalEvent), hold=hold)
    end = End("release", journal.Line(event, journal.Draw(0, 0, 0)), late=said)
    at = NOW + timedelta(minutes=minutes)
    told = end.account(at).carrying
    assert (told.late if told else 0) == late
    assert end.event(at).late == late
    assert (told is None) == (carrying is None and not late)


async def test_after_a_wipe_the_same_id_with_another_body_is_still_told_apart(counting: Context):
    """The mark is gone; the hold knows what was said."""
    await reserved(counting, 1, 400)
    await ledger.flush_all(counting)
    await wiped(counting)
    with pytest.raises(errors.IdempotencyMismatchError):
        await reserved(counting, 1, 401)
    assert await standing(counting) == (400, 400)
