"""What a payment provider says of an invoice of ours becomes its state: paid, taken back, given up."""

import logging
from datetime import datetime
from typing import Final

import msgspec

from policies import invoice as rules
from policies.charging import seen
from policies.errors import ConflictError
from policies.invoice import Act, State
from policies.payment import fact
from policies.payment.fact import PaymentFact, Rule
from service.context import Context
from service.usecases import overdue, payment_facts
from service.usecases.invoices import give_back
from store import audit, invoices, postgres, tenants
from store.charges import ChargeRow

ACTOR: Final = "job:push"
log = logging.getLogger("metergate.charging")

_ACTS: Final[dict[str, tuple[Act, State]]] = {
    "paid": ("pay", "paid"),
    "void": ("void", "void"),
    "uncollectible": ("write-off", "uncollectible"),
}
"""By the provider's status; `open` after it was given up opens it again."""


async def heard(
    connection: postgres.Connection, tenant_id: str, invoice_id: str, found: seen.Invoice, *, now: datetime
) -> bool:
    """Writes what the provider says, if that is news; False where it is none, or our state does not allow it.

    What is not allowed stays a difference, for whoever compares both sides.
    """
    act, wanted = _ACTS.get(found.status, ("reopen", "open"))
    await tenants.lock(connection, tenant_id)  # before its invoice, as whoever changes one by hand
    before = await invoices.lock(connection, invoice_id, only=tenant_id)
    if before is None or before.state == wanted or (act == "reopen" and before.state != "uncollectible"):
        return False
    try:
        standing = rules.moved(before.standing, act, "provider")
    except ConflictError as error:
        log.warning("invoice %s is %s at the provider: %s", invoice_id, found.status, error)
        return False
    if act == "void":
        await give_back(connection, before, now)
    reason = f"the payment provider has {found.ref} as {found.status}"
    after = await invoices.write_standing(connection, before, standing, at=now, reason=reason)
    line = audit.Line(
        at=now,
        actor=ACTOR,
        action=f"invoice.{act}",
        subject=invoice_id,
        before={"state": before.state, "paid": before.paid},
        after={"state": after.state, "paid": after.paid},
        tenant_id=tenant_id,
        reason=reason,
    )
    await audit.append(connection, line)
    await _learn(connection, tenant_id, payment_facts.of_invoice(after, seen_at=now, collected=True), now)
    return True


async def rule_of(context: Context, invoice_id: str) -> Rule:
    """The days of the plan that an invoice charges for; read before a transaction needs them."""
    plan = await overdue.know(context, invoice_id)
    return Rule() if plan is None else fact.rule(plan)


async def declined(
    connection: postgres.Connection,
    charge: ChargeRow,
    rule: Rule,
    *,
    attempt: int,
    reason: str,
    confirm: bool,
    now: datetime,
) -> None:
    """An attempt to take the money failed, or waits for the customer to `confirm` it."""
    look = PaymentFact(
        kind="invoice",
        subject=charge.invoice_id,
        state="action_required" if confirm else "failed",
        seen_at=now,
        since=now,
        rule=rule,
        attempts=attempt,
        reason=reason,
        link=charge.page_url,
    )
    await _learn(connection, charge.tenant_id, look, now)


async def _learn(connection: postgres.Connection, tenant_id: str, look: PaymentFact, now: datetime) -> None:
    """What follows for the billing status, with its lines; Redis hears of it from the job `announce`."""
    learned = await payment_facts.learn(connection, tenant_id, [look], now=now)
    lines = [audit.Line(at=now, actor=ACTOR, **msgspec.structs.asdict(one)) for one in learned.changed]
    await audit.append_all(connection, lines)
    if learned.decides:
        await tenants.raise_version(connection, tenant_id)
