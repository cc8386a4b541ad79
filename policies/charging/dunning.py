"""When is a payment tried, and tried again? By the days of the plan, until they are over."""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

from policies.model import PlanVersion

DAYS: Final = (0, 2, 7, 14, 21)
"""Of a plan that declares none, after the invoice is final: at once, then 2, 5, 7 and 7 days apart."""
_CUSTOMER: Final = frozenset(
    {
        "authentication_required",
        "highest_risk_level",
        "incorrect_number",
        "invalid_account",
        "invoice_payment_intent_requires_action",
        "lost_card",
        "pickup_card",
        "revocation_of_all_authorizations",
        "revocation_of_authorization",
        "stolen_card",
        "stop_payment_order",
        "transaction_not_allowed",
    }
)
"""Declines that the same card repeats: only the customer can go on."""
CONFIRM: Final = frozenset({"authentication_required", "invoice_payment_intent_requires_action"})
"""Those of them that the customer can confirm with the same card."""
PROVIDER_FAULT: Final = "provider_fault"
"""The provider failed, not the payment: tried again as after a decline, and nobody is behind by it."""

After = Literal["again", "wait", "give up"]


def schedule(plan: PlanVersion) -> tuple[int, ...]:
    """The days of the attempts: those that the plan declares; else those before it suspends, 0 always."""
    if plan.attempt_days is not None:
        return plan.attempt_days
    return tuple(day for day in DAYS if day == 0 or day < plan.grace_days + plan.restricted_days)


def due(days: Sequence[int], attempt: int, opened_at: datetime) -> datetime | None:
    """When an attempt (from 1) is due; None where the days are over."""
    return opened_at + timedelta(days=days[attempt - 1]) if attempt <= len(days) else None


def after(code: str, days: Sequence[int], attempt: int) -> After:
    """What follows when an attempt was declined."""
    if code in _CUSTOMER:
        return "wait"
    return "again" if attempt < len(days) else "give up"


def backoff_s(tries: int, salt: str) -> float:
    """How long to wait after so many tries: doubled each time up to 5 minutes, and not the same for two."""
    spread = hashlib.sha256(f"{salt} {tries}".encode()).digest()[0] / 255
    return float(min(300, 2 ** min(tries, 9)) * (0.5 + spread / 2))
