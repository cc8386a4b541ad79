"""What is to be done about what was found: a document that somebody can read before anything happens.

The breaker: where a class has more findings than one in a hundred things, and more than five, something
else is wrong than those things. Then nothing at all is done, and somebody is told.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec

from policies.model import Noun
from policies.reconcile.classes import KINDS, Act, Class
from policies.reconcile.finding import Finding
from policies.reconcile.looks import Kept

Scope = Literal["open", "full"]
BREAKER_LEAST: Final = 5
BREAKER_OF: Final = 100


class Proposal(Noun, frozen=True, kw_only=True, omit_defaults=False):
    """One thing to be done, or to be decided by somebody."""

    finding_id: str
    finding: Finding
    means: str
    action: str
    act: Act | None
    """None: a person is to decide."""
    why_safe: str
    first_seen_at: datetime


class ClassTotal(Noun, frozen=True, kw_only=True, omit_defaults=False):
    """A class in the report."""

    kind: Class = msgspec.field(name="class")
    open: int
    suspected: int
    money: dict[str, int]
    """At risk, by currency, in minor units."""
    oldest: datetime
    """Since when the first one was seen."""
    oldest_open: datetime | None = None
    """The same of those that two looks have found."""


class BooksLine(Noun, frozen=True, kw_only=True, omit_defaults=False):
    """A difference between Redis and Postgres, as the job `books` has found it twice. A person decides."""

    drift_id: str
    kind: str = msgspec.field(name="class")
    tenant_id: str
    feature_id: str
    subject: str
    expected: str
    actual: str
    money: dict[str, int]
    action: str
    first_seen_at: datetime


class Plan(Noun, frozen=True, kw_only=True, omit_defaults=False):
    """A plan, as it is stored and shown."""

    plan_id: str
    made_at: datetime
    scope: Scope
    looked_at: int
    """Things that were compared."""
    unread: tuple[str, ...]
    """What could not be read: the look was not whole, and what is not here is not said to be well."""
    broken: tuple[Class, ...]
    """Classes that have tripped the breaker: nothing is done by this plan."""
    proposals: tuple[Proposal, ...]
    totals: tuple[ClassTotal, ...]
    books: tuple[BooksLine, ...] = ()

    @property
    def actions(self) -> tuple[Proposal, ...]:
        """What a machine is to do."""
        return () if self.broken else tuple(one for one in self.proposals if one.act is not None)

    @property
    def oldest(self) -> datetime | None:
        """Since when what is open longest is so; of what is only suspected nothing is said."""
        opened = [one.oldest_open for one in self.totals if one.oldest_open is not None]
        return min([*opened, *(line.first_seen_at for line in self.books)], default=None)

    @property
    def at_risk(self) -> dict[str, int]:
        """Money of all that is open or suspected, by currency, in minor units."""
        found = defaultdict[str, int](int)
        for money in (*(one.money for one in self.totals), *(line.money for line in self.books)):
            for currency, amount in money.items():
                found[currency] += amount
        return dict(sorted(found.items()))

    @property
    def is_clean(self) -> bool:
        """Was everything looked at, and nothing found?"""
        return not self.totals and not self.unread and not self.books


def made(
    plan_id: str,
    kept: Collection[Kept],
    *,
    scope: Scope,
    looked_at: int,
    unread: Sequence[str],
    now: datetime,
    books: Sequence[BooksLine] = (),
) -> Plan:
    """The plan of what two looks have found; what only one has is counted, and nothing is done about it."""
    standing = sorted(
        (one for one in kept if one.state != "gone"),
        key=lambda one: (one.finding.kind, one.first_seen_at, one.finding.tenant_id, one.finding.subject),
    )
    return Plan(
        plan_id=plan_id,
        made_at=now,
        scope=scope,
        looked_at=looked_at,
        unread=tuple(unread),
        broken=tuple(tripped([one.finding for one in standing], looked_at)),
        proposals=tuple(_proposal(one) for one in standing if one.state == "open"),
        totals=totals(standing),
        books=tuple(books),
    )


def tripped(found: Collection[Finding], looked_at: int) -> list[Class]:
    """Classes with too many findings to be true; a thing of the wrong mode is one too many."""
    counts = defaultdict[Class, int](int)
    for one in found:
        counts[one.kind] += 1
    most = max(BREAKER_LEAST, looked_at // BREAKER_OF)
    return sorted(kind for kind, count in counts.items() if count > most or kind == "livemode_mismatch")


def totals(standing: Collection[Kept]) -> tuple[ClassTotal, ...]:
    """The report, class by class."""
    by_class = defaultdict[Class, list[Kept]](list)
    for one in standing:
        by_class[one.finding.kind].append(one)
    return tuple(_total(kind, by_class[kind]) for kind in sorted(by_class))


def _total(kind: Class, kept: Sequence[Kept]) -> ClassTotal:
    money = defaultdict[str, int](int)
    for one in kept:
        if one.finding.money:
            money[one.finding.currency] += one.finding.money
    return ClassTotal(
        kind=kind,
        open=sum(one.state == "open" for one in kept),
        suspected=sum(one.state == "suspected" for one in kept),
        money=dict(sorted(money.items())),
        oldest=min(one.first_seen_at for one in kept),
        oldest_open=min((one.first_seen_at for one in kept if one.state == "open"), default=None),
    )


def _proposal(kept: Kept) -> Proposal:
    kind = KINDS[kept.finding.kind]
    return Proposal(
        finding_id=kept.finding.finding_id,
        finding=kept.finding,
        means=kind.means,
        action=kind.action,
        act=kind.act,
        why_safe=kind.why_safe,
        first_seen_at=kept.first_seen_at,
    )
