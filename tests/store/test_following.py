"""A publish is effective everywhere with the next check: Redis names the active catalog with every read."""

import pytest

from jobs import announce
from jobs.context import JobContext
from service import wiring
from service.context import Context
from service.usecases import check, publish
from service.usecases.activation import Wish
from service.usecases.check import Check
from store import catalogs, postgres
from tests.conftest import NOW, PATIENT, ROOT

VOICE = Check(tenant_id="acme", feature_id="ai-tokens")


@pytest.fixture
def edited(example_files):
    """The example catalog with one name changed."""
    text = example_files["features.yaml"]
    assert "Premium voice model" in text
    return example_files | {"features.yaml": text.replace("Premium voice model", "Premium voice")}


async def hash_of(context: Context) -> str:
    (decision,) = await check.check(context, [VOICE])
    assert not decision.degraded
    return decision.catalog


async def test_another_process_decides_by_the_new_catalog_in_its_next_check(
    counting: Context, config, clock, edited, catalog
):
    async with wiring.open_context(config, clock, PATIENT) as other:
        assert await hash_of(other) == catalog.hash
        published = await publish.publish(counting, ROOT, edited, Wish(message="renamed"))
        assert await hash_of(other) == published.hash != catalog.hash


async def test_a_word_that_postgres_does_not_bear_out_changes_nothing(counting: Context, catalog):
    await counting.counters.set_active_catalog("sha256:never")
    for _ in range(3):
        assert await hash_of(counting) == catalog.hash


async def test_while_postgres_is_away_the_known_catalog_decides_and_the_answer_says_so(
    counting: Context, catalog
):
    await check.check(counting, [VOICE])
    await counting.counters.set_active_catalog("sha256:new")
    await counting.pool.close()
    for _ in range(2):
        (decision,) = await check.check(counting, [VOICE])
        assert (decision.allowed, decision.catalog, decision.degraded) == (True, catalog.hash, True)


async def test_while_postgres_is_away_a_known_snapshot_decides_and_the_answer_says_so(counting: Context):
    """Redis knows of a newer one that nobody can read: the old right decides, and it is said."""
    await check.check(counting, [VOICE])
    await counting.counters.raise_versions({"acme": 9})
    await counting.pool.close()
    for _ in range(2):
        (decision,) = await check.check(counting, [VOICE])
        assert (decision.allowed, decision.plan_id, decision.degraded) == (True, "free", True)


async def test_the_job_names_the_active_catalog_again(counting: Context, catalog, clock):
    job = JobContext(
        config=counting.config,
        clock=clock,
        pool=counting.pool,
        link=counting.counters.link,
        counters=counting.counters,
        snapshots=counting.snapshots,
        uses=counting,
    )
    await counting.snapshots.say_again()
    for told in (None, "sha256:old"):
        if told is not None:
            await counting.counters.set_active_catalog(told)
        assert await announce.run(job, NOW) == "the active catalog"
        assert await counting.counters.active_catalog() == catalog.hash
        assert await announce.run(job, NOW) == ""


async def test_before_the_first_publish_there_is_nothing_to_name(context: Context, clock):
    async with postgres.transaction(context.pool) as connection:
        assert await catalogs.read_active_hash(connection) is None
    assert await context.counters.active_catalog() is None
