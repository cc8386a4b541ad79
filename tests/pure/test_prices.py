"""Price models of overage: exact, the same by a slow rule, and bounded where tiers are."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import limits, money
from policies.model import Tier
from tests.pure import selling
from tests.pure.selling import overage, price

few = st.integers(0, 60)
any_units = few | st.integers(0, limits.COUNTER_MAX)
decimals = st.integers(0, 3)

GRADUATED = overage(
    "graduated",
    tiers=(
        Tier(up_to=1_000, unit_amount="0.10"),
        Tier(up_to=5_000, unit_amount="0.08", flat_amount="5.00"),
        Tier(unit_amount="0.05"),
    ),
)
VOLUME = overage("volume", tiers=GRADUATED.tiers)


@pytest.mark.parametrize(
    ("sold", "units", "cents"),
    [
        (overage(unit_amount="0.015"), 300, 450),
        (overage("package", size=1_000, amount="0.50"), 1, 50),
        (overage("package", size=1_000, amount="0.50"), 1_000, 50),
        (overage("package", size=1_000, amount="0.50"), 1_001, 100),
        (GRADUATED, 1_000, 10_000),
        (GRADUATED, 1_001, 10_000 + 8 + 500),
        (GRADUATED, 5_000, 10_000 + 32_000 + 500),
        (GRADUATED, 5_001, 10_000 + 32_000 + 500 + 5),
        (VOLUME, 1_000, 10_000),
        (VOLUME, 1_001, 8_008 + 500),
        (VOLUME, 5_000, 40_500),
        (VOLUME, 5_001, 25_005),
        (overage(unit_amount="0.01", minimum="2.00"), 0, 0),
        (overage(unit_amount="0.01", minimum="2.00"), 1, 200),
        (overage(unit_amount="0.01", minimum="2.00"), 250, 250),
    ],
)
def test_worked_examples(sold, units, cents):
    assert price(sold).cost(units) == cents


@given(selling.overages(), decimals, selling.currencies)
def test_nothing_used_costs_nothing(sold, decimals, currency):
    rated = price(sold, decimals=decimals, currency=currency)
    assert rated.parts(0) == ()
    assert rated.cost(0) == 0


@given(selling.tiers(), few, decimals, selling.currencies)
def test_graduated_is_the_sum_of_what_single_units_cost(tiers, units, decimals, currency):
    sold = overage("graduated", tiers=tiers)
    slow = selling.slow_graduated(sold, units, decimals=decimals, currency=currency)
    assert price(sold, decimals=decimals, currency=currency).cost(units) == slow


@given(selling.tiers(), st.lists(few, min_size=1, max_size=6), decimals)
def test_usage_in_parts_costs_what_it_costs_at_once(tiers, parts, decimals):
    """The parts are rated as growth of one period's total; unrounded, there is no difference at all."""
    rated, total, grown = price(overage("graduated", tiers=tiers), decimals=decimals), 0, Fraction(0)
    rounded = 0
    for part in parts:
        growth = rated.cost(total + part) - rated.cost(total)
        total, grown, rounded = total + part, grown + growth, rounded + money.rounded(growth)
    assert grown == rated.cost(total)
    assert abs(rounded - money.rounded(rated.cost(total))) <= Fraction(len(parts) + 1, 2)


@given(selling.overages(), any_units, any_units, decimals)
def test_more_never_costs_less_but_by_volume(sold, one, other, decimals):
    if sold.model == "volume":
        return
    rated, (less, more) = price(sold, decimals=decimals), sorted((one, other))
    assert rated.cost(less) <= rated.cost(more)


@given(selling.tiers(), any_units, any_units)
def test_volume_never_costs_less_for_more_where_its_tiers_do_not_fall(tiers, one, other):
    rising, floor = [], (Fraction(0), Fraction(0))
    for tier in tiers:
        floor = (max(floor[0], Fraction(tier.unit_amount)), max(floor[1], Fraction(tier.flat_amount)))
        rising.append(Tier(up_to=tier.up_to, unit_amount=_text(floor[0]), flat_amount=_text(floor[1])))
    rated, (less, more) = price(overage("volume", tiers=tuple(rising))), sorted((one, other))
    assert rated.cost(less) <= rated.cost(more)


def _text(amount: Fraction) -> str:
    scaled = amount * 10**6
    assert scaled.denominator == 1
    return f"{scaled.numerator // 10**6}.{scaled.numerator % 10**6:06}"


def test_volume_may_fall_at_the_edge_of_a_tier_and_is_monotone_inside():
    assert price(VOLUME).cost(5_001) < price(VOLUME).cost(5_000)
    costs = [price(VOLUME).cost(units) for units in range(1_001, 1_500)]
    assert costs == sorted(costs)


@given(selling.overages(), any_units, decimals, selling.currencies)
def test_the_parts_have_all_units_and_add_up(sold, units, decimals, currency):
    rated = price(sold, decimals=decimals, currency=currency)
    parts = rated.parts(units)
    assert sum(part.units for part in parts) == units
    assert sum(part.exact for part in parts) + rated.shortfall(parts) == rated.cost(units)
    for part in parts:
        times = Fraction(part.units, 10**decimals) if part.packages is None else part.packages
        again = money.exact(part.unit_amount, currency) * times + money.exact(part.flat_amount, currency)
        assert part.exact == again


@given(selling.overages(), st.integers(1, 60))
def test_a_minimum_is_charged_once_there_is_overage(sold, units):
    if sold.minimum is not None:
        assert price(sold).cost(units) >= money.exact(sold.minimum, "usd")


@given(selling.tiers(bounded=True), st.integers(0, 80))
def test_past_its_end_the_last_tier_goes_on(tiers, units):
    """An override may sell more than the plan's tiers reach."""
    unbounded = (*tiers[:-1], Tier(unit_amount=tiers[-1].unit_amount, flat_amount=tiers[-1].flat_amount))
    for model in ("graduated", "volume"):
        bounded, endless = overage(model, tiers=tiers), overage(model, tiers=unbounded)
        assert price(bounded).cost(units) == price(endless).cost(units)


@pytest.mark.parametrize("currency", ["usd", "jpy", "kwd"])
def test_the_largest_counter_at_the_dearest_price_is_exact(currency):
    dearest = "999999999.999999999999"
    exact = Fraction(limits.COUNTER_MAX) * Fraction(dearest) * 10 ** money.DIGITS[currency]
    assert price(overage(unit_amount=dearest), currency=currency).cost(limits.COUNTER_MAX) == exact


@given(selling.overages(), st.integers(0, 60), st.integers(0, 3))
def test_a_unit_costs_the_same_however_finely_it_is_counted(sold, units, decimals):
    """A tier of ten tokens is one of 10,000 thousandths."""
    scale = 10**decimals
    tiers = tuple(
        Tier(
            up_to=None if tier.up_to is None else tier.up_to * scale,
            unit_amount=tier.unit_amount,
            flat_amount=tier.flat_amount,
        )
        for tier in sold.tiers
    )
    fine = overage(
        sold.model, tiers=tiers, unit_amount=sold.unit_amount, amount=sold.amount, minimum=sold.minimum,
        size=None if sold.size is None else sold.size * scale,
    )  # fmt: skip
    assert price(fine, decimals=decimals).cost(units * scale) == price(sold).cost(units)
