"""Charges: what was and is to be ordered of a payment provider, kept before it is sent."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec

from policies.charging.charge import ChargeLine, Order, Planned, State, Step
from policies.charging.orders import AddCustomer, AddLine, Credit, Draft
from store import postgres
from store.queries import Queries

_SQL = Queries("charges")
_ORDERS: Final[dict[Step, type[Order]]] = {
    "customer": AddCustomer,
    "draft": Draft,
    "line": AddLine,
    "credit": Credit,
}
CUSTOMER: Final = ""
"""Stands for the invoice of an operation that makes a tenant's customer."""


class ChargeRow(msgspec.Struct, frozen=True, kw_only=True):
    """How far the collecting of an invoice is."""

    tenant_id: str
    invoice_id: str
    currency: str
    total: int
    state: State
    revision: int
    days: list[int]
    invoice_ref: str | None
    page_url: str
    opened_at: datetime | None
    next_at: datetime | None
    tries: int
    credited: int
    reason: str


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is ordered."""

    tenant_id: str
    invoice_id: str
    revision: int
    place: int
    step: Step
    subject: str
    body: str | None
    state: Literal["planned", "sending", "done", "rejected"]
    key_revision: int
    first_sent_at: datetime | None
    ref: str | None

    @property
    def key(self) -> str:
        """What the provider knows the order by."""
        whose = self.invoice_id or self.tenant_id
        return f"mg1:{whose}:{self.revision}:{self.step}:{self.subject}:{self.key_revision}"

    @property
    def order(self) -> Order:
        """What was kept.

        Errors: AssertionError for a step that has no order of its own.
        """
        assert self.body is not None, f"{self.step} needs no order"
        return msgspec.json.decode(self.body, type=_ORDERS[self.step])


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try to be paid."""

    tenant_id: str
    invoice_id: str
    attempt: int
    state: Literal["planned", "sending", "paid", "declined"] = "planned"
    due_at: datetime | None = None
    at: datetime | None = None
    code: str = ""
    reason: str = ""

    @property
    def key(self) -> str:
        """A new one for each attempt: a decline is kept under its key."""
        return f"mg1:{self.invoice_id}:pay:{self.attempt}"


class Uncharged(msgspec.Struct, frozen=True):
    """An invoice that nobody collects yet."""

    tenant_id: str
    invoice_id: str


class _CreditRow(msgspec.Struct, frozen=True):
    credit_id: str
    amount: int
    reason: str


