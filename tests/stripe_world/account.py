"""A Stripe account of a test's own, in the simulator: what a bank, a customer and time do to it."""

import secrets
from datetime import datetime
from typing import Any

import httpx
import stripe

from integrations.stripe_billing.account import Http

KEY = "sk_test_ofTheSuite"
GOOD, DECLINED = "4242424242424242", "4000000000000341"
"""Cards: one that pays, and one that can be kept but is declined whenever it is to pay."""
SECRET, PREVIOUS = "whsec_current", "whsec_previous"


class World:
    """The server, by its address."""

    def __init__(self, address: str) -> None:
        self.address = address

    async def open(self, now: datetime) -> "Account":
        """A new account whose clock stands at an instant."""
        account = Account(self.address, secrets.token_hex(8))
        await account.begin(now)
        return account


class Account:
    """One account. `stripe` speaks to it as a customer or the dashboard would."""

    def __init__(self, address: str, name: str) -> None:
        self.name = name
        self.address = f"{address}/worlds/{name}"
        self._http = httpx.AsyncClient(base_url=address, timeout=30)
        self._library = Http(timeout=30.0)
        client = stripe.StripeClient(
            KEY, base_addresses={"api": self.address}, http_client=self._library, max_network_retries=0
        )
        self.stripe = client.v1

    async def begin(self, now: datetime) -> None:
        given = {"now": f"{now:%Y-%m-%dT%H:%M:%S.000Z}", "clock_mode": "fixed"}
        (await self._http.put(f"/worlds/{self.name}", json=given)).raise_for_status()

    async def end(self) -> list[str]:
        """Closes it; what of all requests was against Stripe's document."""
        found = await self.findings()
        await self._http.delete(f"/worlds/{self.name}")
        await self._http.aclose()
        await self._library.close_async()
        return found

    async def findings(self) -> list[str]:
        return (await self.order("look"))["findings"]

    async def requests(self) -> list[str]:
        return (await self.order("look"))["requests"]

    async def order(self, act: str, **given: Any) -> Any:
        answer = await self._http.post(f"/_ctl/{act}/{self.name}", json=given)
        answer.raise_for_status()
        return answer.json()

    async def fault(self, match: str, status: int, *, times: int = 1, **more: Any) -> None:
        """The next requests that match are answered so; with `after` they are carried out all the same."""
        await self.order("fault", match=match, status=status, times=times, **more)

    async def forget_keys(self) -> None:
        """A day passes for idempotency keys."""
        await self.order("forget_keys")

    async def clock(self, to: datetime) -> None:
        await self.order("clock", to=to.isoformat())

    async def card(self, customer: str, number: str = GOOD) -> None:
        """The customer pays with this card from now on."""
        card = {"number": number, "exp_month": 12, "exp_year": 2040, "cvc": "123"}
        params: Any = {"type": "card", "card": card}
        method = await self.stripe.payment_methods.create_async(params)
        await self.stripe.payment_methods.attach_async(method.id, {"customer": customer})
        settings: Any = {"invoice_settings": {"default_payment_method": method.id}}
        await self.stripe.customers.update_async(customer, settings)
