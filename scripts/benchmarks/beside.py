"""Measures requests to a real API beside a bare echo that gives the very bytes of its answer."""

from collections.abc import Sequence
from functools import partial

import msgspec

from scripts.benchmarks import figure, load, reported, sides
from scripts.benchmarks.figure import Figure, Settings
from scripts.benchmarks.load import Shot

WARM_UP_S = 1


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One request."""

    name: str
    path: str
    body: bytes
    unit: str
    content_type: str = "application/json"
    each: int = 1
    """Units of one request."""
    connections: int = load.CONNECTIONS
    below: int = 0
    """As in load.Shot."""


def echo(cases: Sequence[Case], settings: Settings) -> list[Figure]:
    """A figure for each case, all on the same API."""
    settings.say(f"Client: {load.client_name()}")
    with sides.api() as api:
        return [measure(api, case, settings) for case in cases]


def measure(api: sides.Api, case: Case, settings: Settings) -> Figure:
    """A figure for one case on an API that runs."""
    shot = msgspec.structs.replace(
        api.shot(case.path, case.body, case.content_type), connections=case.connections, below=case.below
    )
    answer = sides.ask(shot)
    told = f"{len(shot.head)} + {len(shot.body)} bytes in, {len(answer.body)} bytes of body out"
    settings.say(f"{case.name}: {case.connections} connections, {told}")
    with sides.echo(answer) as port:
        bare = msgspec.structs.replace(shot, port=port)
        for warm in (shot, bare):
            load.rate(warm, WARM_UP_S)
        return figure.measure(
            case.name,
            unit=case.unit,
            ours=partial(_told, api, case, shot, settings),
            reference=partial(_units, case, bare, settings),
            settings=settings,
        )


def _told(api: sides.Api, case: Case, shot: Shot, settings: Settings) -> float:
    """Units a second of ours; says what each process used of the processors."""
    used = reported.Used(api)
    rate = _units(case, shot, settings)
    settings.say(f"  ours: {used.told(rate * settings.seconds, 'a unit')}")
    return rate


def _units(case: Case, shot: Shot, settings: Settings) -> float:
    return load.rate(shot, settings.seconds) * case.each
