"""A figure: what is ours beside its reference, both in turn in the same run, several times."""

import statistics
from collections.abc import Callable, Sequence
from typing import Final

import click
import msgspec

RUNS: Final = 5
RUNS_MAX: Final = 50
SECONDS: Final = 4
SECONDS_MAX: Final = 3_600
Side = Callable[[], float]
"""Measures one side once; a rate, so more is better."""


class Run(msgspec.Struct, frozen=True):
    """Both sides, one right after the other."""

    ours: float
    reference: float
    ratio: float


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured. `ours`, `reference` and `ratio` are medians over the runs, each for itself."""

    name: str
    ours: float
    reference: float
    ratio: float
    unit: str
    runs: Sequence[Run]


class Settings(msgspec.Struct, frozen=True):
    """How long and how often."""

    runs: int
    seconds: int
    as_json: bool

    def say(self, sentence: str) -> None:
        """What a person wants to know meanwhile; a program that reads JSON does not get it."""
        click.echo(sentence, err=self.as_json)


def measure(name: str, *, unit: str, ours: Side, reference: Side, settings: Settings) -> Figure:
    """Runs both sides in turn; the one that goes first changes with each run."""
    found = []
    for number in range(settings.runs):
        if number % 2 == 0:
            own, other = ours(), reference()
        else:
            other, own = reference(), ours()
        run = Run(round(own, 1), round(other, 1), round(own / other, 4))
        both = f"{run.ours:>10,.0f} {unit} beside {run.reference:>10,.0f}"
        settings.say(f"  run {number + 1}: {both}, ratio {run.ratio:.3f}")
        found.append(run)
    return of(name, unit, found)


def of(name: str, unit: str, runs: Sequence[Run]) -> Figure:
    """The figure of these runs."""
    return Figure(
        name=name,
        ours=statistics.median(run.ours for run in runs),
        reference=statistics.median(run.reference for run in runs),
        ratio=statistics.median(run.ratio for run in runs),
        unit=unit,
        runs=runs,
    )


def show(figures: Sequence[Figure], settings: Settings) -> None:
    """The figures: a table for people; as JSON one object a line."""
    for figure in figures:
        if settings.as_json:
            click.echo(msgspec.json.encode(figure).decode())
            continue
        click.echo(f"{figure.name} ({figure.unit}, {len(figure.runs)} runs)")
        click.echo(f"  {'':<10}{'minimum':>12}{'median':>12}{'maximum':>12}")
        for side, form in (("ours", ",.0f"), ("reference", ",.0f"), ("ratio", ".3f")):
            values = [float(getattr(run, side)) for run in figure.runs]
            three = (min(values), statistics.median(values), max(values))
            click.echo(f"  {side:<10}" + "".join(f"{value:>12{form}}" for value in three))
