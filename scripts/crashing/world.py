"""What is sold in the world of a run, and to whom: a catalog of two features, and tenants of three kinds."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

import msgspec

from service import wiring
from service.config import read
from service.context import Caller, Context
from service.usecases import grants, keys, publish, subscribe, tenants
from service.usecases.activation import Wish
from service.usecases.changes import Order

TOKENS: Final = "tokens"
"""Reported: drawn from a grant, from what is included, then as overage, as far as one reports."""
CREDITS: Final = "credits"
"""Consumed and reserved, up to a hard limit."""
INCLUDED: Final = 20_000
GRANTED: Final = 7_000


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """How many tenants of each kind there are, and what they may consume."""

    reporting: int = 40
    limited: int = 3
    capped: int = 2
    limit: int = 6_000
    """Of each limited or capped tenant, a month: reached in the middle of a run."""
    cap: int = 4_000
    """Of each capped tenant, a day; below its limit."""


def files(size: Size) -> dict[str, str]:
    """The catalog, file by file."""
    return {
        "features.yaml": f"""
features:
  {TOKENS}:
    {{type: metered, name: Tokens, unit: token, decimals: 0, aggregation: sum, whenUnavailable: allow}}
  {CREDITS}:
    {{type: metered, name: Credits, unit: credit, decimals: 0, aggregation: sum, whenUnavailable: deny}}
""",
        "plans/open.yaml": f"""
plan: open
name: Open
currency: usd
price: "0"
interval: month
features:
  {TOKENS}:
    included: {INCLUDED}
    interval: month
    overage: {{model: perUnit, unitAmount: "0.001"}}
""",
        "plans/limited.yaml": f"""
plan: limited
name: Limited
currency: usd
price: "0"
interval: month
features:
  {CREDITS}: {{included: {size.limit}, interval: month}}
""",
        "plans/capped.yaml": f"""
plan: capped
name: Capped
currency: usd
price: "0"
interval: month
features:
  {CREDITS}:
    included: {size.limit}
    interval: month
    caps:
      - {{limit: {size.cap}, interval: day}}
""",
    }


class World(msgspec.Struct, frozen=True):
    """The tenants, and a key that may everything."""

    key: str
    reporting: tuple[str, ...]
    """They report TOKENS; every third has a grant."""
    limited: tuple[str, ...]
    capped: tuple[str, ...]
    size: Size

    @property
    def consuming(self) -> tuple[str, ...]:
        """All that have a limit."""
        return self.limited + self.capped

    def limit(self, tenant_id: str) -> int:
        """What a tenant may consume at most on one day."""
        return self.size.cap if tenant_id in self.capped else self.size.limit


async def make(environment: Mapping[str, str], size: Size) -> World:
    """Publishes the catalog and makes the tenants, subscribed since the first of the month."""
    async with wiring.open_context(read(environment)) as context:
        await publish.publish(context, _caller(), files(size), Wish(message="of a crash run"))
        names = {
            plan: tuple(f"{plan}-{number}" for number in range(count))
            for plan, count in (
                ("open", size.reporting),
                ("limited", size.limited),
                ("capped", size.capped),
            )
        }
        for plan, own in names.items():
            for tenant_id in own:
                await _enrol(context, tenant_id, plan)
        for tenant_id in names["open"][::3]:
            wish = grants.Wish(feature_id=TOKENS, quantity=GRANTED, priority=50, reason="of a crash run")
            await grants.issue(context, _order(), tenant_id, wish)
        reply = await keys.create(context, _order(), keys.Wish(name="crash", scopes=keys.SCOPES))
        secret = msgspec.json.decode(reply.body, type=keys.NewKeyView).secret
        return World(secret, names["open"], names["limited"], names["capped"], size)


async def _enrol(context: Context, tenant_id: str, plan_id: str) -> None:
    await tenants.put(context, _order(), tenant_id, tenants.Wish(name=tenant_id))
    wish = subscribe.Wish(plan_id=plan_id, start_at=_month_before(context.clock.now()))
    await subscribe.start(context, _order(), tenant_id, wish)


def _month_before(now: datetime) -> datetime:
    """A month that began some hours ago at the least: no period ends within a run."""
    return (now - timedelta(days=10)).replace(hour=0, minute=0, second=0, microsecond=0)


def _order() -> Order:
    return Order(caller=_caller())


def _caller() -> Caller:
    return Caller(
        actor="cli:crash", key_id="", scopes=frozenset(keys.SCOPES), tenant_id=None, request_id="crash"
    )
