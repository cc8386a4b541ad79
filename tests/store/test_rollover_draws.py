"""The record script carries as policies.rollover says (law 7): the same months through both."""

from collections import Counter

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies import rollover
from policies.period import Period
from service.context import Context
from store import accounts, journal, keyspace
from store.accounts import Account, BucketRoom, Carrying
from store.counters import Recording
from store.journal import JournalEvent
from store.reading import Want
from store.staging import Staged
from tests.conftest import NOW
from tests.pure import months
from tests.pure.months import HOUR, Months, said
from tests.store.test_draws import Numbers

small = st.integers(0, 30)
terms = st.builds(
    said, small, st.none() | st.tuples(small, st.integers(1, 3)), up_to=st.none() | st.just(0) | small
)
acts = st.tuples(st.booleans(), small, st.sampled_from([HOUR / 2, HOUR, 40 * HOUR]))
"""Whether it is of the month before, its quantity, how long after the month began it comes."""
histories = st.lists(st.tuples(terms, st.lists(acts, max_size=4)), min_size=3, max_size=6)


def window(span: Period) -> str:
    return keyspace.window("month", span)


def link(one: rollover.Link, place: str | None = None) -> accounts.Link:
    return accounts.Link(place or window(one.window), one.included, one.max, one.lasts)


def account(year: Months, tenant_id: str, span: Period, now) -> Account:
    """The account of a month at an instant, as `service.usecases.booking` makes it."""
    links, included = year.links(span), year.terms[span].included
    assert included is not None
    finite = [
        BucketRoom(window(span), f"f:v{number}", 0, 0, generation=number)
        for number in range(len(links), 0, -1)
    ]
    present, late = months.month(now), rollover.lateness(span, now)
    after = year.links(present) if late else ()
    overage = year.terms[span].overage
    own = link(msgspec.structs.replace(after[0], lasts=len(after)), window(present)) if after else None
    return Account(
        tenant_id=tenant_id,
        snapshot_version=0,
        feature_id="f",
        window=window(span),
        overage=overage.up_to if overage else 0,
        ends=0,
        finite=(*finite, BucketRoom(window(span), "f:i", included, 0)),
        carrying=Carrying(tuple(map(link, links)), 0, late, own) if links or late else None,
    )


def recording(year: Months, tenant_id: str, span: Period, quantity: int, now) -> Recording:
    number = Numbers.next()
    digest = number.to_bytes(12) + bytes(4)
    line = JournalEvent(
        kind="record", tenant_id=tenant_id, service_id="s", event_id=str(number), feature_id="f",
        entity_id="", plan_id="", quantity=quantity, measured=quantity, event_at=0, accepted_at=0,
        window=window(span), ends=0, caps=(), digest=digest, fingerprint=1, properties=None,
        late=rollover.lateness(span, now),
    )  # fmt: skip
    return Recording(account(year, tenant_id, span, now), quantity, digest, 1, journal.encode(line))


def history(year: Months, told) -> list[tuple[Period, int, object]]:
    """The acts in the order in which they come: month, quantity, instant."""
    found, before = [], None
    for span, (_, several) in zip(year.spans, told, strict=True):
        for late, quantity, after_start in sorted(several, key=lambda act: act[2]):
            found.append((before if late and before else span, quantity, span.start + after_start))
        before = span
    return found


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(told=histories)
async def test_script_and_specification_carry_alike(counting: Context, told):
    year, tenant_id = Months(*(one for one, _ in told)), f"months-{Numbers.next()}"
    for span, quantity, now in history(year, told):
        event = recording(year, tenant_id, span, quantity, now)
        year.draw(span, quantity, now)
        assert await counting.counters.record([event], now=NOW) == ["accepted"]
    wanted = [(span, field) for span in year.spans for field in FIELDS]
    fields = tuple((window(span), f"f:{field}") for span, field in wanted)
    (found,) = await counting.counters.read([Want(tenant_id, fields)])
    assert found.values == tuple(year.counters[each] for each in wanted)
    sums = await flushed(counting, tenant_id)
    assert found.values == tuple(sums[each] for each in fields)


FIELDS = ("i", "o", "x", "l", "v1", "v2", "v3", "v1:l", "v2:l", "v3:l")


async def test_acts_of_one_call_see_what_those_before_them_left(counting: Context):
    """A late event and one of now in one batch: what is carried is worked out anew for each."""
    year, tenant_id = Months(*[said(100, (60, 1), up_to=None)] * 2), f"months-{Numbers.next()}"
    first, second = year.spans
    now = second.start
    batch = [
        recording(year, tenant_id, first, 70, now),
        recording(year, tenant_id, second, 20, now),
        recording(year, tenant_id, first, 40, now),
    ]
    assert set(await counting.counters.record(batch, now=NOW)) == {"accepted"}
    fields = tuple((window(span), f"f:{field}") for span in year.spans for field in ("i", "o", "l", "v1"))
    (found,) = await counting.counters.read([Want(tenant_id, fields)])
    # 30 were carried, 20 of them were used: 10 were left for the last one, and the rest of it is overage.
    assert found.values == (80, 30, 30, 0, 0, 0, 0, 20)


async def flushed(context: Context, tenant_id: str) -> Counter[tuple[str, str]]:
    """What the flush would add up of a tenant's journal."""
    key = keyspace.journal(keyspace.shard_of(tenant_id))
    (entries,) = (await context.counters.link.send([("XRANGE", key, "-", "+")])).values
    sums: Counter[tuple[str, str]] = Counter()
    for entry_id, fields in entries:
        entry = journal.decode(entry_id, fields)
        assert entry.damage == ""
        for place, line in enumerate(entry.events):
            if line.event.tenant_id == tenant_id:
                for move in Staged(0, entry.entry_id, place, line.event, line.draw).moves():
                    sums[move.window, move.field] += move.amount
    return sums
