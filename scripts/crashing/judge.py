"""After recovery: what Postgres, the counters and the service say, held against the clients' own ledger."""

import http.client
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, date
from typing import Any, Final, NamedTuple

import msgspec
import psycopg
import redis

from scripts.crashing.client import SERVICE
from scripts.crashing.ledger import Ledger, Sent
from scripts.crashing.world import CREDITS, TOKENS, World
from service.usecases import booking

EXAMPLES: Final = 5

Key = tuple[str, str]
"""Tenant and feature."""


class Row(NamedTuple):
    """An event as Postgres has it."""

    tenant_id: str
    feature_id: str
    quantity: int
    day: date


class Verdict(msgspec.Struct, kw_only=True, rename="camel"):
    """What was found; all numbers but the first are to be 0."""

    acknowledged: int = 0
    lost: int = 0
    """Acknowledged, and not there, or not as it was acknowledged."""
    doubled: int = 0
    """There more often than once, acknowledged or not."""
    phantom: int = 0
    """There, and never sent."""
    altered: int = 0
    """There with another tenant, feature or quantity than was sent."""
    over_admitted: int = 0
    """Units beyond a limit."""
    counters_wrong: int = 0
    """Counters that are not the sum of what is stored."""
    sums_wrong: int = 0
    """Hours and kept sums that are not."""
    books_open: int = 0
    """Buckets that do not close (R14), or whose use is not what is stored."""
    damaged: int = 0
    """Journal entries that could not be believed."""
    alarms: int = 0
    """Incidents and drifts that were told; of a run in which nothing is lost they are false.

    That a server came back with an older file is told always, and true.
    """
    restless: int = 0
    """Whether something was still waiting to be done, long after all was up again."""
    surprises: int = 0
    """Answers that no fault explains."""
    examples: list[str] = []
    """Some of what was found, for whoever looks into it."""

    @property
    def sound(self) -> bool:
        """Nothing was found."""
        return not any(
            getattr(self, field.name)
            for field in msgspec.structs.fields(self)
            if field.name not in ("acknowledged", "examples")
        )

    def add(self, other: "Verdict") -> None:
        """What another run found."""
        for field in msgspec.structs.fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    def note(self, what: str, found: object, *, times: int = 1) -> None:
        """One finding, or `times`."""
        setattr(self, what, getattr(self, what) + times)
        if sum(example.startswith(what) for example in self.examples) < EXAMPLES:
            self.examples.append(f"{what}: {found}")


