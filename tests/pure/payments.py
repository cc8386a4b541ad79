"""Reads the cases of tests/data/billing-status.yaml, as the README beside it tells."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
from ruamel.yaml import YAML

from policies.payment.fact import PaymentFact, Rule

FILE = Path(__file__).parents[1] / "data" / "billing-status.yaml"
YEAR = 2026
THINGS = ("invoice", "subscription", "dispute", "refund", "warning", "customer")


class Days(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the plan gives."""

    grace: int = 7
    restricted: int = 14


class Look(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One look at one thing."""

    on: str
    state: str
    invoice: str | None = None
    subscription: str | None = None
    dispute: str | None = None
    refund: str | None = None
    warning: str | None = None
    customer: str | None = None
    seen: str | None = None
    reason: str = ""
    due: str | None = None
    ends: str | None = None


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Facts, and what follows from them."""

    name: str
    facts: list[Look]
    expect: dict[str, str]
    rule: Days = Days()
    flags: list[str] = []
    unknown: list[str] = []
    says: dict[str, str] = {}


def day(text: str) -> datetime:
    return datetime.strptime(f"{text} {YEAR}", "%b %d %Y").replace(tzinfo=UTC)


def cases() -> list[Case]:
    return msgspec.convert(YAML(typ="safe").load(FILE.read_text(encoding="utf-8")), list[Case])


def facts(case: Case) -> list[PaymentFact]:
    return [_fact(look, case.rule) for look in case.facts]


def _fact(look: Look, rule: Days) -> PaymentFact:
    ((kind, subject),) = [(kind, getattr(look, kind)) for kind in THINGS if getattr(look, kind) is not None]
    return PaymentFact(
        kind=kind,
        subject=subject,
        state=look.state,
        seen_at=day(look.seen or look.on),
        since=day(look.on),
        rule=Rule(grace_days=rule.grace, restricted_days=rule.restricted),
        due_at=day(look.due) if look.due else None,
        ends_at=day(look.ends) if look.ends else None,
        reason=look.reason,
    )
