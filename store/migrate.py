"""Migrations: plain SQL files, forward only, each applied once, in a dbmate-compatible form.

A file is `NNNN_name.sql` with `-- migrate:up` and `-- migrate:down`; `schema_migrations(version)` says
which have run, and the sha256 of what ran, so that an edited file is noticed.
"""

import hashlib
from importlib import resources

import msgspec
import psycopg

LOCK = 0x6D67_0001
"""The advisory lock under which one process migrates while others wait."""


class Migration(msgspec.Struct, frozen=True):
    """One file: its version (`0001`), the statement that goes up, and the digest of the whole text."""

    version: str
    name: str
    up: str
    digest: str


class MigrationError(Exception):
    """A file that has run was edited, or the database is newer than this code. Nothing was changed."""


def migrations() -> list[Migration]:
    """All files, by version."""
    found = []
    for entry in resources.files("store").joinpath("migrations").iterdir():
        if not entry.name.endswith(".sql"):
            continue
        text = entry.read_text(encoding="utf-8")
        up = text.split("-- migrate:up", 1)[1].split("-- migrate:down", 1)[0]
        version, _, name = entry.name.removesuffix(".sql").partition("_")
        found.append(Migration(version, name, up, hashlib.sha256(text.encode()).hexdigest()))
    return sorted(found, key=lambda migration: migration.version)


def applied(connection: psycopg.Connection) -> dict[str, str]:
    """Version to digest of what has run; empty when nothing has."""
    if connection.execute("select to_regclass('schema_migrations')").fetchone() == (None,):
        return {}
    return dict(connection.execute("select version, digest from schema_migrations").fetchall())


def pending(connection: psycopg.Connection) -> list[Migration]:
    """What has still to run, in order.

    Errors: MigrationError.
    """
    done = applied(connection)
    files = migrations()
    if unknown := sorted(set(done) - {migration.version for migration in files}):
        raise MigrationError(f"The database has migration {unknown[-1]}, which this version does not know.")
    for migration in files:
        if done.get(migration.version, migration.digest) != migration.digest:
            raise MigrationError(f"Migration {migration.version} was edited after it had run.")
    return [migration for migration in files if migration.version not in done]


def migrate(url: str) -> list[str]:
    """Brings the database to this version and names the migrations that ran.

    Needs a direct connection: the lock belongs to a session, which a transaction pooler would share.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("select pg_advisory_lock(%s)", (LOCK,))
        connection.execute(
            "create table if not exists schema_migrations (version varchar(128) primary key, digest text)"
        )
        todo = pending(connection)
        for migration in todo:
            with connection.transaction():
                connection.execute(migration.up.encode())
                connection.execute(
                    "insert into schema_migrations (version, digest) values (%s, %s)",
                    (migration.version, migration.digest),
                )
        return [f"{migration.version}_{migration.name}" for migration in todo]