class Judge:
    """Looks at one instance at rest."""

    def __init__(
        self, world: World, ledger: Ledger, *, database_url: str, redis_url: str, port: int | None
    ) -> None:
        """Without a port nobody is asked for balances."""
        self._world = world
        self._ledger = ledger
        self._redis_url = redis_url
        self.verdict = Verdict(acknowledged=ledger.acknowledgements)
        self.stored: dict[str, list[Row]] = defaultdict(list)
        self.sums: Counter[Key] = Counter()
        self.held: Counter[Key] = Counter()
        self.missing: list[str] = []
        """Events that were lost."""
        self.alarms: list[str] = []
        with psycopg.connect(database_url) as connection:
            self._read(connection)
            self._judge_events()
            self._judge_reservations(connection)
            self._judge_limits()
            self._judge_sums(connection)
            self._judge_counters(connection)
        if port is not None:
            self._judge_books(port)
            for told in self.alarms:
                self.verdict.note("alarms", told)
        for what, example in ledger.surprises.items():
            self.verdict.note("surprises", f"{what}: {example}")

    def _read(self, connection: psycopg.Connection) -> None:
        with connection.cursor(name="events") as cursor:
            cursor.itersize = 20_000
            cursor.execute("select event_id, tenant_id, feature_id, quantity, event_at from usage_events")
            for event_id, tenant_id, feature_id, quantity, at in cursor:
                self.stored[event_id].append(Row(tenant_id, feature_id, quantity, at.astimezone(UTC).date()))
                self.sums[tenant_id, feature_id] += quantity
        for (reason,) in connection.execute("select reason from journal_quarantine"):
            self.verdict.note("damaged", reason)
        for told in connection.execute(_ALARMS):
            self.alarms.append(str(told))

    def _judge_events(self) -> None:
        for event_id, rows in self.stored.items():
            if len(rows) > 1:
                self.verdict.note("doubled", f"{event_id} {rows}", times=len(rows) - 1)
            if event_id not in self._ledger.entries:
                self.verdict.note("phantom", f"{event_id} {rows}")
        for entry in self._ledger.entries.values():
            rows = self.stored.get(entry.event_id, [])
            must, may = expected(entry)
            if must and not rows:
                self.verdict.note("lost", entry)
                self.missing.append(entry.event_id)
            for row in rows:
                feature = TOKENS if entry.kind == "report" else CREDITS
                if (row.tenant_id, row.feature_id) != (entry.tenant_id, feature) or row.quantity not in may:
                    self.verdict.note("altered", f"{entry} {row}")

    def _judge_reservations(self, connection: psycopg.Connection) -> None:
        """Each that was acknowledged is there, and ended as it was acknowledged; what is open is held."""
        states = {digest.bytes: state for digest, state in connection.execute(_RESERVATIONS)}
        for entry in self._ledger.entries.values():
            if entry.kind != "reserve":
                continue
            state = states.pop(_digest(entry), None)
            if state == "open":
                self.held[entry.tenant_id, CREDITS] += entry.quantity
            if not entry.acknowledged:
                continue
            if state is None:
                self.verdict.note("lost", f"reservation {entry}")
            elif state not in _states(entry):
                self.verdict.note("altered", f"{state} {entry}")
        if states:
            self.verdict.note("phantom", f"{len(states)} reservations", times=len(states))
        for tenant_id, held in connection.execute(_HELD):
            if held != self.held[tenant_id, CREDITS]:
                told = f"{tenant_id}: {held} held by its counter, {self.held[tenant_id, CREDITS]} open"
                self.verdict.note("counters_wrong", told)

    def _judge_limits(self) -> None:
        by_day: Counter[tuple[str, date]] = Counter()
        for rows in self.stored.values():
            for row in rows:
                by_day[row.tenant_id, row.day] += row.quantity
        acknowledged: Counter[str] = Counter()
        for entry in self._ledger.entries.values():
            used = entry.quantity if entry.kind == "consume" else entry.settled
            if entry.end_acknowledged or (entry.kind == "consume" and entry.acknowledged):
                acknowledged[entry.tenant_id] += used
        for tenant_id in self._world.consuming:
            key = (tenant_id, CREDITS)
            days = [used for (tenant, _), used in by_day.items() if tenant == tenant_id]
            held = self.held[key] if len(days) < 2 else 0  # noqa: PLR2004 - over midnight nobody knows of which day
            over = [
                self.sums[key] + self.held[key] - self._world.size.limit,
                acknowledged[tenant_id] - self._world.size.limit,
                max(days, default=0) + held - self._world.limit(tenant_id),
            ]
            if max(over) > 0:
                self.verdict.note("over_admitted", f"{tenant_id} by {max(over)}", times=max(over))

    def _judge_sums(self, connection: psycopg.Connection) -> None:
        for tenant_id, feature_id, hourly, events in connection.execute(_HOURLY):
            if hourly != events:
                self.verdict.note("sums_wrong", f"{tenant_id} {feature_id}: hours {hourly}, events {events}")

    def _judge_counters(self, connection: psycopg.Connection) -> None:
        """The counters are the kept sums, field by field, and what is stored and held, feature by feature."""
        live = dict(_counters(self._redis_url))
        kept = {
            f"{tenant_id}:{window} {field}": used
            for tenant_id, window, field, used in connection.execute(_COUNTERS)
        }
        for name in live.keys() | kept.keys():
            if live.get(name, 0) != kept.get(name, 0):
                told = f"{name}: counter {live.get(name, 0)}, kept sum {kept.get(name, 0)}"
                self.verdict.note("counters_wrong", told)
        drawn: Counter[Key] = Counter()
        for name, level in live.items():
            place, field = name.split(" ")
            feature_id, bucket = field.split(":", 1)
            if not bucket.endswith(":r") and (bucket in ("i", "o", "x") or bucket.startswith("g:")):
                drawn[place.rpartition(":")[0], feature_id] += level
        for key in drawn.keys() | self.sums.keys() | self.held.keys():
            wanted = self.sums[key] + self.held[key]
            if drawn[key] != wanted:
                told = f"{key}: counters {drawn[key]}, stored {self.sums[key]}, held {self.held[key]}"
                self.verdict.note("counters_wrong", told)

    def _judge_books(self, port: int) -> None:
        for tenant_id in (*self._world.reporting, *self._world.consuming):
            for balance in self._balances(port, tenant_id):
                key = (tenant_id, balance["featureId"])
                buckets = balance["buckets"]
                for bucket in buckets:
                    parts = [bucket[part] for part in _PARTS]
                    if bucket["granted"] is not None and bucket["granted"] != sum(parts):
                        self.verdict.note("books_open", f"{key} {bucket}")
                found = (sum(each["used"] for each in buckets), sum(each["reserved"] for each in buckets))
                if found != (self.sums[key], self.held[key]):
                    told = f"{key}: used and reserved {found}, stored {self.sums[key]}, held {self.held[key]}"
                    self.verdict.note("books_open", told)

    def _balances(self, port: int, tenant_id: str) -> list[dict[str, Any]]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        headers: Mapping[str, str] = {"Authorization": f"Bearer {self._world.key}"}
        connection.request("GET", f"/v1/tenants/{tenant_id}/balances", headers=headers)
        answer = connection.getresponse()
        body = msgspec.json.decode(answer.read(), type=dict[str, Any])
        connection.close()
        if answer.status != http.client.OK:
            self.verdict.note("surprises", f"balances of {tenant_id}: {answer.status} {body}")
            return []
        return list(body["balances"])


