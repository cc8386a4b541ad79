"""`metergate incidents`: what happened to the journal of usage that never should."""

from pathlib import Path

import click

from service.api import wire
from service.cli import given, session, settings, show
from service.cli.group import Group
from service.usecases import incidents as usecase

_FOUND = 1


class _Reasoned(wire.Body, frozen=True):
    reason: wire.Reason


@click.group(cls=Group)
def incidents() -> None:
    """See what happened to usage that never should, and say what you made of it.

    Entries that a server has lost, that are damaged, or that the database refuses. Each is told once, and
    shown by /health/ready until it is closed; docs/operations.md says what to do.
    """


@incidents.command("list")
@click.option("--all", "closed", is_flag=True, help="Also those that somebody has closed.")
@given.limit_option
@settings.data_option
@show.json_option
@click.pass_context
def list_incidents(
    command: click.Context, *, closed: bool, limit: int, data: Path | None, as_json: bool
) -> None:
    """List what is open, newest first. Ends with 1 if something is."""
    found = session.use(data, lambda context: usecase.listed(context, closed=closed, limit=limit))
    if as_json:
        show.json({"items": found})
    else:
        show.table(
            ["INCIDENT", "FOUND", "KIND", "SHARD", "ENTRIES", "DETAIL", "CLOSED"],
            [
                (
                    str(one.incident_id),
                    show.instant(one.found_at),
                    one.kind,
                    str(one.shard),
                    show.number(one.entries),
                    one.detail,
                    f"{show.instant(one.closed_at)} by {one.closed_by}: {one.reason}"
                    if one.closed_at
                    else "",
                )
                for one in found
            ],
        )
    command.exit(_FOUND if any(one.closed_at is None for one in found) else 0)


@incidents.command("close")
@click.argument("incident_id", type=click.IntRange(min=1), metavar="INCIDENT")
@given.reason_option
@settings.data_option
@show.json_option
def close_incident(*, incident_id: int, reason: str, data: Path | None, as_json: bool) -> None:
    """Close INCIDENT: say what you made of it. It stays in the list with --all."""
    said = given.bounded(_Reasoned, reason=reason)
    reply = session.use(
        data, lambda context: usecase.close(context, session.order(), incident_id, reason=said.reason)
    )
    if as_json:
        show.json(reply.body)
    else:
        click.echo(f"Incident {incident_id} is closed.")
