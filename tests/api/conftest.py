"""The application in this process: on real servers with keys to call it, or the HTTP face alone with none."""

from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import msgspec
import pytest
from litestar.testing import AsyncTestClient

from service.api.app import Metergate, make_app
from service.context import Caller, Context
from service.usecases import keys
from service.usecases.changes import Order
from tests.api import echo

MakeKey = Callable[..., Awaitable[str]]

ROOT = Caller(
    actor="cli:tests", key_id="", scopes=frozenset(keys.SCOPES), tenant_id=None, request_id="req_tests"
)
"""Who may everything."""


@pytest.fixture
def make_key(context: Context) -> MakeKey:
    """Makes a key with these scopes (all without any), bound to a tenant if one is named; its secret."""

    async def make(*scopes: keys.Scope, tenant_id: str | None = None) -> str:
        wish = keys.Wish(name="of a test", scopes=scopes or keys.SCOPES, tenant_id=tenant_id)
        reply = await keys.create(context, Order(caller=ROOT), wish)
        return msgspec.json.decode(reply.body)["secret"]

    return make


@pytest.fixture
async def api(context: Context, make_key: MakeKey) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a key of every scope."""
    app = make_app(context=context)
    app.state.context = context  # as its lifespan does, which must end in the task that began it
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    headers = {"authorization": f"Bearer {await make_key()}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://metergate", headers=headers) as client:
        yield client


@pytest.fixture(scope="session")
async def face_client() -> AsyncIterator[AsyncTestClient[Metergate]]:
    """A client of the HTTP face alone: routes that echo, and no servers behind them."""
    async with AsyncTestClient(make_app(echo.NOWHERE, routes=echo.ROUTES)) as client:
        yield client
