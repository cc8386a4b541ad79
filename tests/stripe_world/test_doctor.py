"""What the doctor says of a provider that answers, and of one that does not."""

import pytest

from service.cli import diagnose_payments
from service.config import Config
from tests.stripe_world.account import KEY, SECRET


def said(address: str, secret: str = "") -> list[tuple[str, str]]:
    config = Config(
        database_url="postgresql://h", redis_url="redis://h", stripe_key=KEY, stripe_address=address,
        stripe_webhook_secret=secret,
    )  # fmt: skip
    return [(each.status, each.detail) for each in diagnose_payments.examine(config)]


def test_it_asks_and_says_whether_money_moves(world):
    ((status, detail),) = said(f"{world.address}/worlds/doctor", SECRET)
    assert status == "ok"
    assert detail.endswith("It is a test key: no money moves.")


def test_who_is_told_of_nothing_is_warned(world):
    _, (status, detail) = said(f"{world.address}/worlds/doctor")
    assert (status, "is learnt by asking" in detail) == ("warning", True)


@pytest.mark.parametrize("address", ["http://127.0.0.1:1"])
def test_a_provider_that_is_away(address):
    (status, detail), *_ = said(address, SECRET)
    assert (status, detail.startswith(f"Stripe does not answer at {address}")) == ("wrong", True)