class Held(msgspec.Struct, frozen=True):
    """A tenant that this worker works on."""

    tenant_id: str
    customer_ref: str | None
    woken_at: datetime | None
    """When the customer last had a new way to pay."""


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A charge, for people."""

    tenant_id: str
    invoice_id: str
    number: int
    currency: str
    total: int
    state: State
    invoice_ref: str | None
    next_at: datetime | None
    reason: str


class ByState(msgspec.Struct, frozen=True):
    """How many charges are in a state."""

    state: State
    charges: int


async def uncharged(
    connection: postgres.Connection, account: str, *, now: datetime, limit: int
) -> list[Uncharged]:
    """Open invoices that nobody collects yet; none from before the account was first worked with."""
    await postgres.execute(connection, _SQL.begin_account, {"account": account, "now": now})
    params = {"account": account, "limit": limit}
    return await postgres.rows(connection, _SQL.uncharged, params, Uncharged)


async def add(
    connection: postgres.Connection,
    whose: Uncharged,
    planned: Sequence[Planned],
    *,
    customer: Planned,
    currency: str,
    total: int,
    days: Sequence[int],
    now: datetime,
) -> None:
    """Plans a charge: from here on it is carried out, whoever dies."""
    ids: dict[str, object] = {"tenant_id": whose.tenant_id, "invoice_id": whose.invoice_id}
    await postgres.execute(connection, _SQL.add_payer, ids)
    fields: dict[str, object] = {"currency": currency, "total": total, "days": list(days), "now": now}
    await postgres.execute(connection, _SQL.add_charge, ids | fields)
    await add_operations(connection, whose.tenant_id, CUSTOMER, [customer], revision=0)
    await add_operations(connection, whose.tenant_id, whose.invoice_id, planned, revision=1)


async def lines(connection: postgres.Connection, whose: Uncharged) -> list[ChargeLine]:
    """What an invoice of ours is to be charged for."""
    return await postgres.rows(connection, _SQL.lines, msgspec.structs.asdict(whose), ChargeLine)


async def notice_settled(connection: postgres.Connection, *, now: datetime) -> None:
    """Charges whose invoice was settled or lowered by hand are due."""
    await postgres.execute(connection, _SQL.notice_settled, {"now": now})


async def add_operations(
    connection: postgres.Connection,
    tenant_id: str,
    invoice_id: str,
    planned: Sequence[Planned],
    *,
    revision: int,
    first: int = 0,
) -> None:
    """Keeps what is to be ordered, in its order."""
    rows = [
        {
            "tenant_id": tenant_id,
            "invoice_id": invoice_id,
            "revision": revision,
            "place": place,
            "step": one.step,
            "subject": one.subject,
            "body": None if one.order is None else msgspec.json.encode(one.order).decode(),
        }
        for place, one in enumerate(planned, start=first)
    ]
    await postgres.execute_each(connection, _SQL.add_operation, rows)


async def lease(
    connection: postgres.Connection, holder: str, *, now: datetime, until: datetime, limit: int
) -> list[str]:
    """Tenants with something due, for this worker alone until an instant."""
    params = {"holder": holder, "now": now, "until": until, "limit": limit}
    return await postgres.scalars(connection, _SQL.lease, params)


async def hold(
    connection: postgres.Connection, tenant_id: str, holder: str, *, until: datetime
) -> Held | None:
    """Holds on to a tenant; None if another worker has taken over."""
    params = {"tenant_id": tenant_id, "holder": holder, "until": until}
    return await postgres.row(connection, _SQL.hold, params, Held)


async def let_go(connection: postgres.Connection, tenant_id: str, holder: str) -> None:
    """The tenant is free for others."""
    await postgres.execute(connection, _SQL.let_go, {"tenant_id": tenant_id, "holder": holder})


async def due(connection: postgres.Connection, tenant_id: str, *, now: datetime) -> list[str]:
    """The invoices of a tenant's charges that are due."""
    return await postgres.scalars(connection, _SQL.due, {"tenant_id": tenant_id, "now": now})


async def find(connection: postgres.Connection, tenant_id: str, invoice_id: str) -> ChargeRow | None:
    """One charge."""
    params = {"tenant_id": tenant_id, "invoice_id": invoice_id}
    return await postgres.row(connection, _SQL.charge, params, ChargeRow)


async def find_by_ref(connection: postgres.Connection, invoice_ref: str) -> ChargeRow | None:
    """The charge behind an invoice of the provider."""
    return await postgres.row(connection, _SQL.charge_by_ref, {"invoice_ref": invoice_ref}, ChargeRow)


async def operations(connection: postgres.Connection, charge: ChargeRow) -> list[Operation]:
    """What makes a charge, the customer first."""
    params = _whose(charge) | {"revision": charge.revision}
    return await postgres.rows(connection, _SQL.operations, params, Operation)


async def send(connection: postgres.Connection, operation: Operation, *, now: datetime) -> None:
    """Notes that it may happen from now on."""
    await postgres.execute(connection, _SQL.send, _place(operation) | {"now": now})


async def finish(
    connection: postgres.Connection,
    operation: Operation,
    ref: str | None,
    *,
    state: Literal["done", "rejected"] = "done",
) -> None:
    """Notes what became of it; of a customer also whose it is."""
    await postgres.execute(connection, _SQL.finish, _place(operation) | {"ref": ref, "state": state})
    if operation.step == "customer" and state == "done":
        params = {"tenant_id": operation.tenant_id, "customer_ref": ref}
        await postgres.execute(connection, _SQL.know_customer, params)


