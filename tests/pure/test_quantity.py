"""Quantities are read strictly, kept exactly, and written so that reading gives them back."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import limits, quantity

decimals = st.integers(0, limits.DECIMALS_MAX)
scaled = st.integers(0, limits.QUANTITY_MAX)


@given(scaled, decimals)
def test_reading_what_was_written_gives_the_same_quantity(number, digits):
    assert quantity.parse(quantity.render(number, digits), digits) == number


@given(scaled, decimals)
def test_the_text_written_is_the_exact_value_and_canonical(number, digits):
    written = quantity.render(number, digits)
    assert Decimal(written) == Decimal(number).scaleb(-digits)
    if digits == 0:
        assert type(written) is int
    else:
        assert "." not in written or written[-1] not in ".0"


@given(st.integers(0, limits.REQUESTED_MAX), decimals)
def test_an_integer_is_whole_units(units, digits):
    if units * 10**digits <= limits.QUANTITY_MAX:
        assert quantity.parse(units, digits) == units * 10**digits
    else:
        with pytest.raises(ValueError, match="at most"):
            quantity.parse(units, digits)


@given(st.text(max_size=40), decimals)
def test_any_text_is_a_quantity_or_a_clear_error(text, digits):
    """Nothing is guessed: what is accepted has the value that Decimal gives to the same text."""
    try:
        number = quantity.parse(text, digits)
    except ValueError:
        return
    assert Decimal(number).scaleb(-digits) == Decimal(text)
    assert text.isascii()


@pytest.mark.parametrize(
    "bad",
    [
        "", " ", " 1", "1 ", "1\n", "+1", "-1", "-0", "1e3", "1E3", "1_000", "1,000", "0x10", ".5", "5.",
        "1.2.3", "٣", "1٣", "²", "Infinity", "NaN", "01", "00", "1" * 5_000, "0." + "0" * 100,
    ],
)  # fmt: skip
def test_text_that_is_not_plain_is_refused(bad):
    with pytest.raises(ValueError, match="plain digits"):
        quantity.parse(bad, 2)


@pytest.mark.parametrize("bad", [True, False, 1.0, 1.5, None, [], {}, Decimal(1), b"1"])
def test_only_integers_and_text_are_quantities(bad):
    with pytest.raises(ValueError, match="JSON integer or a decimal string"):
        quantity.parse(bad, 0)


@pytest.mark.parametrize("bad", [-1, -(2**70)])
def test_negative_quantities_are_refused(bad):
    with pytest.raises(ValueError, match="not negative"):
        quantity.parse(bad, 0)


def test_digits_beyond_the_features_own_are_refused_even_as_zeros():
    assert quantity.parse("1.25", 2) == 125
    assert quantity.parse("1.2", 2) == 120
    for text, digits in (("1.250", 2), ("1.0", 0)):
        with pytest.raises(ValueError, match=f"at most {digits} digits"):
            quantity.parse(text, digits)


def test_the_bound_is_on_the_scaled_quantity_and_is_said_in_units():
    assert quantity.parse(10**15, 0) == limits.QUANTITY_MAX
    assert quantity.parse("1000000.000000000", 9) == limits.QUANTITY_MAX
    with pytest.raises(ValueError, match=r"at most 1,000,000,000,000,000\."):
        quantity.parse(10**15 + 1, 0)
    with pytest.raises(ValueError, match=r"at most 1,000,000\."):
        quantity.parse("1000000.000000001", 9)
    with pytest.raises(ValueError, match="at most"):
        quantity.parse(2**53 - 1, 0)


def test_the_written_form_by_example():
    assert quantity.render(150, 0) == 150
    assert quantity.render(150, 2) == "1.5"
    assert quantity.render(200, 2) == "2"
    assert quantity.render(5, 3) == "0.005"
    assert quantity.render(0, 3) == "0"
    assert quantity.render(-150, 2) == "-1.5"
    assert quantity.human(12_345, 1) == "1,234.5"
    assert quantity.human(1_000_000, 0) == "1,000,000"
    assert quantity.human(1_000_000_000, 3) == "1,000,000"
