"""The way to one Stripe account: how a request is made, and how a list is read to its end."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import stripe

from integrations.payments import Done, Limiter, Outcome
from integrations.stripe_billing import keys
from integrations.stripe_billing.outcomes import ask
from policies import limits

VERSION: Final = "2026-10-28.endive"
"""Of the API: what this package was written against. Another is a decision, with a look at its changes."""
MISSING: Final = "resource_missing"
_PAGE: Final = 100

T = TypeVar("T")
U = TypeVar("U")


class Http(stripe.HTTPXClient):
    """The library's, but for a form, which it hands to httpx in a way that httpx is about to forget."""

    def _get_request_args_kwargs(self, method: str, url: str, headers: Any, post_data: Any) -> list[Any]:
        args, kwargs = super()._get_request_args_kwargs(method, url, headers, post_data)
        data = kwargs.pop("data")
        return [args, kwargs | {"content": data} if data else kwargs]


class Account:
    """One account, by its key. The library's retries are off: it would send what we want to look at first."""

    def __init__(
        self, key: str, limiter: Limiter, *, address: str = keys.ADDRESS, secrets: tuple[str, ...] = ()
    ) -> None:
        assert not keys.wrong(key, address, secrets), "the configuration was checked"
        self.live = keys.is_live(key)
        self.account = f"stripe:{'live' if self.live else 'test'}"
        self._secrets = tuple(secret for secret in secrets if secret)
        self.hears = bool(self._secrets)
        self._limiter = limiter
        self._http = Http(timeout=float(limits.PAYMENT_TIMEOUT_S))
        client = stripe.StripeClient(
            key,
            stripe_version=VERSION,
            base_addresses={"api": address.rstrip("/")},
            http_client=self._http,
            max_network_retries=0,
        )
        self._api = client.v1

    async def close(self) -> None:
        """Ends the connections."""
        await self._http.close_async()  # type: ignore[no-untyped-call]  # the library leaves it unannotated

    async def _ask(self, lane: str, request: Callable[[], Awaitable[T]]) -> Outcome[T]:
        return await ask(self._limiter, lane, request)

    async def _order(
        self,
        lane: str,
        key: str,
        create: Callable[[Any, Any], Awaitable[Any]],
        params: Any,
        shape: Callable[[Any], T],
    ) -> Outcome[T]:
        """A request that changes something: once for each key."""
        return shaped(await self._ask(lane, lambda: create(params, {"idempotency_key": key})), shape)

    async def _list(
        self, lane: str, ask_for: Callable[[Any], Awaitable[Any]], params: Any, shape: Callable[[Any], T]
    ) -> Outcome[Sequence[T]]:
        """All of a list; each page is a request of its own."""
        found: list[T] = []
        page: dict[str, Any] = {"limit": _PAGE} | params
        while True:
            done = await self._ask(lane, lambda page=page: ask_for(page))  # type: ignore[misc]  # a default binds the page
            if not isinstance(done, Done):
                return done
            data = done.value.data
            found += [shape(one) for one in data]
            if not done.value.has_more or not data:
                return Done(tuple(found))
            page = page | {"starting_after": data[-1].id}


def shaped(done: Outcome[U], shape: Callable[[U], T]) -> Outcome[T]:
    """An outcome with what we see of the object in place of the object."""
    if not isinstance(done, Done):
        return done
    response = getattr(done.value, "last_response", None)
    headers = {} if response is None else {name.lower(): value for name, value in response.headers.items()}
    return Done(shape(done.value), repeated=headers.get("idempotent-replayed") == "true")
