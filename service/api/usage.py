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
from service.api import auth, decode, openapi, wire
from service.api.decode import AnyRequest
from service.context import Caller, Context
from service.telemetry import Telemetry
from service.usecases import record
from service.usecases.record import Result

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
RETRY_AFTER_S: Final = 2
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
    """One event of the request: as it came, and decoded, or why it could not be."""

    index: int
    raw: bytes
    body: EventBody | None
    refusal: Refusal | None = None


@post(
    "/v1/usage",
    status_code=202,
    opt=auth.needs("report")
    | openapi.takes(EventBody, EventsBody, lines=True)
    | openapi.answers(headers=["Metergate-Durability"]),
)
async def report_usage(
    request: AnyRequest,
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
    telemetry: NamedDependency[Telemetry],
) -> Response[UsageAnswer]:
    """Counts what has happened, also past a limit. A bad event of several is rejected by itself."""
    lines, single = await _lines(request)
    for line in lines:
        _keep_to_tenant(line, caller, single=single)
        _keep_to_calendar(line, single=single)
    good = [line for line in lines if line.body is not None and line.refusal is None]
    results, now = await record.record(context, [_usage(line) for line in good])
    by_index = {line.index: result for line, result in zip(good, results, strict=True)}
    if single:
        _raise_single(results[0])
    await _keep_rejected(context, lines, by_index, now)
    answer = _answer(lines, by_index, now)
    _count(telemetry, answer)
    if answer.retry and answer.retry == len(lines):
        raise errors.UnavailableError("Usage cannot be counted now.", retry_after_s=RETRY_AFTER_S)
    headers = {"Metergate-Durability": context.config.durability}
    encoded = cast("UsageAnswer", msgspec.json.encode(answer))
    return Response(encoded, media_type=JSON, status_code=202, headers=headers)


async def _lines(request: AnyRequest) -> tuple[list[_Line], bool]:
    """The events of the request, and whether it is a single one."""
    if decode.media_type(request.scope) == NDJSON:
        return [_line(index, raw, "") for index, raw in await decode.ndjson(request)], False
    decode.json_only(request.scope)
    raw = await decode.read(request.scope, request.receive)
    shape = decode.document(raw, _Shape)
    if shape.events is msgspec.UNSET:
        return [_Line(0, raw, decode.part(raw, EventBody))], True
    try:
        whole = msgspec.json.decode(raw, type=EventsBody)
    except msgspec.ValidationError:
        parts = decode.part(raw, BatchBody).events
        return [_line(index, bytes(part), f"/events/{index}") for index, part in enumerate(parts)], False
    return [_Line(index, b"", body) for index, body in enumerate(whole.events)], False


def _line(index: int, raw: bytes, pointer: str) -> _Line:
    try:
        body = decode.document(raw, EventBody) if not pointer else decode.part(raw, EventBody, pointer)
    except (errors.InvalidError, errors.MalformedError) as error:
        where = error.errors[0].pointer if error.errors else pointer
        return _Line(index, raw, None, Refusal(error.slug, where, error.detail))
    return _Line(index, raw, body)


def _keep_to_tenant(line: _Line, caller: Caller, *, single: bool) -> None:
    if line.body is None or caller.tenant_id in (None, line.body.tenant_id):
        return
    if single:
        auth.own_tenant(caller, line.body.tenant_id)
    line.refusal = Refusal("forbidden", "/tenantId", "This key belongs to another tenant.")


def _keep_to_calendar(line: _Line, *, single: bool) -> None:
    """The hours at both ends of the calendar exist in some zones, but not in UTC."""
    if line.body is None or line.body.timestamp is None:
        return
    try:
        wire.utc(line.body.timestamp, "/timestamp")
    except errors.InvalidError as error:
        if single:
            raise
        line.refusal = Refusal(error.slug, "/timestamp", error.detail)


def _usage(line: _Line) -> Usage:
    body = line.body
    assert body is not None, "only well formed events are recorded"
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


async def _keep_rejected(
    context: Context, lines: Sequence[_Line], results: dict[int, Result], now: datetime
) -> None:
    """What makes no sense stays visible; what was not even an event of a tenant has no place to be seen."""
    kept = []
    for line in lines:
        result = results.get(line.index)
        refusal = result.refusal if result else None
        if refusal is not None and line.body is not None:
            kept.append((line.body.tenant_id, refusal, line.raw or msgspec.json.encode(line.body)))
    if kept:
        await record.keep_rejected(context, kept, now)


def _answer(lines: Sequence[_Line], results: dict[int, Result], accepted_at: datetime) -> UsageAnswer:
    told = [_result(line, results.get(line.index)) for line in lines]
    counts = Counter(one.status for one in told)
    return UsageAnswer(
        accepted=counts["accepted"],
        duplicates=counts["duplicate"],
        rejected=counts["rejected"],
        retry=counts["retry"],
        accepted_at=accepted_at,
        results=[
            one
            for one, line in zip(told, lines, strict=True)
            if one.status != "accepted" or (line.body is not None and line.body.id is None)
        ],
    )


def _result(line: _Line, result: Result | None) -> EventResult:
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
