"""Catalogs are kept whole and come back as they were; what two have in the same words is kept once."""

from importlib import resources

import msgspec
import psycopg
import pytest

from policies import model
from store import catalogs, postgres
from tests.conftest import NOW, _of


async def kept(pool, catalog, files=None):
    async with postgres.transaction(pool) as connection:
        return await catalogs.publish(
            connection, catalog, files or {"features.yaml": ""}, message="m", author="a", now=NOW
        )


async def read(pool, catalog_hash):
    async with postgres.transaction(pool) as connection:
        return await catalogs.read(connection, catalog_hash)


async def bodies(pool):
    async with postgres.transaction(pool) as connection:
        (count,) = await postgres.scalars(connection, b"select count(*) from version_bodies", {})
    return count


async def test_a_catalog_comes_back_as_it_was_however_many_statements_it_took(context, catalog, monkeypatch):
    monkeypatch.setattr(catalogs, "BODIES_AT_ONCE", 1)
    other = msgspec.structs.replace(
        catalog,
        hash="sha256:" + "1" * 64,
        plans={
            plan_id: msgspec.structs.replace(plan, name="Another", version=f"{plan_id}@ffffffff")
            for plan_id, plan in catalog.plans.items()
        },
    )
    assert await kept(context.pool, other) is True
    assert await kept(context.pool, other) is False
    assert await read(context.pool, other.hash) == other
    assert await read(context.pool, catalog.hash) == catalog
    assert await read(context.pool, "sha256:" + "2" * 64) is None


async def test_a_version_is_kept_once_for_all_catalogs_that_say_it_in_the_same_lines(context, catalog):
    before = await bodies(context.pool)
    assert before == len(catalog.plans) + len(catalog.addons)
    pro = catalog.plans["pro"]
    moved = msgspec.structs.replace(pro, source="plans/pro.yaml:9")  # a comment above it
    other = msgspec.structs.replace(catalog, hash="sha256:" + "3" * 64, plans=catalog.plans | {"pro": moved})
    await kept(context.pool, other)
    assert await bodies(context.pool) == before + 1
    assert (await read(context.pool, other.hash)) == other


async def test_plans_of_one_catalog_share_its_features(context, catalog):
    again = await read(context.pool, catalog.hash)
    assert again is not None
    for plan in again.plans.values():
        assert all(again.features[feature_id] is feature for feature_id, feature in plan.features.items())


def test_what_was_published_before_this_version_is_kept(servers, catalog):
    """A database with a catalog in the old form goes up, and down again."""
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute("create database with_a_catalog")
    folder = resources.files("store").joinpath("migrations")
    texts = {file.name: file.read_text("utf-8") for file in folder.iterdir() if file.name.endswith(".sql")}
    steps = {name: text.split("-- migrate:up", 1)[1].split("-- migrate:down") for name, text in texts.items()}
    body = msgspec.json.encode(catalog).decode()
    with psycopg.connect(_of(servers, "with_a_catalog"), autocommit=True) as connection:
        for name in sorted(name for name in steps if name < "0006"):
            connection.execute(steps[name][0])
        connection.execute(
            "insert into catalogs values (%s, '{}', %s, 'first', 'me', now(), %s)",
            (catalog.hash, body, msgspec.json.encode(model.offer(catalog)).decode()),
        )
        for plan in catalog.plans.values():
            row = (plan.version, catalog.hash, plan.plan_id, msgspec.json.encode(plan).decode())
            connection.execute("insert into plan_versions values (%s, %s, %s, %s)", row)
        for addon in catalog.addons.values():
            row = (addon.version, catalog.hash, addon.addon_id, msgspec.json.encode(addon).decode())
            connection.execute("insert into addon_versions values (%s, %s, %s, %s)", row)
        connection.execute(
            "insert into catalog_activations (hash, activated_at, activated_by) values (%s, now(), 'me')",
            (catalog.hash,),
        )
        up, down = steps["0006_activations.sql"]
        connection.execute(up)
        assert read_plainly(connection, catalog.hash) == catalog
        assert connection.execute("select message, moves from catalog_activations").fetchall() == [
            ("first", {})
        ]
        connection.execute(down)
        (text,) = connection.execute("select body::text from catalogs").fetchone()
        assert msgspec.json.decode(text, type=model.Catalog) == catalog
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute("drop database with_a_catalog")


def read_plainly(connection, catalog_hash):
    def texts(query):
        return [row[0] for row in connection.execute(query.decode(), {"hash": catalog_hash}).fetchall()]

    bare = msgspec.json.decode(texts(catalogs.sql.catalog)[0], type=model.Catalog)
    plans = [msgspec.json.decode(text, type=model.PlanVersion) for text in texts(catalogs.sql.plans_of)]
    addons = [msgspec.json.decode(text, type=model.AddonVersion) for text in texts(catalogs.sql.addons_of)]
    return msgspec.structs.replace(
        bare,
        plans={plan.plan_id: plan for plan in plans},
        addons={addon.addon_id: addon for addon in addons},
    )


@pytest.mark.parametrize(
    "table",
    [
        "catalogs",
        "version_bodies",
        "plan_versions",
        "addon_versions",
        "features",
        "catalog_activations",
        "audit",
    ],
)
async def test_what_was_published_or_noted_down_is_never_changed(context, table):
    """Law 9, and the lines of law 11."""
    for change in ("delete from {}", "truncate {} cascade"):
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match=f"of {table} is refused"):
            async with postgres.transaction(context.pool) as connection:
                await connection.execute(change.format(table).encode())
