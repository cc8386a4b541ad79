"""What a payment provider says of an invoice of ours becomes its state: paid, taken back, given up."""

import logging
from datetime import datetime
from typing import Final

import msgspec

from policies import invoice as rules
from policies.charging import seen
from policies.errors import ConflictError
from policies.invoice import Act, State
from service.usecases import overdue
from service.usecases.invoices import give_back
from store import audit, invoices, postgres, tenants

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
    restored = await overdue.restored(connection, after, now) if after.standing.due == 0 else ()
    lines = [audit.Line(at=now, actor=ACTOR, **msgspec.structs.asdict(changed)) for changed in restored]
    await audit.append_all(connection, [line, *lines])
    if restored:
        await tenants.raise_version(connection, tenant_id)
    return True
