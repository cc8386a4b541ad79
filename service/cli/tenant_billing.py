"""`metergate tenant billing`: what payments say of a tenant, and a word by hand in its place."""

from pathlib import Path
from typing import get_args

import click
import msgspec

from policies.compiler.findings import visible
from policies.model import BillingStatus
from service.api import wire
from service.cli import given, session, settings, show, tenant_subscription
from service.usecases import billing, billing_view, disputes
from service.usecases.billing_view import BillingStatusView


class _Named(wire.Body, frozen=True):
    tenant_id: wire.TenantId


class _Disputed(_Named, frozen=True):
    dispute_id: wire.CallerId
    reason: wire.Reason


class _Said(_Named, frozen=True):
    reason: wire.Reason
    until: wire.Instant | None = None


@click.command("billing")
@click.argument("tenant_id", metavar="TENANT")
@click.argument("status", type=click.Choice(get_args(BillingStatus)), metavar="[STATUS]", required=False)
@click.option("--reason", metavar="TEXT", help="Why; it is written down. Needed with STATUS and --lift.")
@click.option(
    "--schedule", is_flag=True, help="Let the plan's days take grace on to restricted and suspended."
)
@click.option("--until", metavar="TIME", help="Until when STATUS stands in the place of what payments say.")
@click.option("--lift", is_flag=True, help="Take back what was said by hand: payments speak again.")
@settings.data_option
@show.json_option
def bill_tenant(
    *,
    tenant_id: str,
    status: BillingStatus | None,
    reason: str | None,
    schedule: bool,
    until: str | None,
    lift: bool,
    data: Path | None,
    as_json: bool,
) -> None:
    """Show the billing status of TENANT, or say that it is STATUS from now on.

    STATUS is good, grace, restricted, suspended, paused, ended or pending. What was scheduled after the
    present one is dropped. A status that holds already keeps its beginning.
    """
    if lift and status is not None:
        raise click.UsageError("STATUS and --lift exclude each other.")
    if not lift and status is None:
        if reason is not None or schedule or until is not None:
            raise click.UsageError("--reason, --schedule and --until need a STATUS.")
        _show(tenant_id, data, as_json=as_json)
        return
    if reason is None:
        raise click.UsageError("Missing option '--reason'.")
    said = given.bounded(_Said, tenant_id=tenant_id, reason=reason, until=until)
    if status is None:
        reply = session.use(data, lambda context: billing.lift(context, session.order(), tenant_id, reason))
    else:
        wish = billing.Wish(
            status=status, reason=reason, schedule=schedule, until=given.utc(said.until, "/until")
        )
        reply = session.use(data, lambda context: billing.put(context, session.order(), tenant_id, wish))
    tenant_subscription.told(reply, as_json=as_json)


@click.command("dispute")
@click.argument("tenant_id", metavar="TENANT")
@click.argument("dispute_id", metavar="DISPUTE")
@click.argument("outcome", type=click.Choice(get_args(disputes.Outcome)), metavar="OUTCOME")
@click.option("--reason", required=True, metavar="TEXT", help="How that is known; it is written down.")
@settings.data_option
@show.json_option
def settle_dispute(
    *,
    tenant_id: str,
    dispute_id: str,
    outcome: disputes.Outcome,
    reason: str,
    data: Path | None,
    as_json: bool,
) -> None:
    """Note how DISPUTE of TENANT ended: OUTCOME is won, lost or settled.

    What was lost closes everything until it is settled, which stays whatever the provider shows later.
    """
    given.bounded(_Disputed, tenant_id=tenant_id, dispute_id=dispute_id, reason=reason)
    wish = disputes.Wish(outcome=outcome, reason=reason)
    reply = session.use(
        data, lambda context: disputes.settle(context, session.order(), tenant_id, dispute_id, wish)
    )
    view = msgspec.json.decode(reply.body, type=BillingStatusView)
    if as_json:
        show.json(view)
    else:
        show_status(view)


def _show(tenant_id: str, data: Path | None, *, as_json: bool) -> None:
    given.bounded(_Named, tenant_id=tenant_id)
    view, _ = session.use(data, lambda context: billing_view.show(context, tenant_id))
    if as_json:
        show.json(view)
    else:
        show_status(view)


def show_status(view: BillingStatusView) -> None:
    """A billing status for people: in a sentence, with what was said by hand and what is to be known."""
    click.echo(f"Billing status of {view.tenant_id}: {view.status}; {visible(view.message)}")
    word = view.by_hand
    if word is not None:
        until = f"until {show.instant(word.until)}" if word.until else "until it is lifted"
        click.echo(f"  said by hand {until}: {word.status}, {visible(word.reason)}")
        click.echo(
            f"  payments alone say: {view.payments_say.status} {visible(view.payments_say.reason)}".rstrip()
        )
    for flag in view.flags:
        click.echo(
            f"  {flag.flag} of {flag.subject} since {show.instant(flag.since)}: {visible(flag.reason)}"
        )
    for thing in view.unknown:
        click.echo(f"  nobody knows what this state means: {visible(thing)}")
