"""What is known of a payment: one look at one thing, or a word by hand. Facts are added, never changed.

A fact says in which state a thing was when it was looked at. A later look is nearer to the truth than an
earlier one, in whatever order they come to us; of two at the same instant the state counts that comes later
in the life of the thing (`policies.payment.table`).
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from policies.model import BillingStatus, Noun, PlanVersion

Kind = Literal["invoice", "subscription", "dispute", "refund", "warning", "customer", "hand"]
LIFTED = "lifted"
"""The state of a word by hand that is taken back."""


class Rule(Noun, frozen=True, kw_only=True, omit_defaults=False):
    """What a plan gives to who is behind: days of everything, then days of what is included."""

    grace_days: int = 0
    restricted_days: int = 0


class PaymentFact(Noun, frozen=True, kw_only=True):
    """One look at one thing, or one word. Times: `since` is the thing's, `seen_at` is ours."""

    kind: Kind
    subject: str = ""
    """The thing: our id of an invoice, the provider's of anything else; empty for a word by hand."""
    state: str
    """Of `policies.payment.table`; a provider's word that stands in no row is kept, and changes nothing."""
    seen_at: datetime
    """When the look began, or the word was said."""
    since: datetime
    """When what the state tells happened: the attempt that failed, the payment, the end."""
    subscription_id: str = ""
    """Of ours, that alone is meant; empty: all that the tenant has."""
    rule: Rule = Rule()
    """Of the plan that is charged, for a payment that fails."""
    due_at: datetime | None = None
    """Of an open invoice that somebody is to pay by a day; None: it is collected; a failure counts."""
    ends_at: datetime | None = None
    """Of a subscription: when it will have ended; of a word by hand: until when it stands."""
    attempts: int = 0
    reason: str = ""
    """Why, in the words of the provider or of the person."""
    link: str = ""
    """Where the customer can pay or confirm."""


def rule(plan: PlanVersion) -> Rule:
    """Of a plan; one that declares no days gives none."""
    return Rule(grace_days=plan.grace_days, restricted_days=plan.restricted_days)


def word(
    status: BillingStatus, *, now: datetime, subscription_id: str, reason: str, until: datetime | None = None
) -> PaymentFact:
    """A word by hand about one subscription."""
    return PaymentFact(
        kind="hand",
        state=status,
        seen_at=now,
        since=now,
        subscription_id=subscription_id,
        ends_at=until,
        reason=reason,
    )


def lifted(*, now: datetime, subscription_id: str, reason: str) -> PaymentFact:
    """The word that takes the last one back."""
    return PaymentFact(
        kind="hand", state=LIFTED, seen_at=now, since=now, subscription_id=subscription_id, reason=reason
    )


def word_at(facts: Iterable[PaymentFact], subscription_id: str, at: datetime) -> PaymentFact | None:
    """The word by hand that stands at an instant; None where payments speak for themselves."""
    last = max(_words(facts, subscription_id), key=order, default=None)
    if last is None or last.state == LIFTED or (last.ends_at is not None and last.ends_at <= at):
        return None
    return last


def said_after(facts: Iterable[PaymentFact], new: PaymentFact) -> PaymentFact:
    """The word, told apart from those that were said at the same instant: the last one stands."""
    last = max((one.seen_at for one in _words(facts, new.subscription_id)), default=None)
    if last is None or last < new.seen_at:
        return new
    return msgspec.structs.replace(new, seen_at=last + timedelta(microseconds=1))


def _words(facts: Iterable[PaymentFact], subscription_id: str) -> list[PaymentFact]:
    return [one for one in facts if one.kind == "hand" and one.subscription_id == subscription_id]


def order(fact: PaymentFact) -> tuple[datetime, datetime, bytes]:
    """Of two facts about one thing the later one; total, so that the order of arrival bears on nothing."""
    return fact.seen_at, fact.since, msgspec.json.encode(fact)
