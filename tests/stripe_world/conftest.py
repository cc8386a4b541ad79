"""The simulator, once for a run; an account for each test; our provider in front of it."""

import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from integrations.stripe_billing.gateway import StripePayments
from service.context import Context
from tests.conftest import NOW
from tests.stripe_world import environment
from tests.stripe_world.account import KEY, PREVIOUS, SECRET, Account, World
from tests.stripe_world.charging import issue, pushed, subscribed

SERVE = environment.HERE / "server" / "serve.py"


class Unhurried:
    """A simulator needs no limiter; ours is tested by itself."""

    def __init__(self) -> None:
        self.refusals: list[tuple[str, float | None]] = []

    @asynccontextmanager
    async def turn(self, lane: str) -> AsyncIterator[None]:  # noqa: ARG002 - as the protocol has it
        yield

    async def refused(self, lane: str, after_s: float | None) -> None:
        self.refusals.append((lane, after_s))


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """Stripe World as a server on loopback."""
    python = environment.interpreter()
    server = subprocess.Popen(
        [python, SERVE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=SERVE.parent,
        start_new_session=True,
    )
    try:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        assert port.isdigit(), "Stripe World did not start"
        yield World(f"http://127.0.0.1:{port}")
    finally:
        server.kill()
        server.communicate()


@pytest.fixture
async def account(world: World) -> AsyncIterator[Account]:
    """A private account; at its end every request that was made to it has kept Stripe's contract."""
    opened = await world.open(NOW)
    yield opened
    assert await opened.end() == []


@pytest.fixture
def limiter() -> Unhurried:
    return Unhurried()


@pytest.fixture
async def payments(account: Account, limiter: Unhurried) -> AsyncIterator[StripePayments]:
    """Our side of it."""
    provider = StripePayments(KEY, limiter, address=account.address, secrets=(SECRET, PREVIOUS))
    yield provider
    await provider.close()


@pytest.fixture
async def billing(context: Context, catalog, payments: StripePayments) -> Context:
    """An instance that charges in the account."""
    del catalog
    return replace(context, payments=payments)


@pytest.fixture
async def acme(billing):
    await subscribed(billing, "acme")
    return billing


@pytest.fixture
async def customer(acme, account):
    """A customer that is there before its first invoice, with a card; its id."""
    await issue(acme, "acme", [100])
    await pushed(acme)
    ((customer,),) = [(await account.stripe.customers.list_async({})).data]
    await account.card(customer.id)
    return customer.id
