"""Is PostgreSQL there, does it keep what it commits, and has it what this version needs?"""

from collections.abc import Iterator
from typing import Any, Final

import psycopg
from psycopg import conninfo

from service.cli import diagnosis
from service.cli.diagnosis import PATIENCE_S, Diagnosis, ok, warning, wrong
from service.clock import Clock
from service.config import Config
from store import catalogs, migrate, moved_clock, probes

PART: Final = "postgres"
OLDEST: Final = 15
"""The oldest version that its makers still mend."""

_SETTINGS: Final = (
    "data_checksums",
    "fsync",
    "full_page_writes",
    "synchronous_commit",
    "transaction_read_only",
)
_KEEPS: Final = {
    "fsync": "a power cut can destroy the database",
    "full_page_writes": "a power cut can leave damaged pages",
    "synchronous_commit": "a crash loses changes that were acknowledged",
}


def examine(config: Config, clock: Clock) -> Iterator[Diagnosis]:
    """Line by line; the first one that is wrong may be the last."""
    url = config.database_url
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=PATIENCE_S) as connection:
            yield _version(connection.info)
            yield from _settings(connection)
            yield _clock(connection, clock)
            yield from _content(connection, config)
    except psycopg.Error as error:
        yield wrong(PART, _away(url, error))


def _version(info: psycopg.ConnectionInfo) -> Diagnosis:
    version = info.server_version // 10_000
    if version < OLDEST:
        return wrong(PART, f"PostgreSQL {version} is not maintained any more; use {OLDEST} or later.")
    full = info.parameter_status("server_version") or str(version)
    where = f"database {info.dbname} on {info.host}, as {info.user}"
    return ok(PART, f"PostgreSQL {full.split()[0]} answers: {where}.")


def _settings(connection: psycopg.Connection) -> Iterator[Diagnosis]:
    found: dict[str, str] = dict(
        connection.execute(probes.sql.settings, {"names": list(_SETTINGS)}).fetchall()
    )
    if found["transaction_read_only"] == "on":
        yield wrong(
            PART, "It only reads: a standby, or default_transaction_read_only is on. Name the primary."
        )
    off = [name for name in _KEEPS if found[name] == "off"]
    for name in off:
        yield wrong(PART, f"{name} is off: {_KEEPS[name]}. Switch it on.")
    if not off:
        yield ok(PART, f"{', '.join(_KEEPS)} are on: what is committed stays.")
    if found["data_checksums"] != "on":
        yield warning(PART, "It has no data checksums, so a damaged disk goes unnoticed; see pg_checksums.")


def _clock(connection: psycopg.Connection, clock: Clock) -> Diagnosis:
    connection.execute("set time zone 'UTC'")
    (theirs,) = _one(connection, probes.sql.clock)
    return diagnosis.clock(PART, theirs=theirs, ours=clock.now())


def _content(connection: psycopg.Connection, config: Config) -> Iterator[Diagnosis]:
    try:
        pending = migrate.pending(connection)
    except migrate.MigrationError as error:
        yield wrong("schema", f"{error} Use the version of Metergate that made it, or a newer one.")
        return
    if pending:
        yield wrong("schema", f"The database lacks migration {pending[0].version}; run `metergate migrate`.")
        return
    yield ok("schema", "The database is at this version.")
    if _one(connection, moved_clock.sql.ahead) != (0,) and not config.test_clock:
        yield wrong("clock", "This database was written by a clock that was moved ahead. Use another one.")
    active = connection.execute(catalogs.sql.active_hash).fetchone()
    if active is None:
        yield wrong("catalog", "No catalog is active; run `metergate catalog publish`.")
    else:
        yield ok("catalog", f"{active[0]} is active.")


def _one(connection: psycopg.Connection, query: bytes) -> tuple[Any, ...]:
    row = connection.execute(query).fetchone()
    assert row is not None
    return row


def _away(url: str, error: psycopg.Error) -> str:
    refusal = refused(error)
    if refusal:
        return f"It answers at {place(url)}, and refuses: {refusal}. See what METERGATE_DATABASE_URL names."
    return (
        f"It does not answer at {place(url)}: {reason(error)}. Is it running, and may this machine reach it?"
    )


def refused(error: psycopg.Error) -> str:
    """What the server itself said when it was connected to; empty if it said nothing."""
    return reason(error).partition("FATAL:")[2].strip()


def place(url: str) -> str:
    """Where it should be, without the password that may stand in the address."""
    parts = conninfo.conninfo_to_dict(url)
    return str(parts.get("host") or "the usual place")


def reason(error: psycopg.Error) -> str:
    """The driver's first line; the next ones are advice, which is ours to give."""
    return (str(error).splitlines() or ["no reason given"])[0].rstrip(".")
