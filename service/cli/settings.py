"""Which instance does a command speak to: the servers the environment names, or those of a data folder."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

import click
import psycopg
from psycopg import conninfo
from redis.connection import parse_url

from service import config
from service.cli.group import CannotRunError
from service.config import Config, ConfigError
from service.embedded import folder, instance, postgres_server, servers, valkey_server
from service.embedded.errors import EmbeddedError
from service.embedded.folder import Layout

_Command = TypeVar("_Command", bound=Callable[..., Any])

VARIABLES: Final = ("METERGATE_DATABASE_URL", "METERGATE_REDIS_URL")


def data_option(command: _Command) -> _Command:
    """Adds `--data`, as every command has it that needs servers."""
    option = click.option(
        "--data",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="Use the `metergate run` that is running on this data folder. Without it: the servers that "
        "METERGATE_DATABASE_URL and METERGATE_REDIS_URL name, or else the one on the usual folder.",
    )
    return option(command)


def read(data: Path | None) -> Config:
    """The configuration that a command works with.

    Errors: ConfigError for an environment that is wrong, CannotRunError where there is nothing to speak to.
    """
    if data is None and named(os.environ):
        return from_environment()
    urls = embedded(data)
    if urls is None:
        raise CannotRunError(_nothing(data))
    return from_environment(urls)


def from_environment(instead: Mapping[str, str] | None = None) -> Config:
    """The configuration as the variables give it; one that is empty is not set.

    Errors: ConfigError with all findings.
    """
    # A file wins over the variable itself, so one that names other servers must not be read here.
    files = {f"{name}_FILE" for name in instead or {}}
    given = {name: value for name, value in os.environ.items() if value and name not in files}
    variables = given | dict(instead or {})
    found = config.read(variables)
    if unreadable := [*_unreadable(found)]:
        raise ConfigError(unreadable)
    return found


def reachable(data: Path | None) -> bool:
    """Is there anything that `read` would give?"""
    return data is not None or named(os.environ) or embedded(None) is not None


def named(environment: Mapping[str, str]) -> bool:
    """Does the environment name servers, be it only one of the two?"""
    return any(environment.get(name) or environment.get(f"{name}_FILE") for name in VARIABLES)


def embedded(data: Path | None) -> dict[str, str] | None:
    """The variables for the instance that runs on a data folder; None when none does.

    Errors: CannotRunError for an instance that belongs to somebody else.
    """
    root = (data or instance.DATA).resolve()
    try:
        Layout(root=root).lock.stat()
        valkey = folder.sockets(root) / folder.VALKEY_SOCKET
        valkey.stat()
    except PermissionError as error:
        raise CannotRunError(
            f"The data folder {root} belongs to another user: run this as that user, or as root."
        ) from error
    except (OSError, EmbeddedError):
        return None
    if not valkey_server.ready(valkey):
        return None
    host = quote(str(valkey.parent), safe="")
    return {
        "METERGATE_DATABASE_URL": f"postgresql://{postgres_server.USER}@/{servers.DATABASE}?host={host}",
        "METERGATE_REDIS_URL": f"unix://{quote(str(valkey))}",
        "METERGATE_EMBEDDED": "1",
    }


def _unreadable(found: Config) -> Iterator[str]:
    """Addresses that no driver can take apart; in our words, since theirs may hold the password."""
    try:
        conninfo.conninfo_to_dict(found.database_url)
    except psycopg.Error:
        yield f"{VARIABLES[0]} cannot be read; it is to be like postgresql://USER:PASSWORD@HOST:5432/DATABASE"
    try:
        parse_url(found.redis_url)
    except ValueError:
        yield f"{VARIABLES[1]} cannot be read; it is to be like redis://:PASSWORD@HOST:6379/0"


def _nothing(data: Path | None) -> str:
    if data is not None:
        return f"No instance runs on {data}. Start one with `metergate run --data {data}`."
    return (
        f"There are no servers to speak to: {' and '.join(VARIABLES)} are not set, and no instance runs on "
        f"{instance.DATA}. Start one with `metergate run`, or set both variables."
    )
