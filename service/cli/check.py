"""`metergate check`: one question, answered in words, with the reasons."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from policies.decision import CapLine, ClauseLine, Decision, Derivation, Flip
from service.api import wire
from service.cli import given, session, settings, show
from service.context import Context
from service.usecases import check as usecase
from service.usecases import past
from service.usecases.check import Check

_DENIED: Final = 1
_PERMITS: Final = ("plan/", "off-plan/")
"""How the ids of permits begin; a guard has a name of its own."""
_SIGNS: Final = {True: "✓", False: "✗", None: "?"}


class _Asked(wire.Body, frozen=True):
    tenant_id: wire.TenantId
    feature_id: wire.CatalogId
    quantity: wire.Quantity = 1
    entity_id: wire.EntityId | None = None
    context: wire.Context | None = None


@click.command()
@click.argument("tenant_id", metavar="TENANT")
@click.argument("feature_id", metavar="FEATURE")
@click.option("--quantity", metavar="N", help="How much is to be used, in the feature's unit.  [default: 1]")
@click.option("--entity", "entity_id", metavar="ID", help="The user, seat or workspace that would use it.")
@click.option(
    "--context",
    "said",
    multiple=True,
    callback=given.pairs,
    metavar="KEY=VALUE",
    help="What else is known of the use, if the feature takes it. May be repeated.",
)
@click.option(
    "--at", type=click.DateTime(), help="Ask as of this instant (UTC): its facts, its plans, events up to it."
)
@click.option("--explain", is_flag=True, help="Show every condition that was asked, and whether it holds.")
@settings.data_option
@show.json_option
@click.pass_context
def check(
    command: click.Context,
    *,
    tenant_id: str,
    feature_id: str,
    quantity: str | None,
    entity_id: str | None,
    said: dict[str, str],
    data: Path | None,
    at: datetime | None,
    explain: bool,
    as_json: bool,
) -> None:
    """Ask whether a tenant may use a feature now, and why.

    Nothing is used up by asking. Ends with 0 if the use is allowed and with 1 if it is denied.
    """
    asked = given.bounded(
        _Asked,
        tenant_id=tenant_id,
        feature_id=feature_id,
        quantity=quantity,
        entity_id=entity_id,
        context=said,
    )
    question = Check(
        tenant_id=asked.tenant_id,
        feature_id=asked.feature_id,
        quantity=asked.quantity,
        entity_id=asked.entity_id,
        context=asked.context or {},
        explain=explain,
    )
    instant = None if at is None else at.replace(tzinfo=UTC)
    decision = session.use(data, lambda context: _ask(context, question, instant))
    if as_json:
        show.json(decision)
    else:
        _show(decision)
    command.exit(0 if decision.allowed else _DENIED)


async def _ask(context: Context, question: Check, at: datetime | None) -> Decision:
    if at is not None:
        return await past.decided(context, question, at)
    (decision,) = await usecase.check(context, [question])
    return decision


def _show(decision: Decision) -> None:
    word = click.style("allowed", fg="green") if decision.allowed else click.style("denied", fg="red")
    click.echo(f"{word}: {decision.message}")
    show.fields(
        [
            *_why(decision),
            *_numbers(decision),
            *((f"cap {place}", _cap(cap)) for place, cap in enumerate(decision.caps, start=1)),
            ("resets", show.instant(decision.reset_at)),
            ("degraded", "a part is away, so this stands on less than usual" if decision.degraded else ""),
            ("decision", decision.decision_id),
        ]
    )
    if isinstance(decision.would_allow, Flip):
        click.echo(f"What would do: {decision.would_allow.sentence}.")
    if isinstance(decision.derivation, Derivation) and decision.derivation.sources:
        _show_derivation(decision.derivation)
    if isinstance(decision.clauses, tuple):
        _show_clauses(decision.clauses)


def _why(decision: Decision) -> list[tuple[str, str]]:
    rows = [("plan", f"{decision.plan_id} ({decision.plan_version})" if decision.plan_id else "")]
    for line in decision.reasons:
        where = f" at {line.source}" if line.source else ""
        by = f", by {line.policy_id}" if line.policy_id else ""
        rows.append(("reason", f"{line.reason}{by}{where}"))
    return rows


def _numbers(decision: Decision) -> list[tuple[str, str]]:
    rows = [("asked", show.number(decision.requested))]
    if decision.value is not None:
        value = decision.value if isinstance(decision.value, str | int) else _json(decision.value)
        rows.append(("value", str(value)))
    if decision.usage is not None and decision.plan_id is not None:
        granted = "unlimited" if decision.unlimited else show.number(decision.granted)
        rows.append(("used", f"{show.number(decision.usage)} of {granted}"))
        rows.append(("remaining", show.number(decision.remaining)))
        rows.append(("overage", show.number(decision.overage)))
        rows.append(("limit", show.number(decision.limit) or "none"))
    return rows


def _cap(cap: CapLine) -> str:
    used = show.number(cap.used) if cap.used is not None else "an unknown part"
    whose = "each entity" if cap.per == "entity" else "the tenant"
    until = f", until {show.instant(cap.reset_at)}" if cap.reset_at else ""
    return f"{used} of {show.number(cap.limit)} used ({cap.interval}, {whose}{until})"


def _show_derivation(derivation: Derivation) -> None:
    """Where the right comes from, one source a line."""
    rule = f", combined by {derivation.rule}" if derivation.rule and len(derivation.sources) > 1 else ""
    click.echo(f"It comes from{rule}:")
    for line in derivation.sources:
        times = f", {line.times} times" if line.times > 1 else ""
        where = f"   ({line.source})" if line.source else ""
        until = f", until {show.instant(line.ends_at)}" if line.ends_at else ""
        why = f", because: {line.reason}" if line.reason else ""
        gone = ", replaced by an override" if line.replaced else ""
        click.echo(
            f"  {line.kind} {line.id}: {line.term} {_gives(line.value)}{times}{until}{why}{gone}{where}"
        )


def _show_clauses(clauses: Sequence[ClauseLine]) -> None:
    """The clauses under the permit that they belong to, and the guards under one head."""
    if not clauses:
        click.echo("No condition was asked: nothing permits this use, or nothing bounds it.")
        return
    for policy_id, owned in groupby(clauses, key=lambda clause: clause.policy_id):
        guard = not policy_id.startswith(_PERMITS)
        says = "does not refuse the use" if guard else "permits the use if all of these hold"
        click.echo(f"{policy_id} {says}:")
        for clause in owned:
            click.echo(f"  {_SIGNS[clause.holds]} {clause.text}   ({clause.source})")
            if clause.values:
                values = ", ".join(f"{name} = {_value(value)}" for name, value in clause.values.items())
                click.echo(f"      {values}")


def _gives(value: int | str | bool | dict[str, Any] | None) -> str:  # noqa: FBT001 - the same
    if isinstance(value, dict):
        return _json(value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value).lower()


def _value(value: int | bool | str) -> str:  # noqa: FBT001 - it is printed, not acted on
    return str(value).lower() if isinstance(value, bool) else str(value)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
