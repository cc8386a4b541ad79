"""What a look at the provider says of a tenant's payments, as the facts that a billing status follows from.

A fact is a function of what was seen: whoever looks twice says the same. What becomes of our own invoices is
not told here but with their state (`service/usecases/collected.py`).
"""

from datetime import datetime
from typing import Final

from policies.charging import seen
from policies.payment.fact import PaymentFact

DELETED: Final = "deleted"


def of_payment(found: seen.Payment, *, seen_at: datetime) -> tuple[PaymentFact, ...]:
    """What of a payment was given back; nothing where nothing was."""
    if not found.amount_refunded:
        return ()
    return (
        PaymentFact(
            kind="refund",
            subject=found.ref,
            state="full" if found.amount_refunded >= found.amount else "partial",
            seen_at=seen_at,
            since=found.created_at or seen_at,
        ),
    )


def of_dispute(found: seen.Dispute, *, seen_at: datetime) -> PaymentFact:
    """A dispute, in the provider's own word for its state."""
    return PaymentFact(
        kind="dispute",
        subject=found.ref,
        state=found.status,
        seen_at=seen_at,
        since=found.created_at or seen_at,
        reason=found.reason,
    )


def of_subscription(found: seen.Subscription, *, seen_at: datetime) -> PaymentFact:
    """A subscription that the provider bills; one is paused for a reason."""
    reason = f":{found.status_reason}" if found.status == "paused" and found.status_reason else ""
    return PaymentFact(
        kind="subscription",
        subject=found.ref,
        state=found.status + reason,
        seen_at=seen_at,
        since=found.ended_at or found.created_at or seen_at,
        ends_at=found.cancels_at,
    )


def of_no_customer(ref: str, *, seen_at: datetime) -> PaymentFact:
    """A customer that was there and was deleted."""
    return PaymentFact(kind="customer", subject=ref, state=DELETED, seen_at=seen_at, since=seen_at)
