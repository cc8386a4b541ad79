"""Decisions a second of `metergate catalog replay` over 100,000 logged ones, beside decoding them alone.

The log is made at random: tenants on every plan of the example catalog, every feature, usage within what the
plan includes. The edited catalog includes less and caps lower, so many decisions come out differently.
"""

import asyncio
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from policies import decide, entitlement, logged, model
from policies.balance import Levels
from policies.decide import Request
from policies.engine import Engine
from policies.entitlement import Right
from policies.logged import Logged
from policies.model import Catalog, MeteredTerms
from policies.snapshot import Snapshot
from policies.subscription import Phase, Subscription
from scripts.benchmarks import figure
from scripts.benchmarks.figure import Figure, Settings
from scripts.benchmarks.load import LoadError
from service import bootstrap, clock
from service.embedded.servers import EmbeddedServers
from service.usecases import examine
from store import decisions, postgres
from store.decisions import Row

DECISIONS: Final = 100_000
_BATCH: Final = 2_000
_TENANTS: Final = 20_000
_ROOT: Final = Path(__file__).parents[2]
_PLANS: Final = _ROOT / "policies" / "catalog"
_FLIPPED: Final = 1
_DECODE: Final = """
import sys
import msgspec
from policies.logged import Logged
read = msgspec.json.Decoder(Logged).decode
for line in open(sys.argv[1], "rb"):
    read(line)
"""


def figures(settings: Settings) -> list[Figure]:
    """Each side is a process of its own, on private servers."""
    with tempfile.TemporaryDirectory(prefix="mgb") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with EmbeddedServers(folder / "data") as servers:
            environment = os.environ | {
                "METERGATE_DATABASE_URL": servers.running.database_url,
                "METERGATE_REDIS_URL": servers.running.redis_url,
            }
            asyncio.run(bootstrap.prepare(environment))
            settings.say(f"Making {DECISIONS:,} decisions.")
            rows = _rows()
            asyncio.run(_write(servers.running.database_url, rows))
            (folder / "log").write_bytes(b"\n".join(row.body for row in rows))
            _edit(folder / "plans")
            return [_measured(folder, environment, settings)]


def _measured(folder: Path, environment: Mapping[str, str], settings: Settings) -> Figure:
    replay = ["-m", "service", "catalog", "replay", str(folder / "plans"), "--last", "2d"]
    return figure.measure(
        "replay",
        unit="decisions/s",
        ours=lambda: _rate("replayed", replay, environment, settings),
        reference=lambda: _rate("decoded", ["-c", _DECODE, str(folder / "log")], environment, settings),
        settings=settings,
    )


def _rows() -> list[Row]:
    """All within the last day."""
    files = {path.relative_to(_PLANS).as_posix(): path.read_text() for path in _PLANS.rglob("*.*")}
    compiled = examine.compiled({path: text for path, text in files.items() if "tests/" not in path})
    assert compiled.catalog is not None, "the example catalog has no errors"
    chance, engine = random.Random(1), Engine()  # noqa: S311 - the same log in every run
    now = clock.SystemClock().now()
    return [_row(number, compiled.catalog, chance, engine, now) for number in range(DECISIONS)]


def _row(number: int, catalog: Catalog, chance: random.Random, engine: Engine, now: datetime) -> Row:
    at = now - timedelta(seconds=chance.randrange(80_000))
    snapshot = _snapshot(number, catalog, chance, at)
    offer = model.offer(catalog)
    feature_id = chance.choice(list(catalog.features))
    right = entitlement.resolve(
        snapshot, offer=offer, versions=model.versions(catalog), feature_id=feature_id, at=at
    )
    levels = _levels(right, chance) if decide.needs_levels(right) else None
    request = Request(feature_id=feature_id, quantity=chance.choice([1, 150, 5_000]))
    made = decide.decide(
        engine, right, request, levels, now=at, decision_id=f"dec_{number:06}", catalog_hash=offer.hash
    )
    whole = Logged(
        decision_id=made.decision_id,
        as_of=at,
        release="a benchmark",
        weight=1,
        tenant_id=snapshot.tenant_id,
        feature_id=feature_id,
        quantity=request.quantity,
        facts=logged.facts(snapshot, offer, right, at),
        levels=levels,
        answer=logged.answered(made),
    )
    body = msgspec.json.encode(whole)
    return Row(snapshot.tenant_id, at, made.decision_id, feature_id, made.outcome, made.reason, 1, body)


def _snapshot(number: int, catalog: Catalog, chance: random.Random, at: datetime) -> Snapshot:
    plan = chance.choice(list(catalog.plans.values()))
    start = at.astimezone(UTC) - timedelta(hours=chance.randrange(1, 7_000))
    held = Subscription(
        id=f"sub_{number}",
        anchored_at=start,
        created_at=start,
        phases=(Phase(plan_id=plan.plan_id, plan_version=plan.version, start=start),),
    )
    tenant_id = f"t{chance.randrange(_TENANTS)}"
    return Snapshot(tenant_id=tenant_id, version=1, known=True, subscriptions=(held,))


def _levels(right: Right, chance: random.Random) -> Levels:
    assert isinstance(right.terms, MeteredTerms), "only metered features have counters"
    caps = tuple(chance.randrange(cap.limit) for cap in right.terms.caps)
    return Levels(included=chance.randrange(1 + (right.terms.included or 0)), caps=caps)


async def _write(url: str, rows: Sequence[Row]) -> None:
    pool = await postgres.open_pool(url, size=1)
    try:
        for start in range(0, len(rows), _BATCH):
            async with postgres.transaction(pool) as connection:
                await decisions.write(connection, rows[start : start + _BATCH])
    finally:
        await pool.close()


def _edit(folder: Path) -> None:
    for path in _PLANS.rglob("*.*"):
        if path.parent.name != "tests":
            target = folder / path.relative_to(_PLANS)
            target.parent.mkdir(parents=True, exist_ok=True)
            text = path.read_text().replace("included: 1_000_000", "included: 500_000")
            target.write_text(text.replace("limit: 100_000", "limit: 50_000"))


def _rate(what: str, argv: Sequence[str], environment: Mapping[str, str], settings: Settings) -> float:
    began = clock.monotonic_s()
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-P", *argv],
        env=dict(environment) | {"PYTHONPATH": str(_ROOT)},
        stdout=subprocess.DEVNULL,
        check=False,
    )
    seconds = clock.monotonic_s() - began
    if done.returncode not in (0, _FLIPPED):
        raise LoadError(f"It ended with {done.returncode}: {what}.")
    settings.say(f"  {what}: {seconds:.1f} s")
    return DECISIONS / seconds
