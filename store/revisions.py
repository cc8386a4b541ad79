"""Revisions in Postgres: what became of events after they were booked, and who wanted it."""

import hashlib
import uuid
from collections import Counter
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Literal

import msgspec

from store import audit, journal, keyspace, partitions, postgres, queries
from store.journal import Draw, Revised
from store.staging import Staged

sql = queries.Queries("revisions")

RevisionKind = Literal["amend", "void"]


class Drawn(msgspec.Struct, frozen=True):
    """What is used of each bucket; of a revision by how much that changed."""

    included: int = 0
    overage: int = 0
    excess: int = 0
    grants: dict[str, int] = {}
    """By grant id."""
    rollover: dict[str, int] = {}
    """By generation of what earlier periods carried."""

    def plus(self, other: "Drawn") -> "Drawn":
        """Both together."""
        return Drawn(
            self.included + other.included,
            self.overage + other.overage,
            self.excess + other.excess,
            _sums(self.grants, other.grants),
            _sums(self.rollover, other.rollover),
        )


def _sums(ours: dict[str, int], theirs: dict[str, int]) -> dict[str, int]:
    amounts = Counter(ours)
    amounts.update(theirs)
    return {name: amount for name, amount in amounts.items() if amount}


class StoredRevision(msgspec.Struct, frozen=True, rename="camel"):
    """One change of an event; quantities are scaled."""

    digest: uuid.UUID
    revision: int
    kind: RevisionKind
    quantity_before: int
    quantity: int
    drawn: Drawn
    reason: str
    actor: str
    request: str
    revised_at: datetime


class RevisedEvent(msgspec.Struct, frozen=True, rename="camel"):
    """An event as it stands, with its history; quantities are scaled."""

    tenant_id: str
    service_id: str
    event_id: str
    feature_id: str
    entity_id: str
    plan_id: str
    quantity: int
    measured: int
    event_at: datetime
    accepted_at: datetime
    properties: dict[str, str] | None
    revision: int
    voided: bool
    window: str
    booked: Drawn
    """By the event as it was reported."""
    revisions: list[StoredRevision]
    """Oldest first."""

    @property
    def drawn(self) -> Drawn:
        """What the event has drawn by now, all its revisions together."""
        total = self.booked
        for revision in self.revisions:
            total = total.plus(revision.drawn)
        return total


async def find(connection: postgres.Connection, tenant_id: str, digest: bytes) -> RevisedEvent | None:
    """The event of an id (its digest) with its history."""
    params = {"tenant_id": tenant_id, "digest": uuid.UUID(bytes=digest)}
    found: list[str] = await postgres.scalars(connection, sql.find, params)
    return msgspec.json.decode(found[0], type=RevisedEvent) if found else None


class Others(msgspec.Struct, frozen=True):
    """What the other events of a period make of a level."""

    highest: int
    alike: int
    """How many of them have the value."""
    acts: int
    """How many acts were counted, this event and all that was revised among them."""


async def others(
    connection: postgres.Connection,
    event: RevisedEvent,
    counted: str | None,
    value: str | None,
    *,
    since: datetime,
) -> Others:
    """Of the event's own window; `value` is that of the property that is counted, where one is."""
    params = {
        "tenant_id": event.tenant_id,
        "feature_id": event.feature_id,
        "time_window": event.window,
        "service_id": event.service_id,
        "event_id": event.event_id,
        "property": counted,
        "value": value,
        "acts": keyspace.bucket_field(event.feature_id, "n"),
        "start": since,
    }
    found = await postgres.row(connection, sql.others, params, Others)
    assert found is not None, "a sum has a row"
    return found


async def is_known(connection: postgres.Connection, tenant_id: str, digest: bytes) -> bool:
    """Whether the id has ever come, also if its event is not there, or not any more."""
    params = {"tenant_id": tenant_id, "digest": uuid.UUID(bytes=digest)}
    found: list[bool] = await postgres.scalars(connection, sql.is_known, params)
    return found[0]


async def is_old(connection: postgres.Connection, tenant_id: str, digest: bytes, *, today: date) -> bool:
    """Whether there is an event of an id, and only the id is not kept any more."""
    params = {
        "tenant_id": tenant_id,
        "digest": uuid.UUID(bytes=digest),
        "before": partitions.horizon(today) + timedelta(days=1),
    }
    found: list[bool] = await postgres.scalars(connection, sql.is_old, params)
    return found[0]


