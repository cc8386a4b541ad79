"""Negative controls: what we ship, broken in one place, so that the judge must find it.

A harness that finds nothing is evidence only if it finds these. Each is directed: what goes wrong is brought
about, not waited for. The same act without the break finds nothing, which `sound` shows.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from scripts.crashing import stage as stages
from scripts.crashing import torn, variant
from scripts.crashing.clients import Kinds
from scripts.crashing.judge import Verdict
from scripts.crashing.rest import REST_S
from scripts.crashing.site import await_
from scripts.crashing.stage import Say, Setting, Stage
from scripts.crashing.torn import Scene
from scripts.crashing.world import Size
from store import scripts

SMALL: Final = Size(reporting=8, limited=1, capped=1, limit=300, cap=200)
REPORTING: Final = Kinds(batches=2, batch=200, singles=2, consumers=0, holders=0, revisers=0)
CONSUMING: Final = Kinds(batches=0, singles=0, consumers=12, holders=0, revisers=0)
SLOW_MS: Final = 2_000
"""An fsync that takes so long has not completed when the power goes."""
PATIENCE_S: Final = 15.0
"""What is broken may never come to rest."""
_SHOWN: Final = 160


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """One break: what it is put in place of, what then happens, and what is to be found."""

    name: str
    finds: str
    """The field of Verdict that cannot be 0."""
    broken: Setting
    sound: Setting
    act: Callable[[Stage], None]

    def run(self, say: Say, *, broken: bool = True) -> Verdict:
        """What the judge finds, with the break or without it."""
        with stages.stage(self.broken if broken else self.sound, say) as stage:
            self.act(stage)
            return stage.judge(patience_s=PATIENCE_S if broken else REST_S).verdict


def _setting(**changes: object) -> Setting:
    return msgspec.structs.replace(Setting(apis=1, workers=1, size=SMALL), **changes)


def _acknowledge(stage: Stage, more: int) -> None:
    """Waits until so many more acts are acknowledged."""
    wanted = stage.acknowledged + more
    await_(lambda: stage.acknowledged >= wanted, f"{more} acknowledgements")


def _cut_power_while_syncing(stage: Stage) -> None:
    """Nobody flushes; the disk takes its time, and answers go on coming only if they do not wait for it."""
    stage.start()
    stage.send(1, REPORTING)
    _acknowledge(stage, 200)
    stage.site.workers[0].kill()
    stage.site.valkey.order(f"slow {SLOW_MS}")
    time.sleep(SLOW_MS / 2000)
    stage.site.valkey.cut_power()


def _die_between_cursor_and_commit(stage: Stage) -> None:
    """The worker dies when it has written events and is about to commit them."""
    stage.start()
    stage.site.workers[0].kill()
    stage.send(1, REPORTING)
    _acknowledge(stage, 200)
    worker = stage.site.workers[0]
    worker.start("flush-kept")
    await_(lambda: not worker.up, "the death of the worker")


def _race_to_the_limit(stage: Stage) -> None:
    """Many ask for the last units at once."""
    stage.start()
    stage.send(1, CONSUMING)
    _acknowledge(stage, 80)
    time.sleep(1.0)


CONTROLS: Final = (
    Control(
        name="everysec",
        finds="lost",
        broken=_setting(
            valkey={"appendfsync": "everysec"}, environment={"METERGATE_REDIS_CONFIG_FORBIDDEN": "1"}
        ),
        sound=_setting(),
        act=_cut_power_while_syncing,
    ),
    Control(
        name="cursor-outside",
        finds="lost",
        broken=_setting(program=(variant.__name__, "cursor-outside")),
        sound=_setting(),
        act=_die_between_cursor_and_commit,
    ),
    Control(
        name="read-then-add",
        finds="over_admitted",
        broken=_setting(program=(variant.__name__, "read-then-add")),
        sound=_setting(),
        act=_race_to_the_limit,
    ),
)


class Result(msgspec.Struct, frozen=True):
    """Of one control: what was found with the break, and whether all was well without it."""

    name: str
    found: str
    sound: bool
    harmless: bool = False
    """The break is known to show nothing on this server."""

    @property
    def good(self) -> bool:
        """As it is to be."""
        return self.sound and (self.harmless or bool(self.found))


def run_all(say: Say, server: Path | None) -> Iterator[Result]:
    """All of them; `server` is one more program that a file is cut under."""
    for control in CONTROLS:
        found = getattr(control.run(say), control.finds)
        clean = control.run(say, broken=False)
        yield Result(control.name, f"{found} {control.finds}" if found else "", clean.sound)
    yield _marks_first(say)
    yield _no_rewrite(say, None)
    if server is not None:
        yield _no_rewrite(say, server)


def _marks_first(say: Say) -> Result:
    """Every act's script, torn after each of its writes; in the wrong order one act is enough."""
    sound = not _scene(say, _tear, tuple(torn.ACTS))
    kept = {name: getattr(scripts, name) for name in ("ALL", *(each.name.upper() for each in scripts.ALL))}
    try:
        variant.mark_first()
        return Result("mark-first", _scene(say, _tear, ("record",)), sound)
    finally:
        for name, script in kept.items():
            setattr(scripts, name, script)


def _no_rewrite(say: Say, server: Path | None) -> Result:
    """A file that is cut within a script, and then one crash more."""
    sound = not _scene(say, _cut, server)
    found = _scene(say, _cut, server, rewrite=False)
    return Result(f"no-rewrite on {server or 'our Valkey'}", found, sound, harmless=server is None)


async def _tear(scene: Scene, acts: Sequence[str]) -> None:
    for act in acts:
        await torn.sweep(scene, act)


async def _cut(scene: Scene, _: Path | None) -> None:
    await torn.crash_twice(scene)


def _scene(say: Say, act: Callable[[Scene, Any], Awaitable[None]], of: Any, *, rewrite: bool = True) -> str:
    """What is found; nothing if all is well."""

    async def played(stage: Stage) -> str:
        async with torn.scene(stage, rewrite=rewrite) as scene:
            try:
                await act(scene, of)
            except AssertionError as error:
                return str(error)[:_SHOWN]
        return ""

    server = of if isinstance(of, Path) else None
    with stages.stage(_setting(apis=0, workers=0, server=server), say) as stage:
        return asyncio.run(played(stage))