def expected(entry: Sent) -> tuple[bool, set[int]]:
    """Whether there must be an event, and which quantities it may have."""
    if entry.kind == "reserve":
        ended = entry.end_acknowledged
        return ended and entry.end == "settle", {entry.settled} if entry.end == "settle" else set()
    may = {entry.quantity} if not entry.revision_acknowledged else set()
    return entry.acknowledged, may | ({entry.revised} if entry.revised is not None else set())


def _digest(entry: Sent) -> bytes:
    """What Postgres has a reservation by."""
    return booking.identity(entry.tenant_id, SERVICE, entry.event_id)


def _states(entry: Sent) -> set[str]:
    """How a reservation that was acknowledged may stand; a brief one has expired by now, or is about to."""
    if entry.end_acknowledged:
        return {"settled"} if entry.end == "settle" else {"released"}
    tried = {"settle": {"settled"}, "release": {"released"}}.get(entry.end, set())
    return tried | ({"expired", "open"} if entry.brief else {"open"})


def _counters(url: str) -> Iterator[tuple[str, int]]:
    """`tenant:window field` and the level of each counter."""
    with redis.Redis.from_url(url, protocol=2, decode_responses=True) as client:
        for key in client.scan_iter("c:*", count=1000):
            _, _, place = str(key).split(":", 2)
            for field, level in client.hgetall(key).items():
                if int(level):
                    yield f"{place} {field}", int(level)


_ALARMS: Final = """
select kind, detail from incidents where kind <> 'journal-older'
union all
select class, subject || ': ' || evidence::text from drift where state = 'open'
"""
_PARTS: Final = ("used", "reserved", "expired", "carried", "remaining")
_RESERVATIONS: Final = "select digest, state from reservations"
_HELD: Final = """
select tenant_id, sum(used)::bigint from usage_counters where field = 'credits:r' group by tenant_id
"""
_HOURLY: Final = """
select coalesce(h.tenant_id, e.tenant_id), coalesce(h.feature_id, e.feature_id),
  coalesce(h.sum, 0), coalesce(e.sum, 0)
from (select tenant_id, feature_id, sum(quantity) from usage_hourly group by 1, 2) h
full join (select tenant_id, feature_id, sum(quantity) from usage_events group by 1, 2) e
on e.tenant_id = h.tenant_id and e.feature_id = h.feature_id
"""
_COUNTERS: Final = "select tenant_id, time_window, field, used from usage_counters where used <> 0"
