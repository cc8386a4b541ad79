"""The table: what the state of a thing says of the tenant's billing status.

One row for each state of each kind of thing, in the order of the thing's life. Nothing else knows what a
state means; `tests/data/billing-status.yaml` has a case for each row.
"""

from typing import Final, Literal

import msgspec

from policies.model import BillingStatus
from policies.payment.fact import Kind

Flag = Literal["action_required", "inquiry", "disputed", "dispute_lost", "refunded", "fraud_warning"]
From = Literal["since", "due"]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What one state says. Without a status it says nothing of it: it is settled, or never was owed."""

    gives: BillingStatus | None = None
    starts: From = "since"
    """Whether it begins when it happened, or when the thing is due; without such a day it says nothing."""
    runs: bool = False
    """The plan's days take `grace` on to `restricted`, and that to `suspended`."""
    final: bool = False
    """Whatever is seen later, this stays: such a thing does not come back, another one takes its place."""
    flag: Flag | None = None
    says: str = ""
    """What happened, for people."""


TABLE: Final[dict[Kind, dict[str, Row]]] = {
    "invoice": {
        "draft": Row(),
        "open": Row(gives="grace", starts="due", runs=True, says="an invoice is overdue"),
        "failed": Row(gives="grace", runs=True, says="payment failed"),
        "action_required": Row(
            gives="grace", runs=True, flag="action_required", says="a payment waits for the customer"
        ),
        "exhausted": Row(gives="suspended", says="the last attempt to pay failed"),
        "uncollectible": Row(gives="suspended", says="an invoice was given up"),
        "credited": Row(says="credited"),
        "void": Row(says="taken back"),
        "paid": Row(says="paid"),
    },
    "subscription": {
        "incomplete": Row(gives="pending", says="the first payment has not come"),
        "trialing": Row(says="in trial"),
        "active": Row(says="paid"),
        "past_due": Row(gives="grace", runs=True, says="payment failed"),
        "unpaid": Row(gives="suspended", says="the last attempt to pay failed"),
        "paused": Row(gives="paused", says="the subscription was paused"),
        "paused:pause_requested": Row(gives="paused", says="the subscription was paused"),
        "paused:trial_end_without_payment_method": Row(
            gives="pending", says="the trial ended without a way to pay"
        ),
        "paused:first_payment_failure": Row(gives="pending", says="the first payment failed"),
        "paused:final_payment_failure": Row(gives="suspended", says="the last attempt to pay failed"),
        "incomplete_expired": Row(gives="ended", final=True, says="the first payment never came"),
        "canceled": Row(gives="ended", final=True, says="the subscription was cancelled"),
    },
    "dispute": {
        "warning_needs_response": Row(flag="inquiry", says="the bank asks about a payment"),
        "warning_under_review": Row(flag="inquiry", says="the bank asks about a payment"),
        "warning_closed": Row(says="the bank's question is closed"),
        "needs_response": Row(gives="restricted", flag="disputed", says="a payment is disputed"),
        "under_review": Row(gives="restricted", flag="disputed", says="a payment is disputed"),
        "appeal_needs_response": Row(gives="restricted", flag="disputed", says="a payment is disputed"),
        "appeal_under_review": Row(gives="restricted", flag="disputed", says="a payment is disputed"),
        "lost": Row(gives="suspended", flag="dispute_lost", says="a disputed payment was lost"),
        "prevented": Row(flag="refunded", says="a dispute was prevented"),
        "won": Row(says="a dispute was won"),
        "settled": Row(final=True, says="what a dispute took was settled"),
    },
    "refund": {
        "pending": Row(),
        "failed": Row(),
        "canceled": Row(),
        "partial": Row(flag="refunded", says="a payment was given back in part"),
        "full": Row(flag="refunded", says="a payment was given back"),
    },
    "warning": {
        "open": Row(flag="fraud_warning", says="a payment may be fraud"),
        "closed": Row(says="a fraud warning is closed"),
    },
    "customer": {
        "here": Row(),
        "deleted": Row(gives="ended", final=True, says="the customer was deleted at the provider"),
    },
}

WORST: Final[tuple[BillingStatus, ...]] = (
    "good",
    "grace",
    "restricted",
    "pending",
    "paused",
    "suspended",
    "ended",
)
"""Of several things the worst counts; this is the order."""


def row(kind: Kind, state: str) -> Row | None:
    """What a state says; None for one that nobody knows."""
    return TABLE.get(kind, {}).get(state)


def place(kind: Kind, state: str) -> int:
    """How late in the life of the thing a known state comes."""
    return list(TABLE[kind]).index(state)


def badness(status: BillingStatus) -> int:
    """A number that is higher for what takes more away."""
    return WORST.index(status)
