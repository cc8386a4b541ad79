"""A tenant's overrides over HTTP: replace terms, lift them, show what holds or held."""

from datetime import datetime
from typing import Annotated, Final

from litestar import Response, delete, get, put
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import UNSET, Meta, UnsetType

from policies import limits
from policies.override import Wish
from service.api import auth, decode, findings, management, openapi, tenants, wire
from service.api.decode import AnyRequest
from service.context import Caller, Context
from service.usecases import overrides
from service.usecases.overrides import OverrideList, OverrideView

_ALL: Final = "/v1/tenants/{tenant_id:str}/overrides"
_PATH: Final = _ALL + "/{feature_id:str}"


def _value(value: object) -> str:
    if isinstance(value, float):
        return 'A number is whole, or a decimal in quotes such as "1.5", never a float.'
    if isinstance(value, str):
        return f"A value as text has at most {limits.STATIC_VALUE_LENGTH:,} characters."
    if isinstance(value, int):
        return f"A number is from 0 to {limits.REQUESTED_MAX:,}."
    return f"A value is true or false, a number, a text or an object, not {findings.kind_of(value)}."


Bound = Annotated[
    wire.Quantity | UnsetType | None,
    Meta(
        description="In the feature's unit, or `unlimited`. Left out, it stays as it is; null lifts it.",
    ),
]
Value = Annotated[
    bool
    | Annotated[int, Meta(ge=0, le=limits.REQUESTED_MAX)]
    | Annotated[str, Meta(max_length=limits.STATIC_VALUE_LENGTH)]
    | dict[str, object]
    | UnsetType
    | None,
    Meta(
        extra={"explain": _value},
        description="As the feature's type asks for. Left out, it stays as it is; null lifts it.",
    ),
]


class OverrideBody(wire.Body, frozen=True):
    """Terms that replace those of the plan: `included` and `upTo` of a metered feature, `value` of others."""

    reason: wire.Reason
    included: Bound = UNSET
    up_to: Bound = UNSET
    value: Value = UNSET
    ends_at: Annotated[
        wire.Instant | UnsetType | None,
        Meta(description="Until when. Left out, the end stays as it is; null takes it away."),
    ] = UNSET


class OverrideQuery(wire.Body, frozen=True):
    """When."""

    at: Annotated[wire.Instant | None, Meta(description="The instant that is asked about; now.")] = None


@put(_PATH, opt=auth.needs("manage") | openapi.takes(OverrideBody) | openapi.writes() | openapi.answers(201))
async def put_override(
    request: AnyRequest,
    tenant_id: FromPath[str],
    feature_id: FromPath[str],
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
) -> Response[OverrideView]:
    """Replaces terms of a feature for one tenant, from now on.

    A field that is left out is never reset: it keeps what the override that holds says, and without one what
    the plan says. A null lifts that one field, so that the plan's term holds again. The reason is always
    needed. Where nothing is overridden in the end, the answer is the override that has just ended.
    """
    tenant_id = tenants.own(caller, tenant_id)
    feature_id = decode.path(feature_id, wire.CatalogId, "featureId")
    body = await decode.body(request, OverrideBody, strict_keys=True)
    wish = Wish(
        included=body.included,
        up_to=body.up_to,
        value=body.value,
        ends_at=wire.utc(body.ends_at, "/endsAt") if isinstance(body.ends_at, datetime) else body.ends_at,
        reason=body.reason,
    )
    reply = await overrides.put(context, management.order(request, caller), tenant_id, feature_id, wish)
    return management.replied(reply, OverrideView)


@get(_PATH, opt=auth.needs("manage") | openapi.asks(OverrideQuery) | openapi.answers(headers=["ETag"]))
async def get_override(
    request: AnyRequest,
    tenant_id: FromPath[str],
    feature_id: FromPath[str],
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
) -> Response[OverrideView]:
    """Shows what is overridden of a feature, now or at an instant; 404 if nothing is."""
    tenant_id = tenants.own(caller, tenant_id)
    feature_id = decode.path(feature_id, wire.CatalogId, "featureId")
    wanted = decode.query(request, OverrideQuery)
    view, etag = await overrides.get(context, tenant_id, feature_id, at=_utc(wanted.at))
    return management.shown(view, etag)


@get(_ALL, opt=auth.needs("manage") | openapi.asks(OverrideQuery))
async def list_overrides(
    request: AnyRequest,
    tenant_id: FromPath[str],
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
) -> Response[OverrideList]:
    """Lists what is overridden for a tenant, now or at an instant, by feature."""
    tenant_id = tenants.own(caller, tenant_id)
    wanted = decode.query(request, OverrideQuery)
    return management.shown(await overrides.listed(context, tenant_id, at=_utc(wanted.at)))


@delete(_PATH, status_code=200, opt=auth.needs("manage") | openapi.writes())
async def lift_override(
    request: AnyRequest,
    tenant_id: FromPath[str],
    feature_id: FromPath[str],
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
) -> Response[OverrideView]:
    """Lifts all that is overridden of a feature: the plan's terms hold again. Answers what has ended."""
    tenant_id = tenants.own(caller, tenant_id)
    feature_id = decode.path(feature_id, wire.CatalogId, "featureId")
    reply = await overrides.lift(context, management.order(request, caller), tenant_id, feature_id)
    return management.replied(reply, OverrideView)


def _utc(at: datetime | None) -> datetime | None:
    return None if at is None else wire.utc(at, "?at")


ROUTES: Final = (put_override, get_override, list_overrides, lift_override)
