"""The command line of the benchmarks: `scripts/bench NAME`. A new one is a module and a line in FIGURES."""

from importlib import import_module
from typing import Final

import click

from scripts.benchmarks import figure
from scripts.benchmarks.figure import Settings
from scripts.benchmarks.load import LoadError
from service.cli.group import CannotRunError
from service.embedded.errors import EmbeddedError

FIGURES: Final = {
    "publish": "Plans a second of catalog publish, all new and one edited, beside reading the YAML alone.",
    "replay": "Decisions a second of catalog replay over 100,000 logged ones, beside decoding them alone.",
    "check": "Requests a second of /v1/check, beside a bare echo.",
    "check-batch": "Decisions a second of /v1/check/batch, of one tenant and of 100, beside a bare echo.",
    "stages": "What each stage of a check costs, and its share of the whole, without the server.",
    "write-stages": "The same of a use and of a single event.",
    "cold": "How long the first check of a tenant takes, beside later ones.",
    "tenants": "Checks a second over 1,000,000 tenants at random, beside one tenant.",
    "catalog-size": "Checks a second in large catalogs, beside one plan with one feature.",
    "close": "Tenants a second whose period is closed and invoiced, beside a bare COPY of the same rows.",
    "cerbos": "Checks a second and their p99 on the whole machine, beside Cerbos with the same rule.",
    "consume": "Uses a second of /v1/consume beside a bare echo, and of one tenant beside many.",
    "holds": "Checks a second of a tenant with 20 buckets and 1,000 open reservations, beside one with none.",
    "memory": "Bytes that a counter and a mark take in Redis, of 1,000,000 tenants with 10 features each.",
    "footprint": "Bytes and processor time of an event on its whole way, beside its line of JSON.",
    "intake": "Events a second of /v1/usage by batches, beside a bare client of the same script.",
    "year": "How long the report of a tenant's year takes, beside a bare query of the same sums.",
    "lag": "How long after its acknowledgement usage is in Postgres, at 10,000 events a second.",
    "flush": "Events a second that a flush brings to Postgres, beside a bare COPY of the same rows.",
    "rebuild": "Counters a second that come back after a wipe and after a kill, beside a bare load.",
    "usage": "Events a second of /v1/usage, single and in batches, beside a bare echo.",
}
"""Each name is that of a module here (with _ for -) that has `figures(settings)`."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("name", type=click.Choice(list(FIGURES)))
@click.option("--runs", type=click.IntRange(1, figure.RUNS_MAX), default=figure.RUNS, show_default=True)
@click.option(
    "--seconds",
    type=click.IntRange(1, figure.SECONDS_MAX),
    default=figure.SECONDS,
    show_default=True,
    help="Of each side, in each run.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one figure a line.")
def main(*, name: str, runs: int, seconds: int, as_json: bool) -> None:
    """Measure a figure beside its reference, both in turn in the same run.

    Servers and data are private ones in a temporary folder; nothing else is touched. Wants a quiet machine.
    """
    settings = Settings(runs, seconds, as_json)
    module = import_module(f"scripts.benchmarks.{name.replace('-', '_')}")
    try:
        figures = module.figures(settings)
    except (LoadError, EmbeddedError) as error:
        raise CannotRunError(str(error)) from error
    figure.show(figures, settings)


main.epilog = "\n\n".join(f"\b\n{name}  {what}" for name, what in FIGURES.items())

if __name__ == "__main__":
    main(prog_name="scripts/bench")