async def renew(connection: postgres.Connection, operation: Operation) -> None:
    """It is to be sent once more, with a new key."""
    await postgres.execute(connection, _SQL.renew, _place(operation))


async def know_invoice(connection: postgres.Connection, operation: Operation, ref: str) -> None:
    """The draft of a charge is there."""
    await postgres.execute(connection, _SQL.know_invoice, _place(operation) | {"ref": ref})


async def repeat(connection: postgres.Connection, charge: ChargeRow) -> None:
    """All of its operations are ordered once more, under the next revision."""
    await postgres.execute(connection, _SQL.repeat, _whose(charge) | {"revision": charge.revision})


async def credits_of(connection: postgres.Connection, charge: ChargeRow) -> list[Credit]:
    """What its invoice was lowered by, with the provider's id of the invoice still to be filled in."""
    found = await postgres.rows(connection, _SQL.credits, _whose(charge), _CreditRow)
    return [
        Credit(invoice_ref="", credit_id=one.credit_id, amount=one.amount, reason=one.reason) for one in found
    ]


async def count_operations(connection: postgres.Connection, charge: ChargeRow) -> int:
    """Where the next operation has its place."""
    params = _whose(charge) | {"revision": charge.revision}
    found: list[int] = await postgres.scalars(connection, _SQL.count_operations, params)
    return found[0]


async def write(connection: postgres.Connection, charge: ChargeRow) -> None:
    """How far it is by now."""
    await postgres.execute(connection, _SQL.write_charge, msgspec.structs.asdict(charge))


async def attempts(connection: postgres.Connection, charge: ChargeRow) -> list[Attempt]:
    """All tries, the first one first."""
    return await postgres.rows(connection, _SQL.attempts, _whose(charge), Attempt)


async def write_attempt(connection: postgres.Connection, attempt: Attempt) -> None:
    """A try, and what came of it."""
    await postgres.execute(connection, _SQL.write_attempt, msgspec.structs.asdict(attempt))


async def wake(connection: postgres.Connection, tenant_id: str, *, now: datetime) -> None:
    """The customer has a new way to pay."""
    await postgres.execute(connection, _SQL.wake, {"tenant_id": tenant_id, "now": now})


async def listed(connection: postgres.Connection, *, state: State | None, limit: int) -> list[Listed]:
    """Charges, the newest first; of one state, if it is given."""
    return await postgres.rows(connection, _SQL.listed, {"state": state, "limit": limit}, Listed)


async def lock(connection: postgres.Connection, invoice_id: str) -> Listed | None:
    """The charge of an invoice, held until the transaction ends."""
    return await postgres.row(connection, _SQL.lock_charge, {"invoice_id": invoice_id}, Listed)


async def resume(connection: postgres.Connection, charge: Listed, *, now: datetime) -> None:
    """A charge that was stopped goes on; what was rejected of it is ordered again."""
    whose: dict[str, object] = {"tenant_id": charge.tenant_id, "invoice_id": charge.invoice_id}
    await postgres.execute(connection, _SQL.resume, whose | {"now": now})
    await postgres.execute(connection, _SQL.retry_rejected, whose)


async def count_by_state(connection: postgres.Connection) -> dict[State, int]:
    """How many charges there are in each state that has some."""
    rows = await postgres.rows(connection, _SQL.count_by_state, {}, ByState)
    return {row.state: row.charges for row in rows}


async def tenant_of(connection: postgres.Connection, customer_ref: str) -> str | None:
    """Whose customer it is; None for a stranger's."""
    found = await postgres.scalars(connection, _SQL.tenant_of, {"customer_ref": customer_ref})
    return found[0] if found else None


def _whose(charge: ChargeRow) -> dict[str, object]:
    return {"tenant_id": charge.tenant_id, "invoice_id": charge.invoice_id}


def _place(operation: Operation) -> dict[str, object]:
    return {
        "tenant_id": operation.tenant_id,
        "invoice_id": operation.invoice_id,
        "revision": operation.revision,
        "place": operation.place,
    }
