"""The HTTP face alone: routes that echo, and no servers behind them."""

from collections.abc import AsyncIterator

import pytest
from litestar.testing import AsyncTestClient

from service.api.app import Metergate, make_app
from tests.api import echo


@pytest.fixture(scope="session")
async def face_client() -> AsyncIterator[AsyncTestClient[Metergate]]:
    """A client of the HTTP face alone: routes that echo, and no servers behind them."""
    async with AsyncTestClient(make_app(echo.NOWHERE, routes=echo.ROUTES)) as client:
        yield client