async def keep(connection: postgres.Connection, acts: Iterable[Staged]) -> None:
    """Keeps revisions that are new, lets their events and sums show them, and writes their audit lines.

    All in the transaction of the flush: none of it is ever there without the rest (law 11).
    """
    revisions = [item for item in acts if item.event.revised is not None]
    if not revisions:
        return
    rows = [_row(item, item.event.revised) for item in revisions if item.event.revised is not None]
    for query in (sql.insert, sql.apply, sql.add_to_hour, sql.add_to_day):
        await postgres.execute_each(connection, query, rows)
    await audit.append_all(connection, [_line(item) for item in revisions])


async def keep_shifts(connection: postgres.Connection, ends: Iterable[Staged]) -> None:
    """Keeps how reservations that came back unused have moved what others used among the buckets.

    No event shows it, but sums of draws need it; as that of the reserve's instant where it came in time.
    """
    rows = [
        _unseen(item if item.event.late else _in_time(item), item.event.digest)
        for item in ends
        if any(
            (item.draw.included, item.draw.overage, item.draw.excess, item.draw.grants, item.draw.rollover)
        )
    ]
    await postgres.execute_each(connection, sql.insert, rows)


async def keep_held_over(connection: postgres.Connection, ends: Iterable[Staged]) -> None:
    """Keeps what was held when a period ended that leaves something to the next: it did not go on (R19).

    Together the two rows are nothing; but the one is of the period's time, and the other is late.
    """
    rows = []
    for item in ends:
        event, held = item.event, item.event.held
        if held is None or not event.late:
            continue
        for name, draw, booked_at in (
            (b"held", held, event.event_at),
            (b"returned", _negative(held), event.accepted_at),
        ):
            booked = msgspec.structs.replace(event, quantity=0, measured=0, accepted_at=booked_at)
            digest = hashlib.sha256(name + event.reservation).digest()[:16]
            rows.append(_unseen(msgspec.structs.replace(item, event=booked, draw=draw), digest))
    await postgres.execute_each(connection, sql.insert, rows)


def _in_time(item: Staged) -> Staged:
    """An end as if it had come at once: with a period that is cut short meanwhile it is none of the late."""
    return msgspec.structs.replace(
        item, event=msgspec.structs.replace(item.event, accepted_at=item.event.event_at)
    )


def _negative(draw: Draw) -> Draw:
    return Draw(
        -draw.included,
        -draw.overage,
        -draw.excess,
        tuple((grant, -amount) for grant, amount in draw.grants),
        tuple((number, -amount) for number, amount in draw.rollover),
    )


def _unseen(item: Staged, digest: bytes) -> dict[str, object]:
    """A row that no event shows."""
    nothing = Revised(digest, 0, 0, reason="", actor="", request="", request_id="")
    return _row(item, nothing) | {"digest": uuid.UUID(bytes=digest)}


def _row(item: Staged, revised: Revised) -> dict[str, object]:
    event, draw = item.event, item.draw
    grants = {grant.grant_id: amount for grant, amount in draw.grants}
    generations = {str(number): amount for number, amount in draw.rollover}
    return {
        "tenant_id": event.tenant_id,
        "service_id": event.service_id,
        "feature_id": event.feature_id,
        "entity_id": event.entity_id,
        "plan_id": event.plan_id,
        "event_at": journal.instant(event.event_at),
        "digest": uuid.UUID(bytes=event.digest),
        "event_digest": uuid.UUID(bytes=revised.event_digest),
        "revision": revised.revision,
        "kind": event.kind,
        "voided": event.kind == "void",
        "quantity_before": revised.quantity_before,
        "quantity": event.quantity,
        "measured": item.measured,
        "time_window": event.window,
        "included": draw.included,
        "overage": draw.overage,
        "excess": draw.excess,
        "grants": msgspec.json.encode(grants).decode() if grants else None,
        "rollover": msgspec.json.encode(generations).decode() if generations else None,
        "reason": revised.reason,
        "actor": revised.actor,
        "request": revised.request,
        "revised_at": journal.instant(event.accepted_at),
    }


def _line(item: Staged) -> audit.Line:
    event, revised = item.event, item.event.revised
    assert revised is not None, "only revisions are told here"
    shared = {"featureId": event.feature_id, "at": journal.instant(event.event_at)}
    return audit.Line(
        at=journal.instant(event.accepted_at),
        actor=revised.actor,
        action=f"usage.{event.kind}",
        subject=f"{event.service_id}/{event.event_id}",
        before=shared | {"revision": revised.revision - 1, "quantity": revised.quantity_before},
        after=shared | {"revision": revised.revision, "quantity": event.quantity},
        tenant_id=event.tenant_id,
        reason=revised.reason,
        request_id=revised.request_id,
    )
