"""`metergate doctor`: what is wrong with a configuration and with the servers it names, and what to do."""

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import click
import msgspec

from service.cli import diagnose_cluster, diagnose_payments, diagnose_postgres, diagnose_redis, settings, show
from service.cli.diagnosis import Diagnosis, ok, warning, wrong
from service.clock import Clock, SystemClock
from service.config import Config, ConfigError

_FOUND: Final = 1
_PREFIX: Final = "METERGATE_"
_VARIABLES: Final = "variables"
_CLOSE: Final = 0.8
"""How alike two names are, of 1, when one may be the other misspelt."""
OTHERS: Final = ("METERGATE_KEY", "METERGATE_SERVER_USER")
"""Variables that mean something beside those of `service.config`."""
_COLOURS: Final = {"ok": "green", "warning": "yellow", "wrong": "red"}


@click.command()
@settings.data_option
@show.json_option
@click.pass_context
def doctor(command: click.Context, *, data: Path | None, as_json: bool) -> None:
    """Say what is wrong with the configuration and the servers it names.

    Each line says what to do, and nothing is changed. Ends with 0 if all is well or only worth knowing, with
    1 if something is wrong.
    """
    told: list[Diagnosis] = []
    for each in examine(data, SystemClock()):
        told.append(each)
        if not as_json:
            status = click.style(each.status.ljust(len("warning")), fg=_COLOURS[each.status])
            click.echo(f"{status}  {each.part.ljust(len(_VARIABLES))}  {each.detail}")
    if as_json:
        show.json({"checks": told})
    command.exit(_FOUND if any(each.status == "wrong" for each in told) else 0)


def examine(data: Path | None, clock: Clock) -> Iterator[Diagnosis]:
    """Everything, in the order in which it should be mended.

    Errors: CannotRunError where no servers are named.
    """
    yield from _misspelt(os.environ)
    try:
        config = settings.read(data)
    except ConfigError as error:
        yield from (wrong(_VARIABLES, f"{finding}.") for finding in error.findings)
        yield warning(_VARIABLES, "The servers were not asked; mend the variables first.")
        return
    yield ok(_VARIABLES, f"{_source(data)} Durability: {config.durability}.")
    if config.test_clock:
        yield warning(_VARIABLES, "METERGATE_TEST_CLOCK is on: who may operate may move the time.")
    yield from diagnose_postgres.examine(config, clock)
    redis = diagnose_cluster if config.redis_cluster else diagnose_redis
    yield from redis.examine(config, clock)
    yield from diagnose_payments.examine(config)


def _source(data: Path | None) -> str:
    if data is None and settings.named(os.environ):
        return "The servers are named by the environment."
    return "The servers are those of the instance that runs on this machine."


def _misspelt(environment: Mapping[str, str]) -> Iterator[Diagnosis]:
    """A variable of ours that nobody reads, or that a file overrules, was meant to do something."""
    names = [f"{_PREFIX}{field.name.upper()}" for field in msgspec.structs.fields(Config)]
    known = [*names, *(f"{name}_FILE" for name in names), *OTHERS]
    for name in sorted(environment):
        if name.startswith(_PREFIX) and name not in known:
            yield warning(_VARIABLES, f"{name} means nothing to this version.{_meant(name, known)}")
    for name in names:
        if environment.get(name) and environment.get(f"{name}_FILE"):
            yield warning(_VARIABLES, f"{name} and {name}_FILE are both set; the file wins.")


def _meant(name: str, known: Iterable[str]) -> str:
    """Compared without what all of them begin with, which would make any two of them alike."""
    tails = [each.removeprefix(_PREFIX) for each in known]
    near = difflib.get_close_matches(name.removeprefix(_PREFIX), tails, n=1, cutoff=_CLOSE)
    return f" Did you mean {_PREFIX}{near[0]}?" if near else ""
