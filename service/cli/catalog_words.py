"""How findings, differences and previews of catalogs are printed for people."""

from collections.abc import Sequence
from itertools import groupby
from typing import Final

import click

from policies.compiler.findings import Finding, visible
from service.cli import show
from service.usecases.difference import Comparison, Told
from service.usecases.moves import Moved
from service.usecases.preview import Over, Tenant, Touched

_SIGNS: Final = {"better": "+ better ", "worse": "- worse  ", "neutral": "· neutral"}
_COLOURS: Final = {"better": "green", "worse": "red", "neutral": None}
_HEADS: Final = {
    "plan": "",
    "addon": "Add-on ",
    "feature": "Feature ",
    "guard": "Guard ",
    "invariant": "Rule ",
}


def findings(found: Sequence[Finding]) -> None:
    """Each with its line and a caret."""
    for finding in found:
        click.echo(finding.render())
        click.echo()


def count(number: int, noun: str) -> str:
    """`1 plan`, `2 plans`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def comparison(told: Comparison, against: str) -> None:
    """Every difference, under the plan, add-on or feature that has it."""
    click.echo(f"Compared with {against}.")
    if not told.before:
        click.echo(f"Everything is new: {_sold(told)}.")
        return
    if not told.changes:
        click.echo("They say the same: nothing changes for anybody.")
        return
    if told.tenants is not None:
        click.echo(_as_of(told))
    for (subject, named, name), group in groupby(told.changes, lambda one: (one.subject, one.id, one.name)):
        changes = list(group)
        title = visible(
            f"{_HEADS.get(subject, '')}{name}" + (f" ({named})" if named not in ("", name) else "")
        )
        click.echo(f"\n{click.style(title, bold=True)}{_whose(told, changes)}")
        for one in changes:
            sign = click.style(_SIGNS[one.effect], fg=_COLOURS[one.effect])
            click.echo(f"  {sign}  {visible(one.sentence.removeprefix(f'{one.name}: '))}")
    by = {effect: sum(one.effect == effect for one in told.changes) for effect in _SIGNS}
    click.echo(f"\n{count(len(told.changes), 'difference')}: {by['worse']:,} worse, {by['better']:,} better, "
               f"{by['neutral']:,} neutral for those subscribed." + _nobody(told))  # fmt: skip


def _sold(told: Comparison) -> str:
    """What a first catalog brings."""
    kinds = (("plan", "plan"), ("addon", "add-on"), ("feature", "feature"), ("guard", "guard"))
    named = {
        noun: list(dict.fromkeys(one.id for one in told.changes if one.subject == kind))
        for kind, noun in kinds
    }
    return "; ".join(f"{count(len(ids), noun)} ({', '.join(ids)})" for noun, ids in named.items() if ids)


def _as_of(told: Comparison) -> str:
    through = told.usage_through
    used = f"usage reported before {show.instant(through)}" if through else "usage as far as it is known"
    return (
        f"Tenants as of {show.instant(told.as_of)}. Who is above a number is told by {used}, in their\n"
        "present period; what add-ons and grants give beside the plan is not looked at."
    )


def _whose(told: Comparison, changes: Sequence[Told]) -> str:
    first = changes[0]
    if told.tenants is None or first.subject == "invariant":
        return ""
    tenants = told.tenants.get(first.id, 0) if first.subject == "plan" else first.tenants
    return "" if tenants is None else f", {count(tenants, 'tenant')}"


def _nobody(told: Comparison) -> str:
    if told.worse or not any(one.effect == "worse" for one in told.changes):
        return ""
    return " Nobody has what would become worse."


def preview(subscribed: Sequence[Touched]) -> None:
    """What happens to those subscribed, plan by plan."""
    for one in subscribed:
        noun = "have" if one.kind == "addon" else "are on"
        title = click.style(f"{one.id}: {count(one.tenants, 'tenant')} {noun} another version", bold=True)
        click.echo(f"\n{title}; {_MOVES[one.move]}")
        show.fields(
            [
                ("new version", one.version),
                ("they have", ", ".join(f"{version} ({n:,})" for version, n in one.versions.items())),
                (
                    "above it today",
                    "; ".join(f"{each.tenants:,} {_more(each)}" for each in one.above) or "nobody",
                ),
                ("would lose", ", ".join(f"{each.feature_id} ({each.tenants:,})" for each in one.loses)),
            ]
        )
        if one.first:
            show.table(["  TENANT", "NAME", "HAS", "ABOVE", "LOSES"], [_row(each) for each in one.first])
            more = one.tenants - len(one.first)
            if more > 0:
                click.echo(f"  and {more:,} more")


_MOVES: Final = {
    "keep": "they keep it (keep)",
    "now": "they move at once (now)",
    "renewal": "they move when their billing period is over (renewal)",
}


def _more(one: Over) -> str:
    where = {"period": "", "cap": " (cap)", "entityCap": " (cap for each entity)"}[one.measure]
    return f"used more than {show.number(one.number)} {one.feature_id} in this {one.interval}{where}"


def _row(one: Tenant) -> tuple[str, ...]:
    return (f"  {one.tenant_id}", one.name, one.version, ", ".join(one.above), ", ".join(one.loses))


def moved(done: Moved) -> None:
    """How many were moved, and who was not."""
    parts = [f"{count(done.moved, 'tenant')} moved"]
    if done.already:
        parts.append(f"{done.already:,} had it already")
    if done.left:
        parts.append(f"{done.left:,} left as they are")
    click.echo(", ".join(parts) + ".")
    for one in done.reasons:
        click.echo(f"  {one.tenant_id}: {one.reason}")
    if done.left > len(done.reasons):
        click.echo(f"  and {done.left - len(done.reasons):,} more")
