"""Checks a second in large catalogs, beside one plan with one feature: does a check care how many there are?

The catalogs are put into the tables as a publish leaves them, without compiling their files.
"""

import asyncio
import random
import threading
from functools import partial
from typing import Final

import msgspec

from policies import limits
from policies.compiler import build
from policies.model import Catalog, Feature
from scripts.benchmarks import figure, load, sides, tenants, tenants_loaded
from scripts.benchmarks.figure import Figure, Settings
from service import catalog_files, clock
from service.embedded import instance, samples
from store import catalogs, postgres

SIZES: Final = ((100, 100), (1_000, 200))
"""Plans and features in each of them."""
WARM_UP_S: Final = 1
TENANTS: Final = 400
TOUCHED: Final = 40_000
"""Checks of tenants and features at random before anything is measured, so that all caches are full."""


def figures(settings: Settings) -> list[Figure]:
    """One worker process each, 32 connections, one tenant; the memory of the worker is told, too."""
    found = []
    with sides.api() as small:
        _put(small, 1, 1)
        for plans, features in SIZES:
            with sides.api() as large:
                settings.say(f"Making {plans:,} plans of {features:,} features …")
                _put(large, plans, features)
                found.append(_measure(large, small, f"catalog-size-{plans}x{features}", features, settings))
                settings.say(f"Memory of the worker afterwards: {tenants.resident_mb(large.pid)} MB")
    return found


def _measure(large: sides.Api, small: sides.Api, name: str, features: int, settings: Settings) -> Figure:
    _touch(large, features)
    shots = [_shot(api) for api in (large, small)]
    for shot in shots:
        load.rate(shot, WARM_UP_S)
    return figure.measure(
        name,
        unit="requests/s",
        ours=partial(load.rate, shots[0], settings.seconds),
        reference=partial(load.rate, shots[1], settings.seconds),
        settings=settings,
    )


def _shot(api: sides.Api) -> load.Shot:
    body = b'{"tenantId": "c0", "featureId": "f0", "quantity": {n}}'
    return msgspec.structs.replace(api.shot("/v1/check", body), below=20_000)


def _touch(api: sides.Api, features: int) -> None:
    """Asks for tenants on all plans and for all features, in batches."""
    draw = random.Random(1)  # noqa: S311 - the same in every run
    for _ in range(TOUCHED // 1_000):
        checks = [
            {"tenantId": f"c{draw.randrange(TENANTS)}", "featureId": f"f{draw.randrange(features)}"}
            for _ in range(1_000)
        ]
        sides.ask(api.shot("/v1/check/batch", msgspec.json.encode({"checks": checks})))


def _put(api: sides.Api, plans: int, features: int) -> None:
    """Makes the catalog active, and tenants spread over its plans."""
    files = catalog_files.read(instance.CATALOG)
    compiled = build.compile_catalog(files).catalog
    assert compiled is not None, "the bundled catalog compiles"
    pattern = compiled.plans["pro"]
    nouns = {f"f{n}": _feature(pattern.features[samples.FEATURE], f"f{n}") for n in range(features)}
    terms = dict.fromkeys(nouns, pattern.terms[samples.FEATURE])
    made = [
        msgspec.structs.replace(pattern, plan_id=f"p{n}", version=f"p{n}@0", features=nouns, terms=terms)
        for n in range(plans)
    ]
    names = tuple(plan.plan_id for plan in made)
    catalog = msgspec.structs.replace(
        compiled,
        hash=f"sha256:{plans}",
        features=nouns,
        plans=dict(zip(names, made, strict=True)),
        ladder=names,
        fallback_plan=None,
        addons={},
        guards=(),
        invariants=(),
    )
    asyncio.run(_keep(api, catalog))
    sold = [(plan.plan_id, plan.version) for plan in made]
    tenants_loaded.load(api, "c", TENANTS, copies=False, plans=sold)
    _await_active(api)


def _feature(pattern: Feature, feature_id: str) -> Feature:
    return msgspec.structs.replace(pattern, id=feature_id)


async def _keep(api: sides.Api, catalog: Catalog) -> None:
    now = clock.SystemClock().now()
    pool = await postgres.open_pool(api.database_url, size=1, statement_s=limits.WORKER_STATEMENT_S)
    try:
        async with postgres.transaction(pool) as connection:
            await catalogs.publish(connection, catalog, {}, message="bench", author="bench", now=now)
            await catalogs.activate(connection, catalog.hash, by="bench", now=now)
    finally:
        await pool.close()


def _await_active(api: sides.Api) -> None:
    """Until the process decides by it: it asks the database each second."""
    pause, deadline = threading.Event(), clock.monotonic_s() + sides.START_S
    while b'"planId":"p0"' not in sides.ask(api.shot("/v1/check", _ONE)).body:
        if clock.monotonic_s() > deadline:
            raise load.LoadError("The catalog that was put in does not become active.")
        pause.wait(0.05)


_ONE: Final = b'{"tenantId": "c0", "featureId": "f0"}'
