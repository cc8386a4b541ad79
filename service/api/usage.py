"""Reporting usage: one event, a batch, or lines of JSON; each event is answered for itself."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, Literal, cast

import msgspec
from litestar import Response, post
from litestar.di import NamedDependency

from policies import errors, limits
from policies.usage import Refusal, Usage
from service.api import auth, decode, direct, openapi, wire
from service.api.decode import AnyRequest
from service.context import Caller, Context
from service.telemetry import Telemetry
from service.usecases import record
from service.usecases.record import Result

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
RETRY_AFTER_S: Final = 2
_encode: Final = msgspec.json.Encoder().encode
Status = Literal["accepted", "duplicate", "rejected", "retry"]


class EventBody(wire.Body, frozen=True, kw_only=True):
    """One thing that was used. `id` is unique per tenant and service; without one, one is made."""

    id: wire.EventId | None = None
    tenant_id: wire.TenantId
    service_id: wire.ServiceId
    feature_id: wire.CatalogId
    quantity: wire.Quantity
    timestamp: wire.Instant | None = None
    entity_id: wire.EntityId | None = None
    properties: wire.Properties | None = None


class BatchBody(wire.Body, frozen=True, kw_only=True):
    """Many events, each kept as it came until it is its turn: for where one of them is not well formed."""

    events: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=limits.USAGE_BATCH)]


class EventsBody(wire.Body, frozen=True, kw_only=True):
    """Many events; each is answered for itself."""

    events: Annotated[list[EventBody], msgspec.Meta(min_length=1, max_length=limits.USAGE_BATCH)]


class EventResult(wire.Answer, frozen=True, kw_only=True):
    """What became of an event that was not plainly accepted, or whose id was made."""

    index: int
    id: str | None
    status: Status
    type: str | None = None
    detail: str | None = None


class UsageAnswer(wire.Answer, frozen=True, kw_only=True):
    """Counts by status, and the results that are worth a line."""

    accepted: int
    duplicates: int
    rejected: int
    retry: int
    accepted_at: datetime
    results: list[EventResult]


class _Shape(msgspec.Struct):
    """Tells a batch from a single event."""

    events: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Line(msgspec.Struct):
    """One event of the request: as it came, and decoded, or why it could not be; then what became of it."""

    index: int
    raw: bytes
    body: EventBody | None
    refusal: Refusal | None = None
    result: Result | None = None


async def answer_one(
    context: Context, caller: Caller, raw: bytes, head: direct.Head, telemetry: Telemetry
) -> bytes | None:
    """The answer to a single event that is well formed, both as JSON; None to anything else."""
    del head
    found = decode.well_formed([raw], EventBody)
    if found is None:
        return None
    body = found[0]
    auth.own_tenant(caller, body.tenant_id)
    result, now = await record.record_one(context, _usage(body))
    _raise_single(result)
    line = _Line(0, raw, body, result=result)
    answer = UsageAnswer(
        accepted=int(result.status == "accepted"),
        duplicates=int(result.status == "duplicate"),
        rejected=0,
        retry=0,
        accepted_at=now,
        results=[] if _is_plain(line) else [_told(line)],
    )
    telemetry.count("metergate_events_total", result.status)
    return _encode(answer)


@post(
    "/v1/usage",
    status_code=202,
    opt=auth.needs("report")
    | openapi.takes(EventBody, EventsBody, lines=True)
    | openapi.answers(headers=["Metergate-Durability"])
    | direct.served(answer_one, acknowledges=True, in_part=True),
)
async def report_usage(
    request: AnyRequest,
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
    telemetry: NamedDependency[Telemetry],
) -> Response[UsageAnswer]:
    """Counts what has happened, also past a limit. A bad event of several is rejected by itself."""
    lines, single = await _lines(request)
    if caller.tenant_id is not None:
        _keep_to_tenant(lines, caller, single=single)
    good, events = _events(lines, single=single)
    results, now = await record.record(context, events)
    for line, result in zip(good, results, strict=True):
        line.result = result
    if single:
        _raise_single(results[0])
    await _keep_rejected(context, lines, now)
    answer = _answer(lines, now)
    _count(telemetry, answer)
    if answer.retry and answer.retry == len(lines):
        raise errors.UnavailableError("Usage cannot be counted now.", retry_after_s=RETRY_AFTER_S)
    headers = {"Metergate-Durability": context.config.durability}
    encoded = cast("UsageAnswer", _encode(answer))
    return Response(encoded, media_type=JSON, status_code=202, headers=headers)


async def _lines(request: AnyRequest) -> tuple[list[_Line], bool]:
    """The events of the request, and whether it is a single one."""
    if decode.media_type(request.scope) == NDJSON:
        parts = await decode.ndjson(request)
        bodies = decode.well_formed([raw for _, raw in parts], EventBody)
        if bodies is None:
            return [_line(index, raw, "") for index, raw in parts], False
        return [_Line(index, raw, body) for (index, raw), body in zip(parts, bodies, strict=True)], False
    raw = await decode.json_text(request.scope, request.receive)
    if (one := decode.well_formed([raw], EventBody)) is not None:
        return [_Line(0, raw, one[0])], True
    if (whole := decode.well_formed([raw], EventsBody)) is not None:
        return [_Line(index, b"", body) for index, body in enumerate(whole[0].events)], False
    if decode.document(raw, _Shape).events is msgspec.UNSET:
        return [_Line(0, raw, decode.part(raw, EventBody))], True
    kept = decode.part(raw, BatchBody).events
    return [_line(index, bytes(part), f"/events/{index}") for index, part in enumerate(kept)], False


def _line(index: int, raw: bytes, pointer: str) -> _Line:
    try:
        body = decode.document(raw, EventBody) if not pointer else decode.part(raw, EventBody, pointer)
    except (errors.InvalidError, errors.MalformedError) as error:
        where = error.errors[0].pointer if error.errors else pointer
        return _Line(index, raw, None, Refusal(error.slug, where, error.detail))
    return _Line(index, raw, body)


def _keep_to_tenant(lines: Sequence[_Line], caller: Caller, *, single: bool) -> None:
    """Refuses events of others than the tenant that the key is bound to."""
    for line in lines:
        if line.body is None or caller.tenant_id == line.body.tenant_id:
            continue
        if single:
            auth.own_tenant(caller, line.body.tenant_id)
        line.refusal = Refusal("forbidden", "/tenantId", "This key belongs to another tenant.")


def _events(lines: Sequence[_Line], *, single: bool) -> tuple[list[_Line], list[Usage]]:
    """The lines that may count, and what they say; the others are told why not."""
    good, events = [], []
    for line in lines:
        if line.body is None or line.refusal is not None:
            continue
        try:
            events.append(_usage(line.body))
            good.append(line)
        except errors.InvalidError as error:
            if single:
                raise
            line.refusal = Refusal(error.slug, "/timestamp", error.detail)
    return good, events


def _usage(body: EventBody) -> Usage:
    """The event in our words.

    Errors: InvalidError for the hours at both ends of the calendar that exist in some zones, but not in UTC.
    """
    return Usage(
        tenant_id=body.tenant_id,
        service_id=body.service_id,
        event_id=body.id or "",
        feature_id=body.feature_id,
        quantity=body.quantity,
        timestamp=wire.utc(body.timestamp, "/timestamp") if body.timestamp else None,
        entity_id=body.entity_id,
        properties=body.properties,
    )


def _raise_single(result: Result) -> None:
    """A single event that does not count is the caller's error, and nothing of it is kept."""
    if result.status == "retry":
        raise errors.UnavailableError("Usage cannot be counted now.", retry_after_s=RETRY_AFTER_S)
    if result.refusal is None:
        return
    told = (errors.FieldError(result.refusal.pointer, result.refusal.detail),)
    if result.refusal.slug == errors.IdempotencyMismatchError.slug:
        raise errors.IdempotencyMismatchError(result.refusal.detail, errors=told)
    raise errors.InvalidError(result.refusal.detail, errors=told)


