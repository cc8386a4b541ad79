"""What a tenant owes over HTTP: what it would be, what was invoiced, and what became of it."""

import re
from typing import Annotated, Final, cast

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Meta

from policies import errors, limits
from service.api import auth, decode, invoice_page, management, openapi, tenants, wire
from service.api.decode import AnyRequest
from service.context import Caller, Context
from service.usecases import invoice_preview, invoices
from service.usecases.changes import Order
from service.usecases.invoice_preview import Preview
from service.usecases.invoice_view import InvoicePage, InvoiceView
from service.usecases.invoices import Wish
from store.invoices import LAST

_PATH: Final = "/v1/invoices/{invoice_id:str}"
_HTML: Final = "text/html"


class InvoiceQuery(wire.Body, frozen=True):
    """One page."""

    limit: wire.Limit = limits.LIST_LIMIT_DEFAULT
    cursor: wire.Cursor | None = None


class SettleBody(wire.Body, frozen=True):
    """What was seen or decided, for whoever reads the books: `transfer 4711 of 3 December`."""

    reason: wire.Reason


class CreditBody(wire.Body, frozen=True):
    """How much of an invoice is taken back, and why."""

    reason: wire.Reason
    amount: Annotated[
        int | None,
        Meta(description="In minor units of its currency; all that is left of it when it is not said."),
    ] = None


@get("/v1/tenants/{tenant_id:str}/invoices/preview", opt=auth.needs("read"))
async def preview_invoice(
    tenant_id: FromPath[str], context: NamedDependency[Context], caller: NamedDependency[Caller]
) -> Response[Preview]:
    """Shows what a tenant would owe for its present billing period, with usage up to now.

    Plans and add-ons by the day, overage by its price model, each line with all that it was worked out from.
    Prices are those of the whole period by what is known of it, a scheduled change or end included; what
    earlier invoices charged is taken off, and what came late for them is adjusted. Of a subscription that is
    over it is the last period, while its counters are kept (40 days from its beginning) and until that is
    invoiced, of one that is yet to begin the first. Nothing is stored.
    """
    return management.shown(await invoice_preview.of_tenant(context, tenants.own(caller, tenant_id)))


@get("/v1/tenants/{tenant_id:str}/invoices", opt=auth.needs("read") | openapi.asks(InvoiceQuery))
async def list_invoices(
    request: AnyRequest,
    tenant_id: FromPath[str],
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
) -> Response[InvoicePage]:
    """Lists a tenant's invoices, the newest first, without their lines."""
    tenant_id = tenants.own(caller, tenant_id)
    wanted = decode.query(request, InvoiceQuery)
    page = await invoices.page(
        context, tenant_id, limit=wanted.limit, before=_before(management.after(wanted.cursor))
    )
    return management.shown(InvoicePage(items=page.items, next_cursor=management.cursor(page.next_cursor)))


@get(_PATH, opt=auth.needs("read") | openapi.answers(headers=["ETag"], types=[_HTML]))
async def get_invoice(
    request: AnyRequest,
    invoice_id: FromPath[str],
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
) -> Response[InvoiceView]:
    """Shows an invoice with its lines and credit notes: JSON, or a page to be printed, as `Accept` asks.

    Each line names its feature, period, quantity, tier, price, and the line of the plan files that says it.
    """
    invoice_id = decode.path(invoice_id, wire.CallerId, "invoiceId")
    view, etag = await invoices.get(context, invoice_id, only=caller.tenant_id)
    if not _wants_html(request.headers.get("accept", "")):
        return management.shown(view, etag)
    page = cast("InvoiceView", invoice_page.of(view).encode())
    headers = {"etag": etag, "content-security-policy": invoice_page.POLICY}
    return Response(page, media_type=_HTML, headers=headers)


@post(
    _PATH + "/mark-paid",
    status_code=200,
    opt=auth.needs("manage") | openapi.takes(SettleBody) | openapi.writes(),
)
async def mark_invoice_paid(
    request: AnyRequest,
    invoice_id: FromPath[str],
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
) -> Response[InvoiceView]:
    """Says that all that is due of an invoice was paid, outside of any payment provider."""
    body = await decode.body(request, SettleBody, strict_keys=True)
    order = management.order(request, caller)
    return await _changed(context, order, invoice_id, Wish(act="pay", reason=body.reason))


@post(
    _PATH + "/void",
    status_code=200,
    opt=auth.needs("manage") | openapi.takes(SettleBody) | openapi.writes(),
)
async def void_invoice(
    request: AnyRequest,
    invoice_id: FromPath[str],
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
) -> Response[InvoiceView]:
    """Takes an unpaid invoice back whole; its number stays. What it charged is not charged again."""
    body = await decode.body(request, SettleBody, strict_keys=True)
    order = management.order(request, caller)
    return await _changed(context, order, invoice_id, Wish(act="void", reason=body.reason))


@post(
    _PATH + "/write-off",
    status_code=200,
    opt=auth.needs("manage") | openapi.takes(SettleBody) | openapi.writes(),
)
async def write_off_invoice(
    request: AnyRequest,
    invoice_id: FromPath[str],
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
) -> Response[InvoiceView]:
    """Gives up to collect an invoice. It is still owed, and can still be paid."""
    body = await decode.body(request, SettleBody, strict_keys=True)
    order = management.order(request, caller)
    return await _changed(context, order, invoice_id, Wish(act="write-off", reason=body.reason))


@post(
    _PATH + "/credit",
    status_code=200,
    opt=auth.needs("manage") | openapi.takes(CreditBody) | openapi.writes(),
)
async def credit_invoice(
    request: AnyRequest,
    invoice_id: FromPath[str],
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
) -> Response[InvoiceView]:
    """Issues a credit note for an invoice, or for a part of it.

    Of an unpaid invoice less is due; once nothing is, it is `credited`. Of a paid one the next invoice is
    lower by it.
    """
    body = await decode.body(request, CreditBody, strict_keys=True)
    order = management.order(request, caller)
    wish = Wish(act="credit", reason=body.reason, amount=body.amount)
    return await _changed(context, order, invoice_id, wish)


async def _changed(context: Context, order: Order, invoice_id: str, wish: Wish) -> Response[InvoiceView]:
    if order.caller.tenant_id is not None:
        raise errors.ForbiddenError("This key belongs to a tenant, who cannot say what was paid or is owed.")
    invoice_id = decode.path(invoice_id, wire.CallerId, "invoiceId")
    return management.replied(await invoices.change(context, order, invoice_id, wish), InvoiceView)


def _before(after: str) -> int:
    """The number that a page begins behind."""
    if not after:
        return LAST
    if re.fullmatch(r"[1-9][0-9]{0,17}", after) is None:
        raise errors.invalid("?cursor", "A cursor is the `nextCursor` of the page before, as it came.")
    return int(after)


def _wants_html(accept: str) -> bool:
    """Whether a page comes before JSON among what is asked for."""
    for part in accept.lower().split(","):
        kind = part.partition(";")[0].strip()
        if kind in ("application/json", "*/*"):
            return False
        if kind == _HTML:
            return True
    return False


ROUTES: Final = (
    preview_invoice,
    list_invoices,
    get_invoice,
    mark_invoice_paid,
    void_invoice,
    write_off_invoice,
    credit_invoice,
)
"""What this module adds to the application."""
