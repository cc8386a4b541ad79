"""Feature periods on a bill: which, at whose price, and one rounding for all of them."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import entitlement, money
from policies.errors import ConflictError
from policies.model import Rollover, Tier
from policies.period import Period
from policies.rating import bill, overage
from policies.rating.overage import Use
from policies.snapshot import Snapshot
from policies.subscription import BillingFact
from tests.pure import plans, selling
from tests.pure.selling import DAY, START, lived, metered, plan

HOUR = timedelta(hours=1)
NOW = START + 20 * DAY
CHEAP, DEAR = selling.overage(unit_amount="0.01"), selling.overage(unit_amount="0.05")


class Tenant:
    """A subscription, and what its counters would be asked."""

    def __init__(self, *phases, now=NOW, **rest):
        held, versions = lived(*phases, **rest)
        snapshot = Snapshot(tenant_id="acme", version=1, known=True, subscriptions=(held,))
        self.account = bill.account(held, versions, now)
        resolve = partial(
            entitlement.resolve, snapshot, offer=plans.offer(features=(plans.TOKENS,)), versions=versions,
            feature_id="ai-tokens",
        )  # fmt: skip
        self.rated = self.account.rated(lambda at: resolve(at=at), now)

    @property
    def windows(self):
        return [(one.right.period.start, one.right.period.end) for one in self.rated]

    def lines(self, *counters):
        """The overage lines, of (included, overage) in each window."""
        uses = [one.use(*levels) for one, levels in zip(self.rated, counters, strict=True)]
        return [line for line in self.account.lines(uses) if line.kind not in ("plan", "addon")]


def month(**terms):
    return metered(100, **{"sold": CHEAP} | terms)


# --- which periods -------------------------------------------------------------------------------


def test_the_running_month_is_on_the_bill_of_its_month():
    acme = Tenant((plan(terms=month()), START))
    assert acme.windows == [(START, START + 30 * DAY)]
    (line,) = acme.lines((100, 40))
    assert (line.quantity, line.amount, line.periods) == (40, 40, 1)
    assert (line.version, line.source, line.feature_id) == ("pro@00000001", selling.SOURCE, "ai-tokens")


def test_a_calendar_month_is_on_the_bill_in_which_it_ends():
    acme = Tenant((plan(terms=month(anchor="calendar")), START + 14 * DAY), anchored_at=START + 14 * DAY)
    first, second = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
    assert acme.windows == [(first, second)]
    later = Tenant(
        (plan(terms=month(anchor="calendar")), START + 14 * DAY),
        anchored_at=START + 14 * DAY,
        now=second + DAY,
    )
    assert later.windows == [(first, second)], "December ends after the bill, so it is on the next"


def test_days_of_a_month_are_all_on_its_bill_up_to_now():
    acme = Tenant((plan(terms=month(interval="day")), START))
    assert acme.windows == [(START + n * DAY, START + (n + 1) * DAY) for n in range(21)]


def test_a_week_is_on_the_bill_in_which_it_ends():
    ended = Tenant((plan(terms=month(interval="week")), START), now=START + 58 * DAY)
    assert [(start - START) // DAY for start, _ in ended.windows] == [28, 35, 42, 49]


def test_of_a_year_the_usage_of_the_month_is_on_the_bill():
    yearly = plan("team", "365.00", interval="year", terms=month())
    acme = Tenant((yearly, START), now=START + 40 * DAY)
    assert acme.windows == [(START + 30 * DAY, START + 61 * DAY)]


def test_what_never_ends_is_never_on_a_bill():
    assert Tenant((plan(terms=metered(100, interval="never")), START)).windows == []


def test_the_end_of_a_subscription_ends_what_runs():
    acme = Tenant((plan(terms=month(anchor="calendar")), START), end=START + 33 * DAY, now=START + 90 * DAY)
    assert [start for start, _ in acme.windows] == [datetime(2026, 12, 1, tzinfo=UTC)]
    middle = START + 14 * DAY
    phase = (plan(terms=month(anchor="calendar")), middle)
    running = Tenant(phase, anchored_at=middle, now=middle + 20 * DAY)
    ended = Tenant(phase, anchored_at=middle, end=middle + 20 * DAY, now=middle + 20 * DAY)
    assert (len(running.windows), len(ended.windows)) == (1, 2)


def test_a_feature_without_overage_and_a_plan_without_the_feature_have_no_lines():
    assert Tenant((plan(terms=month(sold=None)), START)).windows == []
    assert Tenant((plan(), START)).windows == []


def test_after_payments_said_ended_nothing_is_counted_as_owed():
    facts = (BillingFact(status="ended", since=START + 5 * DAY),)
    acme = Tenant((plan(terms=month(interval="day")), START), billing=facts)
    assert len(acme.windows) == 5


# --- at whose price ------------------------------------------------------------------------------


def test_overage_is_rated_at_the_price_that_held_last():
    change = START + 10 * DAY
    acme = Tenant((plan("basic", terms=month()), START), (plan("pro", terms=month(sold=DEAR)), change))
    (line,) = acme.lines((100, 40))
    assert (line.version, line.amount) == ("pro@00000001", 200)
    before = Tenant((plan("basic", terms=month()), START), (plan("pro", terms=month(sold=DEAR)), NOW + DAY))
    assert before.lines((100, 40))[0].version == "basic@00000001"


@pytest.mark.parametrize("after", [month(sold=None), None], ids=["without overage", "without the feature"])
def test_leaving_for_a_plan_that_sells_none_gives_no_overage_away(after):
    acme = Tenant((plan("pro", terms=month()), START), (plan("free", "0", terms=after), START + 10 * DAY))
    assert acme.windows == [(START, START + 30 * DAY)]
    (line,) = acme.lines((100, 40))
    assert (line.version, line.amount) == ("pro@00000001", 40)


def test_another_interval_ends_the_old_period_at_the_change():
    change = START + 10 * DAY
    acme = Tenant(
        (plan("pro", terms=month()), START), (plan("new", terms=month(interval="week", sold=DEAR)), change)
    )
    assert acme.windows[0] == (START, change)
    weeks = acme.windows[1:]
    found = acme.lines((100, 40), *[(100, 1)] * len(weeks))
    assert [(line.version, line.amount) for line in found] == [
        ("pro@00000001", 40),
        ("new@00000001", 5 * len(weeks)),
    ]


def test_what_the_plan_includes_now_counts_against_overage_from_before():
    """R15: the bill has what the books have in overage."""
    acme = Tenant(
        (plan("basic", terms=month()), START), (plan("pro", terms=metered(130, sold=DEAR)), START + DAY)
    )
    assert [(line.quantity, line.amount) for line in acme.lines((100, 40))] == [(10, 50)]


def test_late_use_of_what_was_carried_on_is_overage():
    """R19: what was left is in the next day, so the books of this one have no room for it any more."""
    carrying = Rollover(source="plans/pro.yaml:20", max=1_000)
    acme = Tenant((plan(terms=month(interval="day", rollover=carrying)), START), now=START + DAY + HOUR)
    first, second = acme.rated
    assert (first.after is None, second.after is None) == (False, True)
    assert first.use(60, 50, carried=(40,)).units == 50
    assert first.use(60, 50, carried=(0,)).units == 10, "nothing was carried: it was there to be used"


def test_what_is_only_reserved_is_not_owed():
    acme = Tenant((plan(terms=month()), START))
    assert acme.lines((100, 40, 15))[0].quantity == 25
    assert acme.lines((100, 40, 40)) == []


@pytest.mark.parametrize(
    ("levels", "uncounted", "excess", "units"),
    [
        ((60, 0), 40, 0, 0),  # there is room for all of it
        ((60, 0), 41, 0, 1),
        ((100, 40), 5, 0, 45),
        ((100, 40), 500, 0, 50),  # no more overage is sold
        ((100, 40), -10, 0, 30),
        ((100, 40), -10, 4, 34),  # what was past every right goes first
        ((100, 40), -10, 30, 40),
        ((100, 40), -90, 0, 0),
    ],
)
def test_what_moved_no_counter_takes_what_is_left_and_gives_back_what_is_past(
    levels, uncounted, excess, units
):
    acme = Tenant((plan(terms=month(sold=selling.overage(unit_amount="0.01", up_to=50))), START))
    (rated,) = acme.rated
    assert rated.use(*levels, uncounted=uncounted, excess=excess).units == units


def test_of_an_unlimited_quantity_nothing_is_past():
    changed = START + DAY
    acme = Tenant((plan("pro", terms=month()), START), (plan("all", terms=metered(None)), changed))
    (rated,) = acme.rated
    assert rated.use(100, 0, uncounted=1_000).units == 0


def test_prices_in_two_currencies_make_no_bill():
    euros = plan("euro", terms=month(), currency="eur")
    acme = Tenant((plan(terms=month()), START), (euros, START + DAY))
    with pytest.raises(ConflictError, match="EUR and in USD"):
        acme.lines((0, 0))


def test_a_subscription_that_never_began_owes_nothing():
    held, versions = lived((plan(), START))
    with pytest.raises(ConflictError, match="before it began"):
        bill.account(type(held)(id="s", anchored_at=START, created_at=START, phases=()), versions, NOW)


# --- several periods on one line -----------------------------------------------------------------


def use(number, units, sold, *, decimals=0, currency="usd"):
    feature = plans.TOKENS if not decimals else type(plans.TOKENS)(
        id="ai-tokens", type="metered", name="AI tokens", source="features.yaml:6", decimals=decimals
    )  # fmt: skip
    window = Period(START + number * HOUR, START + (number + 1) * HOUR)
    return Use(
        feature=feature, plan_version="pro@1", currency=currency, overage=sold, window=window, units=units
    )


def test_tiers_start_anew_in_each_period():
    tiers = (Tier(up_to=10, unit_amount="1.00"), Tier(unit_amount="0.50", flat_amount="2.00"))
    found = list(
        overage.lines(
            use(n, units, selling.overage("graduated", tiers=tiers)) for n, units in enumerate([8, 0, 14, 12])
        )
    )
    assert [(line.tier, line.quantity, line.periods, line.flats, line.amount) for line in found] == [
        (1, 28, 3, 0, 2_800),
        (2, 6, 2, 2, 300 + 400),
    ]
    assert [(line.above, line.up_to) for line in found] == [(0, 10), (10, None)]
    assert (found[0].period.start, found[0].period.end) == (START, START + 4 * HOUR)
    assert found[1].period.start == START + 2 * HOUR


def test_many_small_amounts_are_rounded_once():
    """A thousandth of a cent each hour is not lost in 720 roundings."""
    (line,) = overage.lines(use(n, 1, selling.overage(unit_amount="0.00001")) for n in range(720))
    assert (line.quantity, line.periods, line.amount) == (720, 720, 1)


def test_a_minimum_holds_for_each_period_that_has_overage():
    sold = selling.overage(unit_amount="0.10", minimum="1.00")
    line, least = overage.lines(use(n, units, sold) for n, units in enumerate([4, 0, 30, 1]))
    assert (line.quantity, line.amount) == (35, 350)
    assert (least.kind, least.quantity, least.unit_amount, least.amount) == ("minimum", 2, "1.00", 60 + 90)


def test_packages_are_begun_anew_in_each_period():
    (line,) = overage.lines(use(n, 5, selling.overage("package", size=10, amount="0.50")) for n in range(3))
    assert (line.quantity, line.packages, line.size, line.amount) == (15, 3, 10, 150)


@given(selling.overages(), st.lists(st.integers(0, 60), max_size=8), st.integers(0, 2), selling.currencies)
def test_the_lines_have_every_unit_and_come_within_a_rounding_each_of_what_the_periods_cost(
    sold, units, decimals, currency
):
    uses = [use(n, each, sold, decimals=decimals, currency=currency) for n, each in enumerate(units)]
    found = list(overage.lines(uses))
    rated = selling.price(sold, decimals=decimals, currency=currency)
    exact = sum((rated.cost(each) for each in units), Fraction(0))
    assert sum(line.quantity for line in found if line.kind == "overage") == sum(units)
    assert abs(sum(line.amount for line in found) - exact) <= Fraction(len(found), 2)
    for line in found:
        if line.kind == "overage":
            times = Fraction(line.quantity, 10**decimals) if line.packages is None else line.packages
            again = money.exact(line.unit_amount, currency) * times
            assert line.amount == money.rounded(again + money.exact(line.flat_amount, currency) * line.flats)


@given(selling.overages(), st.lists(st.integers(0, 60), max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_periods_changes_no_amount(sold, units, rnd):
    uses = [use(n, each, sold) for n, each in enumerate(units)]
    shuffled = rnd.sample(uses, len(uses))
    assert list(overage.lines(uses)) == list(overage.lines(shuffled))


# --- the books -----------------------------------------------------------------------------------


@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 200) | st.none())
def test_rated_overage_is_the_overage_of_the_books(included, over, size):
    acme = Tenant(
        (plan("basic", terms=month()), START), (plan("pro", terms=metered(size, sold=DEAR)), START + DAY)
    )
    rated = sum(line.quantity for line in acme.lines((included, over)))
    granted = included + over if size is None else max(size, included)
    assert rated + min(included + over, granted) == included + over
