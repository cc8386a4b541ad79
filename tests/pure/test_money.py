"""Money is exact until it is rounded once, and written with the digits of its currency."""

from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import money
from tests.pure import selling


@pytest.mark.parametrize(
    ("currency", "digits"),
    [("usd", 2), ("eur", 2), ("jpy", 0), ("kwd", 3), ("clf", 4), ("mga", 2), ("isk", 0)],
)
def test_a_currency_has_the_digits_of_iso_4217(currency, digits):
    assert money.DIGITS[currency] == digits


def test_the_table_is_that_of_its_source():
    """165 codes, the metals and units of account left out; one that is gone or new changes this count."""
    assert len(money.DIGITS) == 165
    assert not {"xau", "xts", "xxx", "hrk", "bgn"} & money.DIGITS.keys()
    assert set(money.DIGITS.values()) == {0, 2, 3, 4}


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("49.00", "usd", 4900),
        ("0.000010", "usd", Fraction(1, 1000)),
        ("500", "jpy", 500),
        ("1.5", "kwd", 1500),
    ],
)
def test_a_text_in_major_units_is_exact_in_minor_ones(amount, currency, minor):
    assert money.exact(amount, currency) == minor


@given(selling.amounts, selling.currencies)
def test_rounding_is_half_even_as_decimals_do_it(amount, currency):
    step = Decimal(1).scaleb(-money.DIGITS[currency])
    expected = Decimal(amount).quantize(step, rounding=ROUND_HALF_EVEN)
    rounded = money.rounded(money.exact(amount, currency))
    assert Decimal(rounded) * step == expected
    assert Decimal(money.written(rounded, currency)) == expected


@pytest.mark.parametrize(("half", "even"), [("0.005", 0), ("0.015", 2), ("0.025", 2), ("0.035", 4)])
def test_a_half_goes_to_the_even_one(half, even):
    assert money.rounded(money.exact(half, "usd")) == even


@pytest.mark.parametrize(
    ("minor", "currency", "written", "human"),
    [
        (4900, "usd", "49.00", "49.00 USD"),
        (5, "usd", "0.05", "0.05 USD"),
        (-5, "usd", "-0.05", "-0.05 USD"),
        (123_456_789, "usd", "1234567.89", "1,234,567.89 USD"),
        (1_500, "jpy", "1500", "1,500 JPY"),
        (1_500, "kwd", "1.500", "1.500 KWD"),
        (-150_000, "clf", "-15.0000", "-15.0000 CLF"),
    ],
)
def test_it_is_written_with_all_digits_of_its_currency(minor, currency, written, human):
    assert (money.written(minor, currency), money.human(minor, currency)) == (written, human)


@given(st.integers(-(10**20), 10**20), selling.currencies)
def test_what_is_written_is_read_back(minor, currency):
    assert money.exact(money.written(minor, currency), currency) == minor


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [("49", "usd", "49.00"), ("0.00001", "usd", "0.00001"), ("1500", "jpy", "1,500"), ("9", "kwd", "9.000")],
)
def test_a_price_is_shown_with_the_digits_of_its_currency_at_least(amount, currency, shown):
    assert money.priced(amount, currency) == shown
