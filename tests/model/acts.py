"""What may happen to a tenant: small acts, chosen at random, which make sense in any order."""

from datetime import timedelta
from typing import NamedTuple

from hypothesis import strategies as st

DAY = timedelta(days=1)


class Use(NamedTuple):
    """Something is used: reported, or consumed or reserved if it fits. `late` is how long ago it was."""

    how: str
    feature: str
    quantity: int
    entity: str | None
    late: timedelta | None


class Fill(NamedTuple):
    """What is left is used, or a little more or less: of what is `granted`, to a `limit` or a `cap`."""

    how: str
    feature: str
    to: str
    beside: int
    entity: str | None


class Several(NamedTuple):
    """Reported in one call."""

    uses: tuple[Use, ...]


class Again(NamedTuple):
    """The same as before, word by word; or its id with another quantity."""

    which: int
    same: bool


class Settle(NamedTuple):
    """A reservation is settled for what it held and so much more (or less), or for nothing."""

    which: int
    more: int
    nothing: bool


class Release(NamedTuple):
    which: int


class Expire(NamedTuple):
    """The job that ends what nobody settled."""


class Revise(NamedTuple):
    """An event is amended by so much, or voided."""

    which: int
    more: int | None


class Ask(NamedTuple):
    """A check, of now or of the past. It changes nothing."""

    feature: str
    quantity: int
    entity: str | None
    ago: timedelta | None


class Give(NamedTuple):
    """A grant. `since` is how far from now it takes effect, `life` how long it holds from there on."""

    feature: str
    quantity: int
    priority: int
    since: timedelta
    life: timedelta | None


class Void(NamedTuple):
    """One of the grants is voided."""

    which: int


class Override(NamedTuple):
    """Terms of the plan are replaced for so long; `up_to` only where overage is sold. None: the plan's."""

    feature: str
    included: int | None
    up_to: int | None
    life: timedelta | None


class Lift(NamedTuple):
    """What is overridden ends."""

    feature: str


class Change(NamedTuple):
    """Another plan; a tenant without one starts on it."""

    plan: str
    at_renewal: bool


class Start(NamedTuple):
    """A tenant without a plan starts on one, maybe to try it."""

    plan: str
    trial: bool


class Publish(NamedTuple):
    """Another edition of the catalog becomes active, and who is on this plan is moved."""

    edition: int
    plan: str
    at_renewal: bool


class Cancel(NamedTuple):
    at_renewal: bool


class Resume(NamedTuple):
    pass


class Wait(NamedTuple):
    """Time goes by."""

    length: timedelta


class Edge(NamedTuple):
    """Time goes on to one of the next instants at which something changes by itself, or to just beside it."""

    feature: str
    which: int
    beside: timedelta


class Flush(NamedTuple):
    """What was counted goes to Postgres."""


class Wipe(NamedTuple):
    """Redis is lost after a flush, and rebuilt."""


class Together(NamedTuple):
    """Several clients at once."""

    acts: tuple[Use | Ask | Settle | Release | Expire, ...]


features = st.sampled_from(["tokens", "tokens", "minutes"])
plans = st.sampled_from(
    ["free", "team", "team", "pro", "pro", "business", "saver", "saver", "daily", "long", "open"]
)
"""Those with a month more often: their periods stay, and what was used of them with it."""
entities = st.sampled_from([None, None, "u1", "u2"])
quantities = st.integers(1, 12) | st.integers(0, 45)
SOON = [timedelta(0), timedelta(seconds=1), timedelta(minutes=20), timedelta(hours=3)]
spans = st.sampled_from([*SOON, DAY, 3 * DAY, 8 * DAY, 20 * DAY])
lateness = st.one_of(
    st.none(),
    st.none(),
    spans,
    st.just(-timedelta(minutes=2)),
    st.integers(20, 36).map(lambda days: days * DAY),
)


@st.composite
def _uses(draw, kinds=("record", "consume", "consume", "reserve")):
    how, feature = draw(st.sampled_from(kinds)), draw(features)
    late = draw(lateness if how == "record" else st.sampled_from([None, None, None, timedelta(minutes=2)]))
    return Use(how, feature, draw(quantities), draw(entities) if feature == "tokens" else None, late)


@st.composite
def _asks(draw):
    feature = draw(features)
    return Ask(feature, draw(quantities), draw(entities) if feature == "tokens" else None, None)


uses = _uses()
ends = st.sampled_from(["granted", "limit", "cap"])


@st.composite
def _fills(draw, of=features, to=ends):
    how, feature = draw(st.sampled_from(["record", "consume", "reserve"])), draw(of)
    entity = draw(entities) if feature == "tokens" else None
    return Fill(how, feature, draw(to), draw(st.sampled_from([-1, 0, 0, 1, 5])), entity)


