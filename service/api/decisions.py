"""Checks and entitlements: what a tenant may do now, without consuming anything."""

from typing import Annotated, Final

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from policies import errors, limits
from policies.decision import Decision
from service.api import auth, decode, direct, management, openapi, wire
from service.api.decode import AnyRequest
from service.context import Caller, Context
from service.telemetry import Telemetry
from service.usecases import check, checking, past
from service.usecases.keys import Scope

_PAST: Final[frozenset[Scope]] = frozenset({"read"})
"""What is asked `at` an instant shows the past, so a key needs this too."""
encode: Final = msgspec.json.Encoder().encode
"""Of answers: made once."""


class CheckBody(wire.Body, frozen=True, kw_only=True):
    """One question. `quantity` is in the feature's unit; of a number or a `max` meter, what would be."""

    tenant_id: wire.TenantId
    feature_id: wire.CatalogId
    quantity: wire.Quantity = 1
    entity_id: wire.EntityId | None = None
    context: wire.Context | None = None
    at: wire.Instant | None = None
    explain: bool = False


class BatchBody(wire.Body, frozen=True, kw_only=True):
    """Many questions, answered in their order."""

    checks: Annotated[list[CheckBody], msgspec.Meta(min_length=1, max_length=limits.CHECK_BATCH)]


class Decisions(wire.Answer, frozen=True, kw_only=True):
    """The answers of a batch, in the order of its questions."""

    decisions: list[Decision]


class Entitlements(wire.Answer, frozen=True, kw_only=True):
    """One decision for every feature of the catalog, on one unit of it."""

    entitlements: list[Decision]
    snapshot_version: int


class EntitlementsQuery(wire.Body, frozen=True, kw_only=True):
    """Whose entitlements, if a tenant's entity is meant."""

    entity_id: Annotated[
        wire.EntityId | None, msgspec.Meta(description="The entity whose caps are to be heeded.")
    ] = None


async def answer_one(
    context: Context, caller: Caller, raw: bytes, head: direct.Head, telemetry: Telemetry
) -> bytes:
    """The answer to one question, both as JSON."""
    del head
    body = decode.document(raw, CheckBody)
    auth.own_tenant(caller, body.tenant_id)
    if body.at is None:
        decision = await checking.one(context, body)
    else:
        auth.require(caller, _PAST)
        decision = await past.decided(context, body, wire.utc(body.at, "/at"))
    telemetry.decided(decision.outcome, decision.reason, degraded=decision.degraded)
    return encode(decision)


async def answer_batch(
    context: Context, caller: Caller, raw: bytes, head: direct.Head, telemetry: Telemetry
) -> bytes:
    """The answers to many, in their order."""
    del head
    questions = decode.document(raw, BatchBody).checks
    for place, question in enumerate(questions):
        auth.own_tenant(caller, question.tenant_id)
        if question.at is not None:
            detail = "A decision of the past reads single events: ask for it alone, at /v1/check."
            raise errors.invalid(f"{_pointer(place)}/at", detail)
    decisions = await check.check(context, questions, _pointer)
    for decision in decisions:
        telemetry.decided(decision.outcome, decision.reason, degraded=decision.degraded)
    return encode(Decisions(decisions=decisions))


@post(
    "/v1/check",
    status_code=200,
    opt=auth.needs("check") | openapi.takes(CheckBody) | direct.served(answer_one),
)
async def check_one(
    request: AnyRequest,
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
    telemetry: NamedDependency[Telemetry],
) -> Response[Decision]:
    """Answers whether a tenant may use a feature now. Denied is 200 with `allowed: false`."""
    raw = await decode.json_text(request.scope, request.receive)
    return management.told(await answer_one(context, caller, raw, {}, telemetry), Decision)


@post(
    "/v1/check/batch",
    status_code=200,
    opt=auth.needs("check") | openapi.takes(BatchBody) | direct.served(answer_batch),
)
async def check_batch(
    request: AnyRequest,
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
    telemetry: NamedDependency[Telemetry],
) -> Response[Decisions]:
    """Answers many questions in their order. A malformed question fails the call and is named."""
    raw = await decode.json_text(request.scope, request.receive)
    return management.told(await answer_batch(context, caller, raw, {}, telemetry), Decisions)


@get("/v1/tenants/{tenant_id:str}/entitlements", opt=auth.needs("check") | openapi.asks(EntitlementsQuery))
async def entitlements(
    request: AnyRequest,
    tenant_id: FromPath[str],
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
) -> Response[Entitlements]:
    """Lists what a tenant may use, feature by feature. An unknown tenant is 404."""
    tenant_id = decode.path(tenant_id, wire.TenantId, "tenantId")
    auth.own_tenant(caller, tenant_id)
    query = decode.query(request, EntitlementsQuery)
    decisions, version = await check.entitlements(context, tenant_id, entity_id=query.entity_id)
    if version == 0:
        raise errors.NotFoundError(f"There is no tenant {tenant_id}.")
    return management.shown(Entitlements(entitlements=decisions, snapshot_version=version))


def _pointer(place: int) -> str:
    return f"/checks/{place}"


ROUTES: Final = (check_one, check_batch, entitlements)
