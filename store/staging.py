"""Staging: events go through temporary tables, where the database tells new ones from known ones."""

from collections.abc import Sequence
from datetime import UTC, date, datetime

import msgspec

from store import journal, keyspace, partitions, postgres, queries
from store.journal import Draw, JournalEvent

sql = queries.Queries("flush")


class Staged(msgspec.Struct, frozen=True):
    """One event on its way into Postgres, and where in the journal it stood."""

    shard: int
    entry_id: str
    place: int
    event: JournalEvent
    draw: Draw

    def moves(self) -> list[tuple[str, str, int, int]]:
        """What it did to counters: (time window, field, amount, end of the window in unix seconds or 0)."""
        event, draw, found = self.event, self.draw, []
        for bucket, amount in zip("iox", (draw.included, draw.overage, draw.excess), strict=True):
            if amount:
                field = keyspace.bucket_field(event.feature_id, bucket)
                found.append((event.window, field, amount, event.ends))
        for grant, amount in draw.grants:
            field = keyspace.grant_field(event.feature_id, grant.grant_id)
            found.append((grant.window, field, amount, grant.ends))
        found += [(cap.window, cap.field, event.measured, cap.ends) for cap in event.caps if event.measured]
        return found


async def store(connection: postgres.Connection, staged: Sequence[Staged], *, now: datetime) -> list[Staged]:
    """Keeps what is new and gives back what was there already."""
    month = partitions.month_of(now.date())
    await _ensure_partitions(connection, staged, month)
    await connection.execute("set local client_min_messages = warning")
    await connection.execute(sql.make_staging)
    await _copy_events(connection, staged)
    await _copy_moves(connection, staged)
    horizon = partitions.months_before(month, 2)
    await postgres.execute(connection, sql.insert_keys, {"month": month, "horizon": horizon})
    stale = await postgres.scalars(connection, sql.stale_places, {})
    for query in (sql.insert_events, sql.add_to_hours, sql.add_to_counters):
        await postgres.execute(connection, query, {})
    return [staged[place] for place in stale]


async def _ensure_partitions(connection: postgres.Connection, staged: Sequence[Staged], month: date) -> None:
    months = {partitions.month_of(journal.instant(item.event.event_at).date()) for item in staged}
    wanted = {("usage_events", event_month) for event_month in months}
    await partitions.ensure(connection, wanted | {("usage_keys", month)})


async def _copy_events(connection: postgres.Connection, staged: Sequence[Staged]) -> None:
    async with connection.cursor().copy(sql.copy_events) as copy:
        for place, item in enumerate(staged):
            event, draw = item.event, item.draw
            grants = {grant.grant_id: amount for grant, amount in draw.grants}
            await copy.write_row(
                (
                    place,
                    event.tenant_id,
                    journal.instant(event.event_at),
                    event.digest.hex(),
                    event.fingerprint,
                    event.service_id,
                    event.event_id,
                    event.feature_id,
                    event.entity_id,
                    event.plan_id,
                    event.quantity,
                    event.measured,
                    event.window,
                    draw.included,
                    draw.overage,
                    draw.excess,
                    msgspec.json.encode(grants).decode() if grants else None,
                    msgspec.json.encode(event.properties).decode() if event.properties else None,
                    journal.instant(event.accepted_at),
                )
            )


async def _copy_moves(connection: postgres.Connection, staged: Sequence[Staged]) -> None:
    async with connection.cursor().copy(sql.copy_moves) as copy:
        for place, item in enumerate(staged):
            for window, field, amount, ends in item.moves():
                ends_at = datetime.fromtimestamp(ends, UTC) if ends else "infinity"
                await copy.write_row((place, item.event.tenant_id, window, field, amount, ends_at))
