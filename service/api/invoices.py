"""What a tenant owes over HTTP."""

from typing import Final

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from service.api import auth, management, tenants
from service.context import Caller, Context
from service.usecases import invoice_preview
from service.usecases.invoice_preview import Preview


@get("/v1/tenants/{tenant_id:str}/invoices/preview", opt=auth.needs("read"))
async def preview_invoice(
    tenant_id: FromPath[str], context: NamedDependency[Context], caller: NamedDependency[Caller]
) -> Response[Preview]:
    """Shows what a tenant would owe for its present billing period, with usage up to now.

    Plans and add-ons by the day, overage by its price model, each line with all that it was worked out from.
    Prices are those of the whole period by what is known of it, a scheduled change or end included. Of a
    subscription that is over it is the last period, while its counters are kept (40 days from its beginning),
    of one that is yet to begin the first. Nothing is stored.
    """
    return management.shown(await invoice_preview.of_tenant(context, tenants.own(caller, tenant_id)))


ROUTES: Final = (preview_invoice,)
"""What this module adds to the application."""
