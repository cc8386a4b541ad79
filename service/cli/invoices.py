"""`metergate invoices`: what was invoiced, what became of it, and closing a period by hand."""

from pathlib import Path

import click
import msgspec

from policies import money
from policies.invoice import Act
from service.api import wire
from service.cli import given, session, settings, show
from service.cli.group import Group
from service.context import Context
from service.usecases import closing
from service.usecases import invoices as usecases
from service.usecases.closing import Closed
from service.usecases.invoice_view import InvoiceSummary, InvoiceView
from service.usecases.invoices import Wish
from service.usecases.line_view import LineView
from store.invoices import LAST


class _Named(wire.Body, frozen=True):
    tenant_id: wire.TenantId | None = None
    invoice_id: wire.CallerId | None = None
    reason: wire.Reason | None = None


@click.group("invoices", cls=Group)
def invoices() -> None:
    """See invoices, and say what became of one."""


@invoices.command("list")
@click.argument("tenant_id", metavar="TENANT")
@given.limit_option
@click.option("--before", type=click.IntRange(1), metavar="NUMBER", help="Only those with a lower number.")
@settings.data_option
@show.json_option
def list_invoices(
    *, tenant_id: str, limit: int, before: int | None, data: Path | None, as_json: bool
) -> None:
    """List the invoices of TENANT, the newest first."""
    given.bounded(_Named, tenant_id=tenant_id)
    page = session.use(
        data, lambda context: usecases.page(context, tenant_id, limit=limit, before=before or LAST)
    )
    if as_json:
        show.json(page)
        return
    show.table(
        ["NUMBER", "INVOICE", "UNTIL", "TOTAL", "STATE", "DUE"],
        [
            (
                one.number,
                one.invoice_id,
                show.instant(one.period.end),
                money.human(one.total, one.currency),
                one.state,
                money.human(one.due, one.currency),
            )
            for one in page.items
        ],
    )
    if page.next_cursor:
        show.note(f"There are more: --before {page.next_cursor}")


@invoices.command("show")
@click.argument("invoice_id", metavar="INVOICE")
@click.option("--html", "as_html", is_flag=True, help="Print the page that can be printed on paper.")
@settings.data_option
@show.json_option
def show_invoice(*, invoice_id: str, as_html: bool, data: Path | None, as_json: bool) -> None:
    """Show INVOICE with its lines and credit notes."""
    from service.api import invoice_page  # noqa: PLC0415 - only where it is wanted

    given.bounded(_Named, invoice_id=invoice_id)
    found, _ = session.use(data, lambda context: usecases.get(context, invoice_id, only=None))
    if as_html:
        click.echo(invoice_page.of(found), nl=False)
    elif as_json:
        show.json(found)
    else:
        _show(found)


@invoices.command("close")
@click.option("--tenant", "tenant_id", metavar="TENANT", help="Only the periods of this tenant.")
@settings.data_option
@show.json_option
def close_periods(*, tenant_id: str | None, data: Path | None, as_json: bool) -> None:
    """Close billing periods that are over, and issue their invoices.

    A worker does so every minute. A period is open for an hour after its end.
    """
    given.bounded(_Named, tenant_id=tenant_id)

    async def close(context: Context) -> Closed:
        return await closing.close_due(context, context.clock.now(), only=tenant_id)

    done = session.use(data, close)
    if as_json:
        show.json(done)
        return
    click.echo(f"{done.periods} periods closed, {done.invoices} invoices issued")
    if done.waiting:
        show.note(f"{done.waiting} tenants wait until all their usage is in the database")
    if done.failed:
        show.note(f"{done.failed} could not be closed; the log says why")


def _act(name: str, act: Act, says: str) -> click.Command:
    """A command that says what became of an invoice."""

    @click.argument("invoice_id", metavar="INVOICE")
    @given.reason_option
    @settings.data_option
    @show.json_option
    def command(*, invoice_id: str, reason: str, data: Path | None, as_json: bool) -> None:
        _changed(invoice_id, Wish(act=act, reason=reason), data, as_json=as_json)

    return click.command(name, help=says)(command)


@invoices.command("credit")
@click.argument("invoice_id", metavar="INVOICE")
@given.reason_option
@click.option("--amount", type=int, help="In minor units, as 1250 for 12.50; else all that is left.")
@settings.data_option
@show.json_option
def credit(*, invoice_id: str, reason: str, amount: int | None, data: Path | None, as_json: bool) -> None:
    """Issue a credit note for INVOICE.

    Of an unpaid invoice less is due; of a paid one the next invoice is lower.
    """
    _changed(invoice_id, Wish(act="credit", reason=reason, amount=amount), data, as_json=as_json)


def _changed(invoice_id: str, wish: Wish, data: Path | None, *, as_json: bool) -> None:
    given.bounded(_Named, invoice_id=invoice_id, reason=wish.reason)
    reply = session.use(data, lambda context: usecases.change(context, session.order(), invoice_id, wish))
    if as_json:
        show.json(reply.body)
    else:
        _show(msgspec.json.decode(reply.body, type=InvoiceView))


def _show(found: InvoiceView) -> None:
    click.echo(f"Invoice {found.number} of {found.tenant_id}: {money.human(found.total, found.currency)}")
    show.fields(_fields(found))
    click.echo()
    show.table(
        ["FOR", "QUANTITY", "AT", "AMOUNT", "SOURCE"],
        [
            (
                line.description,
                "" if line.kind == "carried" else show.number(line.quantity),
                _price(line, found.currency),
                money.human(line.amount, found.currency),
                line.source,
            )
            for line in found.lines
        ],
    )
    for note in found.credit_notes:
        click.echo(f"{note.number}: {money.human(-note.amount, found.currency)}, {note.reason}")


def _fields(found: InvoiceSummary) -> list[tuple[str, str]]:
    period = found.period
    return [
        ("invoice", found.invoice_id),
        ("state", f"{found.state}{': ' if found.reason else ''}{found.reason}"),
        ("to be paid", money.human(found.due, found.currency)),
        ("by", show.instant(found.due_at)),
        ("plan", f"{found.plan_id} ({found.plan_version})"),
        ("period", f"{show.instant(period.start)} until {show.instant(period.end)}"),
        ("issued", show.instant(found.issued_at)),
    ]


def _price(line: LineView, currency: str) -> str:
    """`0.50 for each 1,000 begun`."""
    if line.kind == "carried":
        return ""
    price = money.priced(line.unit_amount, currency)
    return price if line.package_size is None else f"{price} for each {show.number(line.package_size)} begun"


for _command in (
    _act("mark-paid", "pay", "Say that all that is due of INVOICE was paid."),
    _act("void", "void", "Take INVOICE back whole; its number stays, and what it charged is forgiven."),
    _act("write-off", "write-off", "Give up to collect INVOICE; it is still owed."),
):
    invoices.add_command(_command)
