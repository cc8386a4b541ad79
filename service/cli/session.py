"""How a command does its work on an open instance, and as whom."""

import asyncio
import logging
import os
import pwd
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import psycopg

from service import wiring
from service.cli import settings
from service.cli.group import CannotRunError
from service.context import Caller, Context
from service.usecases import keys
from service.usecases.changes import Order
from store.link import RedisAwayError

T = TypeVar("T")


def use(data: Path | None, act: Callable[[Context], Awaitable[T]]) -> T:
    """What the act gives, done on the instance that the command speaks to.

    Errors: ConfigError, CannotRunError, and what the act raises.
    """
    config = settings.read(data)

    async def opened() -> T:
        async with wiring.open_context(config) as context:
            await context.catalogs.refresh()  # fails where Postgres is away, instead of knowing no catalog
            return await act(context)

    return run(opened)


def run(work: Callable[[], Awaitable[T]]) -> T:
    """What the work gives, with the drivers' errors as sentences and without their log.

    Errors: CannotRunError, and what the work raises.
    """
    logging.basicConfig(handlers=[logging.NullHandler()])

    async def awaited() -> T:
        return await work()

    try:
        return asyncio.run(awaited())
    except psycopg.errors.UndefinedTable as error:
        raise CannotRunError("The database is not set up yet; run `metergate migrate`.") from error
    except psycopg.Error as error:
        raise CannotRunError(f"The database refused: {' '.join(str(error).split())}") from error
    except RedisAwayError as error:
        raise CannotRunError(
            f"Redis does not answer, or cannot be relied on: {str(error).rstrip('.')}."
        ) from error


def order() -> Order:
    """A change wanted by whoever is logged in; audit lines name them."""
    return Order(caller=caller())


def caller() -> Caller:
    """Whoever is logged in, who may do everything: they have the servers' addresses."""
    return Caller(
        actor=f"cli:{_user()}",
        key_id="",
        scopes=frozenset(keys.SCOPES),
        tenant_id=None,
        request_id=f"cli_{secrets.token_hex(12)}",
    )


def _user() -> str:
    """By the kernel's word; the environment says what anybody likes."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
