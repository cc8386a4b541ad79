"""Which settings of the payment provider start, and how amounts are written for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.stripe_billing import amounts
from policies import money
from service import config

SERVERS = {"METERGATE_DATABASE_URL": "postgresql://h", "METERGATE_REDIS_URL": "redis://h"}
LIVE, TEST = "sk_live_abc", "rk_test_abc"
LOCAL = "http://127.0.0.1:12111/worlds/x"


def findings(**stripe: str) -> str:
    with pytest.raises(config.ConfigError) as raised:
        config.read(SERVERS | {f"METERGATE_{name}": value for name, value in stripe.items()})
    return str(raised.value)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"STRIPE_KEY": "pk_live_abc"}, "is no secret or restricted key"),
        ({"STRIPE_KEY": LIVE, "STRIPE_ADDRESS": LOCAL}, "with a live key: it is sent nowhere else"),
        ({"STRIPE_KEY": LIVE, "STRIPE_ADDRESS": "https://stripe.example"}, "it is sent nowhere else"),
        ({"STRIPE_KEY": TEST, "STRIPE_ADDRESS": "https://stripe.example"}, "a simulator on this machine"),
        ({"STRIPE_KEY": TEST, "STRIPE_ADDRESS": "http://api.stripe.com"}, "a simulator on this machine"),
        ({"STRIPE_KEY": TEST, "STRIPE_WEBHOOK_SECRET": "x"}, "are to begin with whsec_"),
        ({"STRIPE_KEY": LIVE, "TEST_CLOCK": "1"}, "METERGATE_TEST_CLOCK is refused with a live key"),
        ({"STRIPE_WEBHOOK_SECRET": "whsec_x"}, "without METERGATE_STRIPE_KEY means nothing"),
    ],
)
def test_settings_that_do_not_start(settings, sentence):
    said = findings(**settings)
    assert sentence in said
    assert "abc" not in said, "a key is shown to nobody"


@pytest.mark.parametrize(
    "settings",
    [
        {"STRIPE_KEY": LIVE},
        {"STRIPE_KEY": LIVE, "STRIPE_ADDRESS": "https://api.stripe.com/"},
        {"STRIPE_KEY": TEST, "STRIPE_ADDRESS": LOCAL, "TEST_CLOCK": "1"},
        {"STRIPE_KEY": TEST, "STRIPE_WEBHOOK_SECRET": "whsec_a", "STRIPE_WEBHOOK_SECRET_PREVIOUS": "whsec_b"},
        {"TEST_CLOCK": "1"},
        {},
    ],
)
def test_settings_that_start(settings):
    config.read(SERVERS | {f"METERGATE_{name}": value for name, value in settings.items()})


@given(st.integers(-(10**12), 10**12), st.sampled_from(sorted(money.DIGITS)))
def test_an_amount_comes_back_as_it_went(minor, currency):
    try:
        assert amounts.inward(amounts.outward(minor, currency), currency) == minor
    except amounts.AmountError:
        assert currency in ("mga", "bhd", "iqd", "jod", "kwd", "lyd", "omr", "tnd")


def test_amounts_in_currencies_that_are_written_in_their_own_way():
    assert [amounts.outward(500, code) for code in ("usd", "jpy", "isk", "ugx", "mga", "kwd")] == [
        500, 500, 50_000, 50_000, 5, 500,
    ]  # fmt: skip
    found = [amounts.payable(code) for code in ("usd", "gbp", "jpy", "kwd", "krw", "mga", "bob")]
    assert [(one.least, one.step) for one in found] == [
        (50, 1), (30, 1), (50, 1), (500, 10), (1_500, 1), (470_000, 100), (50, 1),
    ]  # fmt: skip


@given(st.integers(-(10**12), 10**12), st.sampled_from(sorted(money.DIGITS)))
def test_whatever_is_owed_what_is_collected_of_it_can_be_written(owed, currency):
    payable = amounts.payable(currency)
    collected = payable.of(owed)
    assert amounts.inward(amounts.outward(collected, currency), currency) == collected
    assert collected == 0 or collected >= payable.least
    assert owed - collected < payable.least + payable.step
