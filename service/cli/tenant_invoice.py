"""`metergate tenant preview`: what a tenant would owe."""

from pathlib import Path

import click

from policies import money
from service.api import wire
from service.cli import given, session, settings, show
from service.usecases import invoice_preview
from service.usecases.invoice_preview import Preview
from service.usecases.line_view import LineView
from service.usecases.subscription_view import PeriodView


class _Named(wire.Body, frozen=True):
    tenant_id: wire.TenantId


@click.command("preview")
@click.argument("tenant_id", metavar="TENANT")
@settings.data_option
@show.json_option
def preview_invoice(*, tenant_id: str, data: Path | None, as_json: bool) -> None:
    """Show what TENANT would owe for its present billing period, with usage up to now.

    Prices are those of the whole period by what is known of it. Nothing is stored, and nothing is charged.
    """
    given.bounded(_Named, tenant_id=tenant_id)
    found = session.use(data, lambda context: invoice_preview.of_tenant(context, tenant_id))
    if as_json:
        show.json(found)
    else:
        _show(found)


def _show(found: Preview) -> None:
    click.echo(f"What {found.tenant_id} would owe: {money.human(found.total, found.currency)}")
    rows = [("plan", f"{found.plan_id} ({found.plan_version})"), ("period", _span(found.period))]
    if found.usage_period != found.period:
        rows.append(("usage of", _span(found.usage_period)))
    show.fields([*rows, ("usage up to", show.instant(found.as_of))])
    if not found.lines:
        return
    click.echo()
    show.table(
        ["FOR", "QUANTITY", "AT", "AMOUNT", "SOURCE"],
        [
            (
                line.description,
                show.number(line.quantity),
                _price(line, found.currency),
                money.human(line.amount, found.currency),
                line.source,
            )
            for line in found.lines
        ],
    )


def _price(line: LineView, currency: str) -> str:
    """`0.50 for each 1,000 begun`."""
    price = money.priced(line.unit_amount, currency)
    return price if line.package_size is None else f"{price} for each {show.number(line.package_size)} begun"


def _span(period: PeriodView) -> str:
    return f"{show.instant(period.start)} until {show.instant(period.end)}"
