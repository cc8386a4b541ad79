"""Checks a second over a million tenants at random, beside the same of one tenant: is it flat?

Beside the same stands a bare program that only reads what such a check reads: it says how flat it can be.
"""

from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from scripts.benchmarks import figure, load, sides, tenants_loaded
from scripts.benchmarks.figure import Figure, Settings
from service.embedded import samples

TENANTS: Final = 1_000_000
WARM_UP_S: Final = 2
NAME: Final = "tenants"
FLOOR: Final = "tenants-bare-reads"


def figures(settings: Settings) -> list[Figure]:
    """One worker process, 32 connections. Its memory knows 20,000 tenants, so nearly every check is cold."""
    with sides.api() as api:
        settings.say(f"Loading {TENANTS:,} tenants …")
        tenants_loaded.load(api, "t", TENANTS, copies=True)
        many, one = _shot(api, "t{n}", "150", TENANTS), _shot(api, "t0", "{n}", 20_000)
        with sides.echo(sides.ask(one), "bare_reads", api.redis_url) as port:
            bare = msgspec.structs.replace(many, port=port)
            for warm in (one, many, bare):
                load.rate(warm, WARM_UP_S)
            found = [_beside(name, ours, one, settings) for name, ours in ((NAME, many), (FLOOR, bare))]
        settings.say(f"Memory of the worker afterwards: {resident_mb(api.pid)} MB")
        return found


def _beside(name: str, ours: load.Shot, one: load.Shot, settings: Settings) -> Figure:
    return figure.measure(
        name,
        unit="requests/s",
        ours=partial(load.rate, ours, settings.seconds),
        reference=partial(load.rate, one, settings.seconds),
        settings=settings,
    )


def _shot(api: sides.Api, tenant: str, quantity: str, below: int) -> load.Shot:
    """Of one tenant another quantity each time: on neither side an answer is one that was given before."""
    body = f'{{"tenantId": "{tenant}", "featureId": "{samples.FEATURE}", "quantity": {quantity}}}'
    return msgspec.structs.replace(api.shot("/v1/check", body.encode()), below=below)


def resident_mb(pid: int) -> int:
    """What is resident of a process now, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    (line,) = [line for line in lines if line.startswith("VmRSS:")]
    return int(line.split()[1]) // 1024
