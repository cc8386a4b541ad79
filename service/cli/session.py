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
from service.cli import diagnose_postgres, settings
from service.cli.diagnosis import PATIENCE_S
from service.cli.group import CannotRunError
from service.config import Config
from service.context import Caller, Context
from service.usecases import keys
from service.usecases.changes import Order
from store import migrate
from store.link import RedisAwayError

T = TypeVar("T")


def use(data: Path | None, act: Callable[[Context], Awaitable[T]]) -> T:
    """What the act gives, done on the instance that the command speaks to.

    Errors: ConfigError, CannotRunError, and what the act raises.
    """
    config = settings.read(data)
    need_database(config)

    async def opened() -> T:
        # Nobody else waits for it, and a person would rather wait than ask again.
        async with wiring.open_context(config, patience=wiring.Patience.of(PATIENCE_S)) as context:
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
    except psycopg.Error as error:
        raise CannotRunError(f"The database refused: {' '.join(str(error).split())}") from error
    except RedisAwayError as error:
        raise CannotRunError(
            f"Redis does not answer, or cannot be relied on: {str(error).rstrip('.')}."
        ) from error


def need_database(config: Config) -> None:
    """Makes sure that the database answers and has the form that this version needs.

    The connections of the service wait for it instead, and do not say why.
    Errors: CannotRunError.
    """
    url = config.database_url
    try:
        with psycopg.connect(url, connect_timeout=PATIENCE_S) as connection:
            pending = migrate.pending(connection)
    except psycopg.Error as error:
        where, refusal = diagnose_postgres.place(url), diagnose_postgres.refused(error)
        told = (
            f"PostgreSQL answers at {where}, and refuses: {refusal}."
            if refusal
            else f"PostgreSQL does not answer at {where}: {diagnose_postgres.reason(error)}."
        )
        raise CannotRunError(f"{told} `metergate doctor` looks closer.") from error
    except migrate.MigrationError as error:
        raise CannotRunError(str(error)) from error
    if pending:
        raise CannotRunError(f"The database lacks migration {pending[0].version}; run `metergate migrate`.")


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
