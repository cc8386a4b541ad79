"""A call of one act that is packed from its frame is the call that script_call makes, byte by byte."""

from hypothesis import given
from hypothesis import strategies as st

from policies import limits
from store import consuming, counters, keyspace, recording
from store.accounts import Account, BucketRoom, CapMove, Carrying, GrantBucket, Link
from store.consuming import Ceilings, Use
from store.conversation import pack
from store.counters import Recording
from store.gathering import Waiting
from tests.conftest import NOW

SHARD = keyspace.shard_of("acme")
RUN = "0" * 40
windows = st.sampled_from(["m.0", "d.0", "g.7"])
amounts = st.integers(0, limits.QUANTITY_MAX)
grants = st.builds(GrantBucket, windows, st.sampled_from(["one", "two"]), st.integers(0, 9))
rooms = st.builds(
    BucketRoom, windows, st.sampled_from(["f:i", "f:g:é"]), amounts, amounts, st.none() | grants
)
links = st.builds(Link, windows, amounts, amounts, st.integers(1, 3))
carried = st.builds(Carrying, st.tuples(links), amounts, st.integers(0, 2), st.none() | links)
accounts = st.builds(
    Account,
    st.just("acme"),
    st.integers(1, 99),
    st.just("f"),
    windows,
    st.none() | amounts,
    amounts,
    st.lists(rooms, min_size=1, max_size=3).map(tuple),
    st.sampled_from(["sum", "max", "unique"]),
    st.none() | carried,
)
moves = st.lists(st.builds(CapMove, windows, st.sampled_from(["f:c", "f:e:x"]), amounts), max_size=3).map(
    tuple
)
said = (
    accounts,
    amounts,
    st.binary(min_size=16, max_size=16),
    st.integers(0, 2**31 - 1),
    st.binary(max_size=99),
)
recordings = st.builds(Recording, *said, moves, st.sampled_from(["", "AbC"]))
maybe = st.none() | amounts


@st.composite
def uses(draw: st.DrawFn) -> Use:
    caps = draw(moves)
    ceilings = Ceilings(draw(maybe), draw(maybe), tuple(draw(maybe) for _ in caps))
    return Use(*map(draw, said), ceilings=ceilings, caps=caps, value=draw(st.sampled_from(["", "AbC"])))


@given(event=recordings)
def test_a_recorded_event(event: Recording):
    plain = counters.record_command(SHARD, [event], NOW, run_id=RUN)
    assert recording._packed(SHARD, [Waiting(event, NOW, None)], RUN) == pack(plain)


@given(use=uses())
def test_a_use(use: Use):
    plain = consuming._command(SHARD, [(use, NOW)], RUN)
    assert consuming._packed(SHARD, [Waiting(use, NOW, None)], RUN) == pack(plain)
