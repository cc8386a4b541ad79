"""Does the judge find what is broken on purpose? And what does a script leave that a crash tears?

One world for all: servers that are killed, and this process in the place of the API and the worker.
"""

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from policies import errors
from scripts.crashing import controls, torn, variant
from scripts.crashing import stage as stages
from scripts.crashing.site import await_
from scripts.crashing.stage import Setting, Stage
from scripts.crashing.torn import Scene
from service.context import Context
from service.embedded.servers import ROOT
from service.usecases import consume
from store import certify, consuming, corrections, crash_points, flush, scripts
from store.counters import Counters
from store.link import RedisAwayError
from tests import overtaking

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="disks are watched by a promise of Linux")


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with stages.stage(Setting(apis=0, workers=0, size=controls.SMALL), print) as made:
        yield made


@pytest.fixture(scope="module")
async def scene(stage: Stage) -> AsyncIterator[Scene]:
    async with torn.scene(stage) as made:
        yield made


@pytest.fixture
async def control(scene: Scene) -> AsyncIterator[Scene]:
    """The same, with what the control has lost forgiven afterwards."""
    yield scene
    await scene.at_rest()
    for event_id in scene.look().missing:
        scene.ledger.entries[event_id].acknowledged = False


async def flush_and_die(scene: Scene, program: str) -> None:
    """Another process flushes, and dies when all is written and nothing is committed."""
    site = scene.stage.site
    died = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", *program.split(), "job", "run", "flush"),
        cwd=ROOT,
        env=site.environment | {crash_points.VARIABLE: "flush-kept"},
        stdout=subprocess.DEVNULL,
    )
    assert await died.wait() == -signal.SIGKILL


async def record_in_redis(scene: Scene, name: str) -> None:
    """Events until one is acknowledged by Redis: on a busy machine the inbox has to stand in for it."""
    with psycopg.connect(scene.stage.site.database_url) as connection:
        for number in range(50):
            before = connection.execute("select count(*) from usage_inbox").fetchone()
            connection.commit()
            await scene.record(f"{name}-{number}")
            if connection.execute("select count(*) from usage_inbox").fetchone() == before:
                return
            connection.commit()
    pytest.fail("Redis takes nothing")


@pytest.mark.parametrize("act", ["record", "settle"])
async def test_whatever_a_torn_script_leaves_an_act_counts_once(scene: Scene, act: str):
    """The other acts are torn by `scripts/crash --controls`."""
    assert await torn.sweep(scene, act) >= 5


async def test_a_mark_before_the_journal_loses_what_is_sent_again(control: Scene, monkeypatch):
    for script in scripts.ALL:
        monkeypatch.setattr(scripts, script.name.upper(), script)
    monkeypatch.setattr(scripts, "ALL", scripts.ALL)
    variant.mark_first()
    await control.restart()  # a new connection brings the new scripts
    with pytest.raises(AssertionError, match=r"record, torn after \[b'HSET', b'd:.*lost"):
        await torn.sweep(control, "record")
    monkeypatch.undo()
    await control.restart()


@pytest.mark.parametrize(("program", "lost"), [("service", 0), (f"{variant.__name__} cursor-outside", 1)])
async def test_a_cursor_that_moves_by_itself_loses_what_a_crash_leaves_behind_it(
    control: Scene, program: str, lost: int
):
    await control.record("outside" if lost else "inside")
    await flush_and_die(control, program)
    await control.at_rest()
    assert control.judge().lost == lost


async def test_what_is_synced_every_second_is_lost_with_the_power(control: Scene, monkeypatch):
    valkey = control.stage.site.valkey
    if valkey.no_cuts:
        pytest.skip(f"NO POWER CUTS HERE: {valkey.no_cuts}")
    for fsync, lost in (("always", 0), ("everysec", 1)):
        valkey.settings["appendfsync"] = fsync
        monkeypatch.setattr(control.context.counters.link, "_verify", fsync == "always")
        await control.restart()
        valkey.order(f"slow {100 if lost == 0 else controls.SLOW_MS}")
        await record_in_redis(control, f"synced-{fsync}")
        valkey.cut_power()
        valkey.settings.clear()
        monkeypatch.undo()
        await control.restart()
        assert control.judge().lost == lost


async def test_who_hung_takes_nothing_back_from_counters_that_were_put_back_since(scene: Scene, monkeypatch):
    """A duplicate that Redis had counted; then a restart, after which it has not."""
    valkey, entry = scene.stage.site.valkey, scene.entry("report", "twice")
    await torn.recorded(scene, entry)
    await scene.at_rest()
    await scene.forget_marks()
    await torn.recorded(scene, entry)
    pool, link = scene.context.pool, scene.context.counters.link
    assert (await flush.flush_once(pool, link, now=scene.context.clock.now())).duplicates == 1
    hung: list[str] = []

    async def others(context: Context) -> None:
        await certify.certify(context.pool, context.counters.link, now=context.clock.now())

    def hang(name: str) -> None:
        if name == "correction-waiting" and not hung:
            hung.append(name)
            valkey.kill()
            valkey.start()
            await_(lambda: valkey.ready, "valkey")
            overtaking.meanwhile(scene.context.config, others)

    correct = Counters.correct

    async def late(self, shard, waiting, **named):
        for _ in range(2):  # another of its jobs comes first, and finds the new server
            with contextlib.suppress(RedisAwayError):
                await link.send([("PING",)])
        await correct(self, shard, waiting, **named)

    monkeypatch.setattr(corrections, "crash_point", hang)
    monkeypatch.setattr(Counters, "correct", late)
    with contextlib.suppress(RedisAwayError, errors.UnavailableError):  # or its shard is passed over
        assert await corrections.apply_corrections(pool, scene.context.counters) == 0
    assert hung
    await scene.at_rest()
    verdict = scene.judge()
    assert verdict.sound, verdict.examples


async def test_what_is_compared_first_and_counted_later_passes_the_limit(scene: Scene, monkeypatch):
    """Last, since units that were used cannot be forgiven."""
    before = scene.judge()
    assert before.sound, before.examples
    together = [scene.entry("consume", f"race-{number}") for number in range(150)]
    monkeypatch.setattr(consuming.Consumer, "consume", consuming.Consumer.consume)
    variant.read_then_add()
    found = await asyncio.gather(*(consume.consume(scene.context, torn.wanted(one)) for one in together))
    assert any(one.consumed for one in found)
    for entry, one in zip(together, found, strict=True):
        if one.consumed:
            scene.ledger.acknowledge(entry)
    await scene.at_rest()
    assert scene.judge().over_admitted > 0
