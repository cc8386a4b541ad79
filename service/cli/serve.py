"""The processes: a whole instance in one terminal, the API alone, the worker alone; and migrations."""

import asyncio
import logging
import time
from pathlib import Path

import click
import psycopg

from service import bootstrap, settling
from service.cli import settings
from service.cli.group import CannotRunError
from service.embedded import instance
from service.embedded.instance import Steps
from store import migrate as migrations

log = logging.getLogger("metergate")


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=8080, show_default=True, help="0 takes any free one."
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=instance.DATA,
    show_default=True,
    metavar="DIR",
    help="Where everything is kept; made if it is missing.",
)
@click.option("--empty", is_flag=True, help="Start without the example plans and the demo tenants.")
@click.pass_context
def run(context: click.Context, *, port: int, data: Path, empty: bool) -> None:
    """Run everything on this machine, with example plans to try.

    Starts a database and a Redis of its own in the data folder, publishes the example plans, makes a demo
    tenant on each, and prints commands to try. Ctrl-C stops it; the next start finds everything again.

    Ends with 0 when it was stopped, with 1 if a part died while it ran, with 2 if it could not run.
    """
    steps = Steps(prepare=bootstrap.prepare, demo=bootstrap.demo, key=bootstrap.key)
    context.exit(instance.run(steps=steps, port=port, data=data, empty=empty))


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=8080, show_default=True, help="0 takes any free one."
)
def api(*, host: str, port: int) -> None:
    """Serve the HTTP API.

    It speaks plain HTTP: put a proxy with TLS in front of it before others than this machine may reach it.
    Takes its servers from METERGATE_DATABASE_URL and METERGATE_REDIS_URL.
    """
    from service.api import app, server  # noqa: PLC0415 - only serving waits for the web framework

    settled = settings.from_environment()
    _log(settled.log_level)
    try:
        listening = server.listen(host, port)
    except server.AddressError as error:
        raise CannotRunError(str(error)) from error
    with listening:
        name = f"[{host}]" if ":" in host else host
        log.info("The API listens on http://%s:%d", name, listening.getsockname()[1])
        serving = server.make_server(app.make_app(settled))
        settling.settle()
        serving.run(sockets=[listening])


@click.command()
def worker() -> None:
    """Do what happens without a request, such as keeping usage for good.

    Run one or more beside the API; they share the work. Takes its servers from METERGATE_DATABASE_URL and
    METERGATE_REDIS_URL.
    """
    import uvloop  # noqa: PLC0415 - as above

    from jobs import worker as process  # noqa: PLC0415 - as above: the scheduler
    from jobs.schedule import JOBS  # noqa: PLC0415 - as above

    settled = settings.from_environment()
    _log(settled.log_level)
    log.info("The worker runs; its jobs: %s", ", ".join(job.name for job in JOBS))
    settling.settle()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(process.work(settled))


@click.command()
@settings.data_option
def migrate(*, data: Path | None) -> None:
    """Bring the database to the form that this version needs.

    Safe to repeat, and for several to run at once. Needs a direct connection to PostgreSQL, not one through a
    pooler.
    """
    url = settings.read(data).database_url
    try:
        done = migrations.migrate(url)
    except (psycopg.Error, migrations.MigrationError) as error:
        raise CannotRunError(f"The database could not be changed: {' '.join(str(error).split())}") from error
    for name in done:
        click.echo(f"Done: {name}")
    click.echo("The database is at this version.")


def _log(level: str) -> None:
    """To the error output: instant in UTC, level, logger, message."""
    form = logging.Formatter(
        "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S"
    )
    form.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(form)
    logging.basicConfig(level=level.upper(), handlers=[handler])
    # It repeats what it cannot do at every attempt; whoever asked for the connection says it once.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    # It warns whenever a run was still going on when the next was due, which is how the jobs are meant.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
