"""Findings of two looks, plans, and what was done by them; and our side of what is compared."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

import msgspec

from policies import invoice, limits
from policies.charging import charge
from policies.payment.fact import Kind as FactKind
from policies.reconcile.classes import Class
from policies.reconcile.finding import Finding, Known, Missed, OurCharge, Stuck
from policies.reconcile.looks import Kept, State
from policies.reconcile.plan import Plan, Scope
from store import postgres
from store.queries import Queries

_SQL = Queries("reconcile")
_FORGOTTEN: Final = timedelta(days=1)

ActionState = Literal["done", "past", "failed"]
"""`past`: there was nothing to be done any more."""


class Action(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What came of a proposal."""

    finding_id: str
    state: ActionState
    at: datetime
    told: str


class _ChargeRow(msgspec.Struct, frozen=True, kw_only=True):
    tenant_id: str
    invoice_id: str
    currency: str
    total: int
    credited: int
    state: charge.State
    invoice_state: invoice.State
    invoice_ref: str | None
    next_at: datetime | None
    lines: str
    planned: list[str]
    sending_since: datetime | None


class _Payer(msgspec.Struct, frozen=True):
    tenant_id: str
    customer_ref: str


class _FactRow(msgspec.Struct, frozen=True):
    tenant_id: str
    kind: FactKind
    subject: str
    state: str
    ends_at: datetime | None


class OpenClass(msgspec.Struct, frozen=True, kw_only=True):
    """What is open of a class in a currency."""

    kind: Class
    currency: str
    findings: int
    money: int
    oldest: datetime


class LastPlan(msgspec.Struct, frozen=True):
    """When a scope was last looked at."""

    scope: Scope
    made_at: datetime


class _FindingRow(msgspec.Struct, frozen=True, kw_only=True):
    state: State
    looks: int
    first_seen_at: datetime
    last_seen_at: datetime
    body: str


async def charges(connection: postgres.Connection, *, since: datetime) -> list[OurCharge]:
    """Invoices that are being collected, and those issued since."""
    rows = await postgres.rows(connection, _SQL.charges, {"since": since}, _ChargeRow)
    return [
        OurCharge(
            **msgspec.structs.asdict(row)
            | {
                "lines": msgspec.json.decode(row.lines, type=dict[str, int]),
                "planned": frozenset(row.planned),
            }
        )
        for row in rows
    ]


async def customers(connection: postgres.Connection) -> dict[str, str]:
    """The provider's customers and their tenants."""
    rows = await postgres.rows(connection, _SQL.customers, {}, _Payer)
    return {row.customer_ref: row.tenant_id for row in rows}


async def facts(connection: postgres.Connection) -> dict[tuple[FactKind, str], Known]:
    """What is known of things that only the provider has."""
    rows = await postgres.rows(connection, _SQL.facts, {}, _FactRow)
    return {(row.kind, row.subject): Known(row.tenant_id, row.state, row.ends_at) for row in rows}


async def stuck(connection: postgres.Connection, *, tries: int) -> list[Stuck]:
    """Things that could not be looked at so many times in a row."""
    return await postgres.rows(connection, _SQL.stuck, {"tries": tries}, Stuck)


async def missed(connection: postgres.Connection, account: str, *, since: datetime) -> list[Missed]:
    """Notices since then that did not come and were found by asking, the first one first."""
    params = {
        "account": account,
        "since": since,
        "late_s": limits.NOTICES_AGAIN_S,
        "limit": limits.RECONCILE_MISSED,
    }
    return await postgres.rows(connection, _SQL.missed, params, Missed)


async def open_by_class(connection: postgres.Connection) -> list[OpenClass]:
    """What two looks have found, by class and currency."""
    return await postgres.rows(connection, _SQL.open_by_class, {}, OpenClass)


async def last_plans(connection: postgres.Connection) -> list[LastPlan]:
    """When each scope was last looked at."""
    return await postgres.rows(connection, _SQL.last_plan, {}, LastPlan)


async def credits_since(connection: postgres.Connection, since: datetime) -> frozenset[str]:
    """Ids of our credit notes."""
    return frozenset(await postgres.scalars(connection, _SQL.credits, {"since": since}))


async def named(connection: postgres.Connection, ids: Collection[str]) -> frozenset[str]:
    """Those of these invoices that there are."""
    return frozenset(await postgres.scalars(connection, _SQL.named, {"ids": sorted(ids)}))


