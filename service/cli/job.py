"""`metergate job`: the regular jobs, one at a time and by hand."""

import inspect
import sys
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from jobs import worker
from jobs.schedule import JOBS, Job
from service.cli import session, settings, show
from service.cli.group import CannotRunError, Group
from service.clock import FixedClock


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a run of a job came to, in words; empty when there was nothing to do."""

    name: str
    done: str


@click.group(cls=Group)
def job() -> None:
    """List the regular jobs, and run one now.

    A worker begins each of them all the time. It does no harm to run one by hand beside it.
    """


@job.command("list")
@show.json_option
def list_jobs(*, as_json: bool) -> None:
    """List the jobs, how often a worker begins them, and what they do."""
    if as_json:
        show.json([{"name": each.name, "everyS": each.every_s, "does": _does(each)} for each in JOBS])
        return
    show.table(["JOB", "EVERY", "DOES"], [(each.name, f"{each.every_s:g} s", _does(each)) for each in JOBS])


@job.command("run")
@click.argument("name", type=click.Choice([each.name for each in JOBS]))
@click.option("--at", type=click.DateTime(), help="As if it were then (UTC), where METERGATE_TEST_CLOCK=1.")
@settings.data_option
@show.json_option
def run_job(*, name: str, at: datetime | None, data: Path | None, as_json: bool) -> None:
    """Run the job NAME once, now, and say what it did."""
    (wanted,) = (each for each in JOBS if each.name == name)
    config = settings.read(data)
    if at is not None and not config.test_clock:
        raise CannotRunError("--at is for an instance that is there to be tried: METERGATE_TEST_CLOCK=1.")
    session.need_database(config)

    async def ran() -> str:
        async with worker.open_context(config, FixedClock(at.replace(tzinfo=UTC)) if at else None) as context:
            return await worker.run_job(wanted, context)

    told = _Told(name=name, done=session.run(ran))
    if as_json:
        show.json(told)
    else:
        click.echo(f"{name}: {told.done or 'nothing to do'}")


def _does(each: Job) -> str:
    """The first sentence of the job's module."""
    text = inspect.getdoc(sys.modules[each.run.__module__]) or ""
    return text.partition("\n")[0]
