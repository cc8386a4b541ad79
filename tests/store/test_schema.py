"""schema.sql, the migrations and the queries say the same."""

import re
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

import msgspec
import psycopg
import pytest

from policies.payment.fact import PaymentFact
from store import migrate, queries
from tests.conftest import _of

SQL = resources.files("store").joinpath("sql")
DESCRIBE = """
select table_name, column_name, data_type, is_nullable, column_default, is_identity
from information_schema.columns where table_schema = 'public' and table_name <> 'schema_migrations'
order by table_name, ordinal_position
"""
INDEXES = """
select indexdef from pg_indexes
where schemaname = 'public' and tablename <> 'schema_migrations' order by 1
"""
CONSTRAINTS = """
select conrelid::regclass::text, pg_get_constraintdef(oid) from pg_constraint
where connamespace = 'public'::regnamespace and conrelid::regclass::text <> 'schema_migrations' order by 1, 2
"""
TRIGGERS = """
select pg_get_triggerdef(oid) from pg_trigger
where not tgisinternal and tgrelid::regclass::text <> 'schema_migrations' order by 1
"""
FUNCTIONS = (
    "select pg_get_functiondef(oid) from pg_proc where pronamespace = 'public'::regnamespace order by 1"
)
ALL = (DESCRIBE, INDEXES, CONSTRAINTS, TRIGGERS, FUNCTIONS)


def described(connection: psycopg.Connection) -> list[list[tuple]]:
    return [connection.execute(query).fetchall() for query in ALL]


def test_migrations_lead_to_the_schema(servers, template):
    """One database from each; no difference is allowed."""
    schema = resources.files("store").joinpath("schema.sql").read_text(encoding="utf-8")
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute("create database from_schema")
    with psycopg.connect(_of(servers, "from_schema"), autocommit=True) as fresh:
        fresh.execute(schema)
        wanted = described(fresh)
    with psycopg.connect(_of(servers, template), autocommit=True) as migrated:
        assert described(migrated) == wanted
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute("drop database from_schema")


def test_every_migration_goes_down_again(servers):
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute("create database up_and_down")
    url = _of(servers, "up_and_down")
    assert migrate.migrate(url) == [f"{m.version}_{m.name}" for m in migrate.migrations()]
    assert migrate.migrate(url) == []
    with psycopg.connect(url, autocommit=True) as connection:
        for file in sorted(
            resources.files("store").joinpath("migrations").iterdir(), key=lambda f: f.name, reverse=True
        ):
            if file.name.endswith(".sql"):
                connection.execute(file.read_text(encoding="utf-8").split("-- migrate:down", 1)[1])
        left = connection.execute(
            "select relname from pg_class "
            "where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')"
        )
        assert left.fetchall() == [("schema_migrations",)]
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute("drop database up_and_down")


def test_an_edited_migration_is_noticed(database_url):
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("update schema_migrations set digest = 'other'")
        with pytest.raises(migrate.MigrationError, match="edited"):
            migrate.pending(connection)


@pytest.mark.parametrize("noun", sorted(file.name.removesuffix(".sql") for file in SQL.iterdir()))
def test_every_query_is_used_and_explained(noun):
    """A named query that no module asks for is a leftover; one without a sentence is a riddle."""
    named = queries.Queries(noun)
    text = SQL.joinpath(f"{noun}.sql").read_text(encoding="utf-8")
    assert text.count("-- name:") == len(named.by_name) > 0
    code = "\n".join(
        path.read_text(encoding="utf-8")
        for room in ("store", "jobs", "service")
        for path in Path(str(resources.files(room))).rglob("*.py")
    )
    asked = set(re.findall(r"(?:sql|SQL)\.(\w+)", code))
    assert set(named.by_name) <= asked


