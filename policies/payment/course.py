"""From facts to a course: which billing status holds from which instant on, if nothing more becomes known.

A function of the set of facts: in which order, or how often, they came to us bears on nothing. Each thing has
a course of its own that only gets worse with time; of all of them the worst counts at each instant. The days
of grace run from the first failure of a thing and are set once: what fails again extends nothing.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby

import msgspec

from policies.model import BillingStatus
from policies.payment import table
from policies.payment.fact import PaymentFact, Rule, order
from policies.payment.table import Flag, Row


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """From an instant on, this status, and what made it so."""

    status: BillingStatus
    since: datetime
    reason: str
    happened_at: datetime


class Flagged(msgspec.Struct, frozen=True, kw_only=True):
    """Something to know of beside the status."""

    flag: Flag
    subject: str
    since: datetime
    reason: str
    link: str = ""


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """What facts say of one subscription."""

    steps: tuple[Step, ...] = ()
    """In order of time; good before the first."""
    settled: Step | None = None
    """What made the status good last, where it is."""
    flags: tuple[Flagged, ...] = ()
    unknown: tuple[PaymentFact, ...] = ()
    """The last looks that showed a state that nobody knows: what was known before them counts."""

    def at(self, instant: datetime) -> Step | None:
        """What holds at an instant; None: good."""
        return next((step for step in reversed(self.steps) if step.since <= instant), None)

    def after(self, instant: datetime) -> tuple[Step, ...]:
        """What comes later, if nothing more becomes known."""
        return tuple(step for step in self.steps if step.since > instant)


class _Thing(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one thing by now."""

    last: PaymentFact
    row: Row
    began: PaymentFact
    """The fact that began what the last one says still is: of a failure the first one."""


def of(facts: Iterable[PaymentFact], subscription_id: str) -> Course:
    """The course of a subscription; facts about others, and words by hand, are passed over."""
    meant = [one for one in facts if one.kind != "hand" and one.subscription_id in ("", subscription_id)]
    ordered = sorted(meant, key=lambda one: (one.kind, one.subject))
    things, unknown = list[_Thing](), list[PaymentFact]()
    for _, looks in groupby(ordered, key=lambda one: (one.kind, one.subject)):
        known, strange = _told(list(looks))
        unknown += [strange] if strange is not None else []
        things += [known] if known is not None else []
    counting = [one for one in things if not _replaced(one, things)]
    return Course(
        steps=tuple(_worst([_own(one) for one in counting])),
        settled=_settled(counting),
        flags=tuple(_flags(counting)),
        unknown=tuple(unknown),
    )


def _told(looks: Sequence[PaymentFact]) -> tuple[_Thing | None, PaymentFact | None]:
    """What all looks at one thing come to, and the last of them if nobody knows what it shows."""
    known = sorted((one for one in looks if table.row(one.kind, one.state) is not None), key=_life)
    newest = max(looks, key=order)
    strange = newest if table.row(newest.kind, newest.state) is None else None
    if not known:
        return None, strange
    final = next((one for one in known if _row(one).final), None)
    last = final or known[-1]
    return _Thing(last=last, row=_row(last), began=_began(known, last)), strange


def _life(fact: PaymentFact) -> tuple[datetime, int, datetime, bytes]:
    """The order of looks at one thing."""
    seen_at, since, text = order(fact)
    return seen_at, table.place(fact.kind, fact.state), since, text


def _began(known: Sequence[PaymentFact], last: PaymentFact) -> PaymentFact:
    """The first failure since the thing was settled last; of what does not run by days the last look."""
    if not _row(last).runs:
        return last
    behind = list[PaymentFact]()
    for one in known:
        if _row(one).gives is None:
            behind.clear()
        elif _row(one).runs and _start(one) is not None:
            behind.append(one)
        if one is last:
            break
    return min(behind, key=lambda one: (_start(one) or one.since, order(one)), default=last)


def _row(fact: PaymentFact) -> Row:
    found = table.row(fact.kind, fact.state)
    assert found is not None
    return found


def _start(fact: PaymentFact) -> datetime | None:
    """When what a fact says begins to count; None: never."""
    return fact.due_at if _row(fact).starts == "due" else fact.since


def _replaced(thing: _Thing, things: Sequence[_Thing]) -> bool:
    """Is it a subscription of the provider that has ended while another one lives?"""
    return (
        thing.row.final
        and thing.last.kind == "subscription"
        and any(other.last.kind == "subscription" and not other.row.final for other in things)
    )


def _own(thing: _Thing) -> list[Step]:
    """The course of one thing by itself."""
    steps, began, start = list[Step](), thing.began, _start(thing.began)
    if thing.row.gives is not None and start is not None:
        reason = _reason(_row(began).says, began.reason)
        for status, at in _dated(thing.row, start, began.rule):
            steps.append(Step(status=status, since=at, reason=reason, happened_at=start))
    end = thing.last.ends_at
    if end is not None and thing.last.kind == "subscription" and not thing.row.final:
        steps = [step for step in steps if step.since < end]
        steps.append(Step(status="ended", since=end, reason="the subscription ended", happened_at=end))
    return steps


def _dated(row: Row, start: datetime, rule: Rule) -> Iterator[tuple[BillingStatus, datetime]]:
    """What a status becomes by the plan's days; a step of no days is passed over."""
    assert row.gives is not None
    if not row.runs:
        yield row.gives, start
        return
    restricted = start + timedelta(days=rule.grace_days)
    suspended = restricted + timedelta(days=rule.restricted_days)
    if rule.grace_days:
        yield "grace", start
    if rule.restricted_days:
        yield "restricted", restricted
    yield "suspended", suspended


def _worst(courses: Sequence[Sequence[Step]]) -> Iterator[Step]:
    """At each instant the worst of all; what is as bad as what holds already changes nothing."""
    held = table.badness("good")
    steps = [step for course in courses for step in course]
    for _, together in groupby(sorted(steps, key=lambda step: step.since), key=lambda step: step.since):
        worst = max(together, key=lambda step: (table.badness(step.status), step.happened_at, step.reason))
        if table.badness(worst.status) > held:
            held = table.badness(worst.status)
            yield worst


def _settled(things: Sequence[_Thing]) -> Step | None:
    """What was settled last, where something was."""
    done = [one for one in things if one.row.gives is None and one.row.says and one.row.flag is None]
    last = max(done, key=lambda one: (one.last.since, order(one.last)), default=None)
    if last is None:
        return None
    since = last.last.since
    return Step(status="good", since=since, reason=last.row.says, happened_at=since)


def _flags(things: Sequence[_Thing]) -> Iterator[Flagged]:
    for one in things:
        if one.row.flag is not None:
            yield Flagged(
                flag=one.row.flag,
                subject=one.last.subject,
                since=one.last.since,
                reason=_reason(one.row.says, one.last.reason),
                link=one.last.link,
            )


def _reason(says: str, why: str) -> str:
    return f"{says} ({why})" if why else says