async def _keep_rejected(context: Context, lines: Sequence[_Line], now: datetime) -> None:
    """What makes no sense stays visible; what was not even an event of a tenant has no place to be seen."""
    kept = [
        (line.body.tenant_id, line.result.refusal, line.raw or msgspec.json.encode(line.body))
        for line in lines
        if line.result is not None and line.result.refusal is not None and line.body is not None
    ]
    if kept:
        await record.keep_rejected(context, kept, now)


def _answer(lines: Sequence[_Line], accepted_at: datetime) -> UsageAnswer:
    counts = Counter([line.result.status if line.result else "rejected" for line in lines])
    return UsageAnswer(
        accepted=counts["accepted"],
        duplicates=counts["duplicate"],
        rejected=counts["rejected"],
        retry=counts["retry"],
        accepted_at=accepted_at,
        results=[_told(line) for line in lines if not _is_plain(line)],
    )


def _is_plain(line: _Line) -> bool:
    """Accepted under the id that it came with: that needs no line of the answer."""
    if line.result is None or line.result.status != "accepted":
        return False
    return line.body is not None and line.body.id is not None


def _told(line: _Line) -> EventResult:
    result = line.result
    refusal = line.refusal if result is None else result.refusal
    given = line.body.id if line.body else None
    return EventResult(
        index=line.index,
        id=result.event_id if result else given,
        status=result.status if result else "rejected",
        type=refusal.slug if refusal else None,
        detail=refusal.detail if refusal else None,
    )


def _count(telemetry: Telemetry, answer: UsageAnswer) -> None:
    for status, amount in (
        ("accepted", answer.accepted),
        ("duplicate", answer.duplicates),
        ("rejected", answer.rejected),
        ("retry", answer.retry),
    ):
        if amount:
            telemetry.count("metergate_events_total", status, amount=amount)


ROUTES: Final = (report_usage,)
