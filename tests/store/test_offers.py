"""A process knows what is offered, and of plans no more than it needs; what it forgets it reads again."""

import msgspec
import pytest

from policies import limits, model
from store import catalogs, postgres
from tests.conftest import NOW


async def test_what_is_offered_is_the_catalog_without_its_bodies(context, catalog):
    offer = context.catalogs.active
    assert offer == model.offer(catalog)
    assert offer.plans == {plan.plan_id: plan.version for plan in catalog.plans.values()}
    assert offer.fallback_plan == catalog.plans["free"].version
    assert offer.ladder == tuple(catalog.plans[step].version for step in catalog.ladder)


async def test_bodies_are_read_when_they_are_needed_and_share_the_features_of_the_offer(context, catalog):
    pro, addon = catalog.plans["pro"], catalog.addons["token-pack"]
    assert context.catalogs.known([pro.version], [addon.version]) is None
    read = await context.catalogs.need([pro.version], [addon.version])
    assert (read.plans[pro.version], read.addons[addon.version]) == (pro, addon)
    assert read.plans[pro.version].features["ai-tokens"] is context.catalogs.active.features["ai-tokens"]
    assert context.catalogs.known([pro.version], [addon.version]) is not None


async def test_another_catalog_forgets_them_since_its_lines_may_differ(
    context, catalog, example_files, publish
):
    pro = catalog.plans["pro"]
    await context.catalogs.need([pro.version])
    moved = {**example_files, "plans/pro.yaml": "# a comment more\n" + example_files["plans/pro.yaml"]}
    await publish(moved)
    assert context.catalogs.known([pro.version]) is None
    read = (await context.catalogs.need([pro.version])).plans[pro.version]
    line = int(pro.terms["ai-tokens"].source.rpartition(":")[2])
    assert read.terms["ai-tokens"].source == f"plans/pro.yaml:{line + 1}"


async def test_bodies_are_bounded_by_their_terms(context, catalog, monkeypatch):
    monkeypatch.setattr(limits, "TERMS_ALIVE", 6)
    for plan in catalog.plans.values():
        read = await context.catalogs.need([plan.version])
        assert read.plans[plan.version] == plan
        assert sum(len(kept.terms) for kept in context.catalogs._plans.values()) <= 6


async def test_a_body_that_a_right_still_stands_on_is_not_read_a_second_time(context, catalog, monkeypatch):
    """Else a worker would hold a copy for each of its tenants."""
    monkeypatch.setattr(limits, "TERMS_ALIVE", 1)
    pro, free = catalog.plans["pro"].version, catalog.plans["free"].version
    held = (await context.catalogs.need([pro])).plans[pro]
    await context.catalogs.need([free])
    assert (await context.catalogs.need([pro])).plans[pro] is held
    assert pro not in context.catalogs._plans or len(context.catalogs._plans) == 1


async def test_a_version_that_nobody_published_is_not_made_up(context, catalog):
    read = await context.catalogs.need(["pro@00000000"])
    assert "pro@00000000" not in read.plans


@pytest.mark.parametrize("fallback", ["free", None])
async def test_offers_of_catalogs_that_were_kept_before_are_made_from_their_bodies(
    context, catalog, config, fallback
):
    """What migration 0003 fills in is what a publish writes."""
    old = msgspec.structs.replace(catalog, fallback_plan=fallback, hash="sha256:" + "0" * 64, guards=())
    async with postgres.transaction(context.pool) as connection:
        await catalogs.publish(connection, old, {}, message="old", author="tests", now=NOW)
        written = await catalogs.read_offer(connection, old.hash)
        whole = msgspec.json.encode(old).decode()  # as bodies were kept then
        await connection.execute("set local session_replication_role = replica")  # else it is refused
        await connection.execute("update catalogs set body = %s where hash = %s", (whole, old.hash))
        await connection.execute("alter table catalogs alter column offer drop not null")
        await connection.execute("alter table catalogs drop column offer")
        up = next(one.up for one in _migrations() if one.version == "0003")
        await connection.execute(up.encode())
        assert await catalogs.read_offer(connection, old.hash) == written


def _migrations():
    from store import migrate  # noqa: PLC0415 - only here

    return migrate.migrations()