fills = _fills()
asks = _asks()
looks = st.builds(lambda ask, ago: ask._replace(ago=ago), asks, spans)
gifts = st.builds(
    Give,
    features,
    st.integers(1, 30),
    st.sampled_from([0, 50, 100, 100, 150]),
    st.sampled_from([timedelta(0), timedelta(0), -3 * DAY, -30 * DAY, timedelta(hours=5), 10 * DAY]),
    st.none() | st.sampled_from([timedelta(hours=2), 5 * DAY, 31 * DAY, 90 * DAY]),
)
overrides = st.builds(
    Override,
    features,
    st.none() | quantities | quantities,
    st.none() | st.none() | quantities,
    st.none() | st.sampled_from([timedelta(hours=2), 5 * DAY, 31 * DAY]),
)
lifts = st.builds(Lift, features)
which = st.integers(0, 30)
settles = st.builds(Settle, which, st.sampled_from([0, 0, -3, 5, 30]), st.sampled_from([False, False, True]))
endings = st.one_of(settles, settles, st.builds(Release, which), st.builds(Expire))
revisions = st.builds(Revise, which, st.none() | st.integers(-20, 40))
together = st.lists(uses | uses | asks | endings, min_size=2, max_size=4).map(
    lambda some: Together(tuple(some))
)
several = st.lists(_uses(kinds=("record",)), min_size=2, max_size=5).map(lambda some: Several(tuple(some)))
waits = st.builds(
    Wait, st.sampled_from([timedelta(hours=1), timedelta(hours=13), DAY, 6 * DAY, 17 * DAY, 31 * DAY])
)
edges = st.builds(
    Edge,
    features,
    st.integers(0, 2),
    st.sampled_from([-timedelta(seconds=1), timedelta(0), timedelta(seconds=1)]),
)
changes = st.builds(Change, plans, st.sampled_from([False, False, True]))
publishes = st.builds(
    Publish,
    st.integers(0, 2),
    st.sampled_from(["team", "pro", "saver"]),
    st.sampled_from([False, False, True]),
)
turns = st.one_of(
    publishes,
    changes,
    changes,
    changes,
    st.builds(Cancel, st.booleans()),
    st.builds(Resume),
    st.builds(Start, plans, st.booleans()),
)
acts = st.one_of(
    uses,
    fills,
    together,
    several,
    gifts,
    st.builds(Void, st.integers(0, 5)),
    overrides | lifts,
    turns,
    waits | edges,
    st.builds(Again, which, st.booleans()),
    asks | looks,
    endings,
    revisions,
    st.builds(Flush) | st.builds(Wipe),
)
moves = st.builds(Change, st.sampled_from(["team", "pro", "business"]), st.just(value=False))
filled = _fills(of=st.just("tokens"), to=st.sampled_from(["granted", "limit"]))
reserves = _uses(kinds=("reserve",))
trials = st.builds(Start, plans, st.just(value=True))
saves = st.builds(Change, st.just("saver"), st.just(value=False))
days = st.builds(
    Edge,
    st.just("minutes"),
    st.just(0),
    st.sampled_from([timedelta(0), timedelta(minutes=30), timedelta(hours=2)]),
)
late = _uses(kinds=("record",)).map(
    lambda use: use._replace(feature="minutes", entity=None, late=timedelta(hours=3))
)
chapters = st.one_of(
    st.tuples(moves, filled, moves, filled, moves, filled),
    st.tuples(moves, filled, publishes, filled, publishes, filled),
    st.tuples(acts),
    st.tuples(acts, acts),
    st.tuples(fills, changes, fills, changes, fills),  # rights that grow and shrink while they are used
    st.tuples(gifts, fills, gifts | st.builds(Void, st.just(0)), fills, looks),
    st.tuples(st.builds(Cancel, st.just(value=False)), trials, fills, filled, edges | turns, fills),
    st.tuples(overrides, fills, overrides | lifts, fills, looks),  # terms that grow and shrink
    st.tuples(saves, uses, overrides, days, overrides | lifts, late | fills, days, looks),  # what they leave
    st.tuples(uses, edges, uses | several, edges, fills),
    st.tuples(uses, st.builds(Wipe), st.builds(Again, which, st.booleans()), fills),
    st.tuples(fills, together, looks),
    st.tuples(reserves, fills, endings, looks, fills, looks),  # what is held while others use
    st.tuples(reserves, st.builds(Wipe) | gifts | moves, reserves, edges | waits, endings, endings),
    st.tuples(saves, uses, days, late | fills, days, late, fills, looks),  # what days leave to each other
    st.tuples(saves, reserves, days, endings, late, days, revisions | endings, fills),
    st.tuples(uses, uses | fills, revisions, fills, revisions, looks),
    st.tuples(_fills(to=st.just("cap")), _fills(to=st.just("cap")), edges, fills),
)
"""What bears on each other stands together more often than by chance."""