def test_every_query_can_be_planned(database_url):
    """The database knows every table, column and type that the queries speak of."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(queries.Queries("flush").make_staging)
        for file in SQL.iterdir():
            for name, query in queries.Queries(file.name.removesuffix(".sql")).by_name.items():
                statement = query.decode()
                if re.search(r"^(copy|create|lock) ", statement, re.MULTILINE):
                    continue
                numbered = _numbered(statement)
                connection.execute(f"prepare q as {numbered}")
                connection.execute("deallocate q")
                assert numbered, name


def _numbered(statement: str) -> str:
    """Named parameters as the server's own numbered ones."""
    names: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        return f"${names.setdefault(found[1], len(names) + 1)}"

    return re.sub(r"%\((\w+)\)[sb]", number, statement).replace("%%", "%").rstrip(";")


def test_billing_statuses_live_through_the_migration_that_makes_them_facts(servers, monkeypatch):
    """Up and down again, with a tenant that owes something and one that does not."""
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute("create database with_statuses")
    url, every = _of(servers, "with_statuses"), migrate.migrations()
    monkeypatch.setattr(migrate, "migrations", lambda: every[:1])
    migrate.migrate(url)
    with psycopg.connect(url, autocommit=True) as connection:
        for tenant_id, status in (("acme", "grace"), ("beta", "good")):
            connection.execute(
                "insert into tenants (tenant_id, shard, created_at, updated_at) values (%s, 0, now(), now())",
                (tenant_id,),
            )
            connection.execute(
                "insert into subscriptions"
                " (tenant_id, subscription_id, anchored_at, created_at, billing_status)"
                " values (%s, 'sub_1', now(), '2026-01-31T09:30:00Z', %s)",
                (tenant_id, status),
            )
        monkeypatch.setattr(migrate, "migrations", lambda: every[:2])
        migrate.migrate(url)
        facts = "select tenant_id, status, since = '2026-01-31T09:30:00Z' from billing_statuses"
        assert connection.execute(facts).fetchall() == [("acme", "grace", True)]
        folder = resources.files("store").joinpath("migrations")
        (second,) = [file for file in folder.iterdir() if file.name.startswith("0002")]
        connection.execute(second.read_text(encoding="utf-8").split("-- migrate:down", 1)[1])
        statuses = connection.execute("select tenant_id, billing_status from subscriptions order by 1")
        assert statuses.fetchall() == [("acme", "grace"), ("beta", "good")]
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute("drop database with_statuses")


def test_what_was_said_of_payments_before_there_were_facts_stands_as_a_word_by_hand(servers):
    """Else the first fact, or a reconcile, would take it for nothing."""
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute("create database before_facts")
    url = _of(servers, "before_facts")
    migrate.migrate(url)
    file = resources.files("store").joinpath("migrations", "0023_reconcile.sql").read_text(encoding="utf-8")
    up, down = file.split("-- migrate:down")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(down)
        connection.execute("""
            insert into tenants
              (tenant_id, shard, name, email, metadata, snapshot_version, created_at, updated_at)
            values ('acme', 0, '', '', '{}', 1, '2026-01-01Z', '2026-01-01Z');
            insert into subscriptions (tenant_id, subscription_id, anchored_at, created_at)
            values ('acme', 'sub_1', '2026-01-01Z', '2026-01-01Z');
            insert into billing_statuses (tenant_id, subscription_id, since, status, reason) values
              ('acme', 'sub_1', '2026-02-01Z', 'grace', 'said so'),
              ('acme', 'sub_1', '2026-02-08Z', 'restricted', 'later');
            insert into audit (at, actor, action, subject, tenant_id, reason, request_id)
            values ('2026-02-01Z', 'cli:x', 'billing.set', 'sub_1', 'acme', '', '')
        """)
        connection.execute(up)
        found = connection.execute("select body from payment_facts").fetchall()
    (word,) = [msgspec.convert(body, PaymentFact) for (body,) in found]
    assert (word.kind, word.state, word.subscription_id) == ("hand", "grace", "sub_1")
    assert word.seen_at == datetime(2026, 2, 1, tzinfo=UTC)
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute("drop database before_facts")