async def tenants_with_facts(connection: postgres.Connection, since: datetime) -> list[str]:
    """Tenants of whom something became known since."""
    return await postgres.scalars(connection, _SQL.tenants_with_facts, {"since": since})


async def resume(connection: postgres.Connection, tenant_id: str, invoice_id: str, *, now: datetime) -> bool:
    """Lets a charge go on; False where there is none to go on with."""
    params = {"tenant_id": tenant_id, "invoice_id": invoice_id, "now": now}
    return bool(await postgres.scalars(connection, _SQL.resume, params))


async def findings(connection: postgres.Connection, *, now: datetime) -> dict[str, Kept]:
    """What earlier looks have found."""
    rows = await postgres.rows(connection, _SQL.findings, {"since": now - _FORGOTTEN}, _FindingRow)
    kept = [
        Kept(
            finding=msgspec.json.decode(row.body, type=Finding),
            state=row.state,
            looks=row.looks,
            first_seen_at=row.first_seen_at,
            last_seen_at=row.last_seen_at,
        )
        for row in rows
    ]
    return {one.finding.finding_id: one for one in kept}


async def keep(connection: postgres.Connection, kept: Iterable[Kept]) -> None:
    """Writes how findings stand."""
    rows = [
        {
            "tenant_id": one.finding.tenant_id,
            "finding_id": one.finding.finding_id,
            "class": one.finding.kind,
            "state": one.state,
            "looks": one.looks,
            "first_seen_at": one.first_seen_at,
            "last_seen_at": one.last_seen_at,
            "body": msgspec.json.encode(one.finding).decode(),
        }
        for one in kept
    ]
    await postgres.execute_each(connection, _SQL.keep, rows)


async def stands(connection: postgres.Connection, finding: Finding) -> bool:
    """Is it still open?"""
    params = {"tenant_id": finding.tenant_id, "finding_id": finding.finding_id}
    return await postgres.scalars(connection, _SQL.stands, params) == ["open"]


async def add_plan(connection: postgres.Connection, plan: Plan) -> None:
    """Writes a plan, once."""
    params = {
        "plan_id": plan.plan_id,
        "made_at": plan.made_at,
        "scope": plan.scope,
        "body": msgspec.json.encode(plan).decode(),
    }
    await postgres.execute(connection, _SQL.add_plan, params)


async def plan(connection: postgres.Connection, plan_id: str) -> Plan | None:
    """A plan, as it was made."""
    found: list[str] = await postgres.scalars(connection, _SQL.plan, {"plan_id": plan_id})
    return msgspec.json.decode(found[0], type=Plan) if found else None


async def plans(connection: postgres.Connection, *, before: str, limit: int) -> list[Plan]:
    """The newest first, before the one of this id."""
    found: list[str] = await postgres.scalars(
        connection, _SQL.plans, {"before": before or "~", "limit": limit}
    )
    return [msgspec.json.decode(text, type=Plan) for text in found]


async def done(connection: postgres.Connection, plan_id: str) -> Sequence[Action]:
    """What was done by a plan."""
    return await postgres.rows(connection, _SQL.done, {"plan_id": plan_id}, Action)


async def is_over(connection: postgres.Connection, plan_id: str, finding_id: str) -> bool:
    """Whether somebody else has done it meanwhile; holds the plan until the transaction ends."""
    await postgres.execute(connection, _SQL.hold_plan, {"plan_id": plan_id})
    return any(
        one.finding_id == finding_id and one.state != "failed" for one in await done(connection, plan_id)
    )


async def note(connection: postgres.Connection, plan_id: str, action: Action) -> None:
    """Writes what came of an action."""
    await postgres.execute(connection, _SQL.do, {"plan_id": plan_id} | msgspec.structs.asdict(action))


async def take_turn(connection: postgres.Connection, scope: Scope, *, now: datetime, until: datetime) -> bool:
    """Whether the scope is due; until an instant it is this worker's then."""
    params = {"scope": scope, "now": now, "until": until}
    return bool(await postgres.scalars(connection, _SQL.take_turn, params))


async def next_turn(connection: postgres.Connection, scope: Scope, at: datetime) -> None:
    """When the scope is due again."""
    await postgres.execute(connection, _SQL.next_turn, {"scope": scope, "next_at": at})
