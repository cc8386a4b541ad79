"""How far invoices are collected, for people; and what a machine stopped goes on when a person says so."""

from datetime import datetime

import msgspec

from policies import errors, invoice, money
from policies.charging.charge import State
from service.context import Context
from service.usecases import changes
from service.usecases.changes import Changed, Done, Order, Reply
from store import charges, postgres
from store.charges import Listed


class ChargeView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One invoice that a payment provider collects."""

    tenant_id: str
    invoice_id: str
    number: str
    total: str
    currency: str
    state: State
    invoice_ref: str | None
    """The provider's id of it."""
    next_at: datetime | None
    reason: str


async def listed(context: Context, *, state: State | None, limit: int) -> list[ChargeView]:
    """The newest first; of one state, if it is given.

    Errors: UnavailableError.
    """
    async with postgres.transaction(context.pool) as connection:
        return [_view(one) for one in await charges.listed(connection, state=state, limit=limit)]


async def resume(context: Context, order: Order, invoice_id: str, *, reason: str) -> Reply:
    """Lets a charge that was stopped go on, after somebody has looked at what is at the provider.

    It goes on with a look: what is still not as it was sent stops it again.
    Errors: NotFoundError; ConflictError for one that was not stopped; UnavailableError.
    """

    async def act(connection: postgres.Connection, now: datetime) -> Done:
        found = await charges.lock(connection, invoice_id)
        if found is None:
            raise errors.NotFoundError(f'Nobody collects an invoice "{invoice_id}".')
        if found.state != "stopped":
            raise errors.ConflictError(f"The charge of {invoice_id} was not stopped: it is {found.state}.")
        await charges.resume(connection, found, now=now)
        after = await charges.lock(connection, invoice_id)
        assert after is not None, "a charge is never deleted"
        changed = Changed(
            action="charge.resume",
            subject=invoice_id,
            tenant_id=found.tenant_id,
            before=_view(found),
            after=_view(after),
            reason=reason,
        )
        return Done(result=_view(after), changed=[changed])

    return await changes.carry_out(context, order, act, route="charge.resume", request=(invoice_id, reason))


def _view(one: Listed) -> ChargeView:
    return ChargeView(
        tenant_id=one.tenant_id,
        invoice_id=one.invoice_id,
        number=invoice.number("invoice", one.number),
        total=money.written(one.total, one.currency),
        currency=one.currency,
        state=one.state,
        invoice_ref=one.invoice_ref,
        next_at=one.next_at,
        reason=one.reason,
    )
