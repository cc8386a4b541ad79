"""The decision log over HTTP: listed, shown with what each decision stood on, and decided again."""

from datetime import datetime
from typing import Annotated, Final

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from policies import limits
from policies.compiler.cedar import Reason
from policies.engine import Outcome
from service.api import auth, decode, management, openapi, wire
from service.api.decode import AnyRequest
from service.context import Caller, Context
from service.usecases import decisions
from service.usecases.decisions import Filter, Page, Rerun, Whole


class DecisionsQuery(wire.Body, frozen=True, kw_only=True):
    """Which decisions, and which part of the list."""

    tenant_id: Annotated[
        wire.TenantId | None,
        msgspec.Meta(description="Only those of this tenant; else of all that the key sees."),
    ] = None
    feature_id: Annotated[wire.CatalogId | None, msgspec.Meta(description="Only those of this feature.")] = (
        None
    )
    outcome: Annotated[Outcome | None, msgspec.Meta(description="Only those that ended so.")] = None
    reason: Annotated[Reason | None, msgspec.Meta(description="Only those with this reason.")] = None
    start: Annotated[
        wire.Instant | None, msgspec.Meta(description="Only those of this instant or later.")
    ] = msgspec.field(name="from", default=None)
    end: Annotated[wire.Instant | None, msgspec.Meta(description="Only those before this instant.")] = (
        msgspec.field(name="to", default=None)
    )
    limit: wire.Limit = limits.LIST_LIMIT_DEFAULT
    cursor: wire.Cursor | None = None


@get("/v1/decisions", opt=auth.needs("operate") | openapi.asks(DecisionsQuery))
async def list_decisions(
    request: AnyRequest, context: NamedDependency[Context], caller: NamedDependency[Caller]
) -> Response[Page]:
    """Lists what was decided, newest first: all denials, and the allows that were sampled."""
    query = decode.query(request, DecisionsQuery)
    tenant_id = query.tenant_id or caller.tenant_id
    if tenant_id is not None:
        auth.own_tenant(caller, tenant_id)
    wanted = Filter(
        tenant_id=tenant_id,
        feature_id=query.feature_id,
        outcome=query.outcome,
        reason=query.reason,
        start=_utc(query.start, "?from"),
        end=_utc(query.end, "?to"),
    )
    page = await decisions.listed(context, wanted, after=management.after(query.cursor), limit=query.limit)
    return management.shown(msgspec.structs.replace(page, next_cursor=management.cursor(page.next_cursor)))


@get("/v1/decisions/{decision_id:str}", opt=auth.needs("operate"))
async def show_decision(
    decision_id: FromPath[str], context: NamedDependency[Context], caller: NamedDependency[Caller]
) -> Response[Whole]:
    """Shows one decision with the facts and the usage that it stood on."""
    decision_id = decode.path(decision_id, wire.CallerId, "decisionId")
    return management.shown(await decisions.get(context, decision_id, only=caller.tenant_id))


@post("/v1/decisions/{decision_id:str}/rerun", status_code=200, opt=auth.needs("operate"))
async def rerun_decision(
    decision_id: FromPath[str], context: NamedDependency[Context], caller: NamedDependency[Caller]
) -> Response[Rerun]:
    """Decides again on what was known then, and says whether the answer is the same, and if not, why."""
    decision_id = decode.path(decision_id, wire.CallerId, "decisionId")
    return management.shown(await decisions.rerun(context, decision_id, only=caller.tenant_id))


def _utc(at: datetime | None, name: str) -> datetime | None:
    return None if at is None else wire.utc(at, name)


ROUTES: Final = (list_decisions, show_decision, rerun_decision)
