"""Mends what the simulator leaves out and our tests build on; in its process, without touching its files."""

import contextvars

from seahaven_stripe_world import _json
from seahaven_stripe_world.billing import invoicing
from seahaven_stripe_world.dispatch import routes

_metadata: contextvars.ContextVar = contextvars.ContextVar("metadata", default=None)


def apply() -> None:
    """`POST /v1/invoices` drops the metadata that it is given; Stripe keeps it."""
    make = invoicing.create_invoice

    def make_with_metadata(ctx, **fields):
        if _metadata.get():
            extra = fields.get("extra_columns") or {}
            fields["extra_columns"] = {**extra, "metadata": _json.dumps(_metadata.get())}
        return make(ctx, **fields)

    invoicing.create_invoice = make_with_metadata
    route = next(each for each in routes.ALL if each.op_id == "PostInvoices")
    handle = route.handler

    def handle_with_metadata(ctx, request):
        given = None if request.metadata is None else dict(request.metadata.apply({}))
        token = _metadata.set(given)
        try:
            return handle(ctx, request)
        finally:
            _metadata.reset(token)

    object.__setattr__(route, "handler", handle_with_metadata)
