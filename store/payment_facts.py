"""What became known of payments: rows that are added, and never changed or deleted."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from policies import limits
from policies.payment.fact import PaymentFact
from store import postgres
from store.queries import Queries

_SQL = Queries("payment_facts")
_decode = msgspec.json.Decoder(PaymentFact).decode

LAST = 2**62
"""Comes after the number of every fact."""


class Noted(msgspec.Struct, frozen=True, kw_only=True):
    """A fact with its number and the instant at which it was written."""

    fact_no: int
    noted_at: datetime
    fact: PaymentFact


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    fact_no: int
    noted_at: datetime
    body: str


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    tenant_id: str
    body: str


async def of_tenant(connection: postgres.Connection, tenant_id: str) -> list[PaymentFact]:
    """The last limits.PAYMENT_FACTS of them, those that were seen last first."""
    params = {"tenant_id": tenant_id, "limit": limits.PAYMENT_FACTS}
    texts: list[str] = await postgres.scalars(connection, _SQL.of_tenant, params)
    return [_decode(text) for text in texts]


async def of_tenants(
    connection: postgres.Connection, tenant_ids: Sequence[str]
) -> dict[str, list[PaymentFact]]:
    """The same of many tenants; those of whom nothing is known are left out."""
    params = {"tenants": list(tenant_ids), "limit": limits.PAYMENT_FACTS}
    found = dict[str, list[PaymentFact]]()
    for row in await postgres.rows(connection, _SQL.of_tenants, params, _Told):
        found.setdefault(row.tenant_id, []).append(_decode(row.body))
    return found


async def add(
    connection: postgres.Connection, tenant_id: str, facts: Sequence[PaymentFact], *, now: datetime
) -> None:
    """Writes facts."""
    rows = [
        {
            "tenant_id": tenant_id,
            "kind": one.kind,
            "subject": one.subject,
            "state": one.state,
            "seen_at": one.seen_at,
            "noted_at": now,
            "body": msgspec.json.encode(one).decode(),
        }
        for one in facts
    ]
    await postgres.execute_each(connection, _SQL.add, rows)


async def page(
    connection: postgres.Connection, tenant_id: str, *, limit: int, before: int = LAST
) -> list[Noted]:
    """Facts as they became known, the last first."""
    params = {"tenant_id": tenant_id, "limit": limit, "before": before}
    rows = await postgres.rows(connection, _SQL.page, params, _Row)
    return [Noted(fact_no=row.fact_no, noted_at=row.noted_at, fact=_decode(row.body)) for row in rows]
