"""The command line of the replay: `scripts/replay_trace FILE`."""

import asyncio
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Final

import click
import httpx
from click.core import ParameterSource

from policies import limits
from scripts.replay import calls as trace
from scripts.replay import replay, spread
from scripts.replay.calls import TraceError
from scripts.replay.client import TIMEOUT_S
from scripts.replay.replay import CannotStartError, NobodyThereError, Plan, TimesError
from scripts.replay.sending import CONCURRENCY, GROUP, OtherTimesError
from scripts.replay.show import Screen, instant
from service import clock
from service.cli import settings
from service.cli.group import CannotRunError
from service.embedded import instance
from service.embedded.folder import Layout

INTERRUPTED: Final = 130
URL: Final = "http://127.0.0.1:8080"


class Instant(click.ParamType[datetime]):
    """RFC 3339, with its zone."""

    name = "instant"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """As click has it."""
        try:
            at = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f'"{value}" is not an instant like 2026-11-22T10:00:00Z.', param, ctx)
        if at.tzinfo is None:
            self.fail(f'"{value}" has no zone; with a Z after it, it is UTC.', param, ctx)
        return at


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--url", default=URL, show_default=True, help="The running API.")
@click.option("--key", help="A key with the scopes manage, check, report and read.  [default: METERGATE_KEY]")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="The data folder of a `scripts/run`: its key is used, and its Postgres is asked.  "
    f"[default: {instance.DATA}, where nothing else is given]",
)
@click.option("--end", type=Instant(), help="When the last call is to be.  [default: now]")
@click.option(
    "--tenants",
    type=click.IntRange(1, spread.TENANTS_MAX),
    default=spread.TENANTS,
    show_default=True,
    help="Over how many tenants the calls are spread.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 64),
    default=CONCURRENCY,
    show_default=True,
    help="How many tenants are served at a time.",
)
@click.option(
    "--group",
    type=click.IntRange(1, limits.SCRIPT_BATCH),
    default=GROUP,
    show_default=True,
    help="Calls of one request; with 1 every call is checked and reported by itself.",
)
def main(
    *, file: Path, url: str, key: str | None, data: Path | None, end: datetime | None, **sizes: int
) -> None:
    """Report a trace of language-model calls as usage of ai-tokens, and prove that each counted once.

    The calls of FILE (TIMESTAMP,ContextTokens,GeneratedTokens) are spread over tenants on the example plans,
    which are made if they are missing. Times are shifted so that the last call is at --end, to the
    microsecond; those without a zone are UTC. Ids are made of the file's name and the row, so sending the
    file again with the same --end changes nothing.

    Exit codes: 0 every call counted exactly once; 1 something differs, or the end was not reached; 2 could
    not run, and nothing was sent.
    """
    now = clock.SystemClock().now()
    screen = Screen()
    try:
        planned = replay.plan(file.name, trace.read(file), end=end or now, now=now, **sizes)
        kept = _kept_key(data)
        key = key or (data is None and os.environ.get("METERGATE_KEY")) or kept
        http = _http(url, key)
        database = _database(data, ours=key == kept)
        status = asyncio.run(_run(planned, http, screen=screen, database=database))
    except NobodyThereError as error:
        given = click.get_current_context().get_parameter_source("url") is not ParameterSource.DEFAULT
        hint = "" if given else " If the API listens elsewhere, say where with --url."
        raise CannotRunError(f"{error}{hint}") from error
    except (TraceError, TimesError, CannotStartError) as error:
        raise CannotRunError(str(error)) from error
    except OtherTimesError as error:
        told = "This file was sent before, with other times: give the --end that was printed then."
        raise click.ClickException(told) from error
    except KeyboardInterrupt:
        screen.line("Stopped. What was sent until now is counted.")
        status = INTERRUPTED
    over = "" if sizes["tenants"] == spread.TENANTS else f" --tenants {sizes['tenants']}"
    screen.line(f"To send the same again, give --end {instant(planned.end)}{over}")
    sys.exit(status)


async def _run(planned: Plan, http: httpx.AsyncClient, *, screen: Screen, database: str | None) -> int:
    async with http:
        return await replay.run(planned, http, screen=screen, database=database)


def _kept_key(data: Path | None) -> str | None:
    """The key that an instance keeps in its data folder."""
    path = Layout(root=data or instance.DATA).key
    try:
        return path.read_text().strip()
    except OSError as error:
        if data is None:
            return None
        raise CannotRunError(f"{path} cannot be read: {error.strerror}.") from error


def _database(data: Path | None, *, ours: bool) -> str | None:
    """Where Postgres can be asked: as the environment says, or beside the key that is used."""
    if data is None and (url := os.environ.get("METERGATE_DATABASE_URL")):
        return url
    found = settings.embedded(data) if ours else None
    return found["METERGATE_DATABASE_URL"] if found else None


def _http(url: str, key: str | None) -> httpx.AsyncClient:
    if not key:
        raise CannotRunError(
            "There is no key: give --key, METERGATE_KEY, or --data with the folder of an instance."
        )
    if not (key.isascii() and key.isprintable()):
        raise CannotRunError("The key has characters that no key has.")
    try:
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.AsyncClient(base_url=url, headers=headers, timeout=TIMEOUT_S, trust_env=False)
    except httpx.InvalidURL as error:
        raise CannotRunError(f"--url {url} is not an address: {error}.") from error


if __name__ == "__main__":
    main(prog_name="scripts/replay_trace")
