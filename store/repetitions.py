"""What the flush does about acts that came before: counters give back what they added, misuse is shown."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from policies import limits
from store import journal, postgres, queries
from store.counters import Correction
from store.journal import JournalEvent
from store.staging import Staged

sql = queries.Queries("flush")


async def keep(connection: postgres.Connection, duplicates: Sequence[Staged], *, now: datetime) -> None:
    """In the transaction of the flush: what is to be taken back, and what is to be seen."""
    await _keep_corrections(connection, duplicates)
    await _tell_misuse(connection, duplicates, now)


async def _keep_corrections(connection: postgres.Connection, duplicates: Sequence[Staged]) -> None:
    for item in duplicates:
        for number, move in enumerate(item.moves()):
            correction = Correction(
                correction_id=f"{item.shard}:{item.entry_id}:{item.place}:{number}",
                shard=item.shard,
                tenant_id=item.event.tenant_id,
                time_window=move.window,
                field=move.field,
                amount=move.amount,
            )
            params = msgspec.structs.asdict(correction)
            await postgres.execute(connection, sql.insert_correction, params)


class _KnownId(msgspec.Struct, frozen=True):
    fingerprint: int
    event_at: datetime | None


async def _tell_misuse(connection: postgres.Connection, duplicates: Sequence[Staged], now: datetime) -> None:
    """What came again with another body, or as another use, is shown among the rejected events."""
    for item in duplicates:
        if item.event.revised is not None:
            continue  # whoever sent it looks which revision was kept, and says so
        event = item.event
        params = {"tenant_id": event.tenant_id, "digest": event.digest.hex()}
        known = await postgres.row(connection, sql.known_id, params, _KnownId)
        wrong = _what_is_wrong(event, known) if known else None
        if wrong is not None:
            slug, detail = wrong
            told = {"serviceId": event.service_id, "id": event.event_id, "featureId": event.feature_id}
            shown = {
                "tenant_id": event.tenant_id,
                "rejected_at": now,
                "slug": slug,
                "detail": detail,
                "event": msgspec.json.encode(told).decode(),
            }
            await postgres.execute(connection, sql.insert_rejected_duplicate, shown)


def _what_is_wrong(event: JournalEvent, known: _KnownId) -> tuple[str, str] | None:
    """Slug and sentence. Within a day a use comes again because its answer was lost: that is right."""
    name = f"{event.event_id} of {event.service_id}"
    if known.fingerprint != event.fingerprint:
        return "idempotency-mismatch", f"Event {name} came before with another body."
    if known.event_at is None or event.kind not in ("consume", "reserve"):
        return None
    if journal.instant(event.event_at) - known.event_at <= timedelta(hours=limits.IDEMPOTENCY_HOURS):
        return None
    hours = limits.IDEMPOTENCY_HOURS
    detail = (
        f"{name} was used again after more than {hours} hours; it was counted then, and is not counted again."
    )
    return "idempotency-key-expired", detail
