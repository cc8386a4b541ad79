"""`metergate charges`: how far invoices are collected, and what waits for a person."""

from pathlib import Path
from typing import get_args

import click

from policies.charging.charge import State
from service.api import wire
from service.cli import given, session, settings, show
from service.cli.group import Group
from service.usecases import charging

_FOUND = 1


class _Reasoned(wire.Body, frozen=True):
    reason: wire.Reason


@click.group(cls=Group)
def charges() -> None:
    """See how far invoices are collected; have stopped ones go on.

    A charge is stopped where something is not as it was sent: docs/stripe.md says what to look at.
    """


@charges.command("list")
@click.option("--state", type=click.Choice(get_args(State)), help="Only those in this state.")
@given.limit_option
@settings.data_option
@show.json_option
@click.pass_context
def list_charges(
    command: click.Context, *, state: State | None, limit: int, data: Path | None, as_json: bool
) -> None:
    """List them, newest first. Ends with 1 if one of those listed is stopped."""
    found = session.use(data, lambda context: charging.listed(context, state=state, limit=limit))
    if as_json:
        show.json({"items": found})
    else:
        show.table(
            ["INVOICE", "NUMBER", "TENANT", "TOTAL", "STATE", "NEXT", "REASON"],
            [
                (
                    one.invoice_id,
                    one.number,
                    one.tenant_id,
                    f"{one.total} {one.currency.upper()}",
                    one.state,
                    show.instant(one.next_at) if one.next_at else "",
                    one.reason,
                )
                for one in found
            ],
        )
    command.exit(_FOUND if any(one.state == "stopped" for one in found) else 0)


@charges.command("resume")
@click.argument("invoice_id", metavar="INVOICE")
@given.reason_option
@settings.data_option
@show.json_option
def resume_charge(*, invoice_id: str, reason: str, data: Path | None, as_json: bool) -> None:
    """Have the charge of INVOICE go on. It begins with a look, and stops again if nothing was mended."""
    said = given.bounded(_Reasoned, reason=reason)
    reply = session.use(
        data, lambda context: charging.resume(context, session.order(), invoice_id, reason=said.reason)
    )
    if as_json:
        show.json(reply.body)
    else:
        click.echo(f"The charge of {invoice_id} goes on.")
