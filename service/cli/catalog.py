"""`metergate catalog`: the plan files, checked, published and read."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from policies import limits
from policies.compiler.findings import Finding
from policies.model import Catalog, Offer
from service.api import wire
from service.cli import catalog_policy, catalog_replay, catalog_test_command, given, session, settings, show
from service.cli.catalog_policy import examine, read
from service.cli.group import Group
from service.context import Context
from service.usecases import publish
from service.usecases.publish import Examined
from store import catalogs, postgres
from store.catalogs import Published

_FOUND = 1

_Folder = click.Path(file_okay=False, path_type=Path)


class _Said(wire.Body, frozen=True):
    message: wire.Reason


class _Report(wire.Answer, frozen=True):
    """What a check came to."""

    hash: str | None
    files: int
    errors: int
    warnings: int
    findings: Sequence[Finding]


class _PlanChange(wire.Answer, frozen=True):
    """One plan, in the active catalog and in the new one; null: it is not there."""

    plan_id: str
    before: str | None
    after: str | None


class _Outcome(wire.Answer, frozen=True):
    """What a publish came to, or would come to."""

    hash: str
    published: bool
    plans: Sequence[_PlanChange]
    findings: Sequence[Finding]


@click.group(cls=Group)
def catalog() -> None:
    """Check, publish and read the plan files.

    A catalog is a folder with features.yaml (what can be sold) and plans/*.yaml (what each plan gives). A
    published catalog never changes; tenants stay on the version of the plan they have until they are moved.
    """


@catalog.command("check")
@click.argument("folder", metavar="DIR", type=_Folder)
@show.json_option
@click.pass_context
def check_catalog(command: click.Context, *, folder: Path, as_json: bool) -> None:
    """Say everything that is wrong with the plan files in DIR, and where. Needs no servers."""
    files = read(folder)
    examined = examine(files)
    if as_json:
        show.json(_report(examined, files))
    else:
        _show_findings(examined.findings)
        click.echo(_summary(examined, files))
    command.exit(_FOUND if examined.catalog is None else 0)


@catalog.command("publish")
@click.argument("folder", metavar="DIR", type=_Folder)
@click.option("--message", required=True, help="Why: kept in the history and in the audit.")
@click.option(
    "--yes", is_flag=True, help="Do it, also at a terminal, where else only what would change is said."
)
@settings.data_option
@show.json_option
@click.pass_context
def publish_catalog(
    command: click.Context, *, folder: Path, message: str, data: Path | None, yes: bool, as_json: bool
) -> None:
    """Make the plan files in DIR the ones that new subscriptions use.

    At a terminal it only says what would change, until you add --yes; a program that calls it means it. With
    errors in the files nothing happens, and they are all listed.
    """
    given.bounded(_Said, message=message)
    files = read(folder)
    examined = examine(files)
    if examined.catalog is None:
        if as_json:
            show.json(_report(examined, files))
        else:
            _show_findings(examined.findings)
            click.echo(f"{_summary(examined, files)} Nothing was published.")
        command.exit(_FOUND)
    dry = sys.stdout.isatty() and not yes

    async def published(context: Context) -> _Outcome:
        assert examined.catalog is not None
        publish.refuse_new_meaning(context.catalogs.meanings, examined.catalog)
        plans = _changes(context.catalogs.active, examined.catalog)
        done = None if dry else await publish.publish(context, session.caller(), files, message=message)
        return _Outcome(
            hash=examined.catalog.hash,
            published=done is not None and done.activated,
            plans=plans,
            findings=examined.findings,
        )

    outcome = session.use(data, published)
    if as_json:
        show.json(outcome)
    else:
        _show_outcome(outcome, dry=dry)


@catalog.command("history")
@click.option(
    "--limit",
    type=click.IntRange(1, limits.LIST_LIMIT),
    default=20,
    show_default=True,
    help="How many to list at most.",
)
@settings.data_option
@show.json_option
def history(*, limit: int, data: Path | None, as_json: bool) -> None:
    """List what was published, newest first: when, by whom and why."""

    async def listed(context: Context) -> tuple[list[Published], str]:
        async with postgres.transaction(context.pool) as connection:
            found = await catalogs.history(connection, limit=limit)
            return found, await catalogs.read_active_hash(connection) or ""

    found, active = session.use(data, listed)
    if as_json:
        show.json({"items": found, "active": active or None})
        return
    show.table(
        ["CATALOG", "PUBLISHED", "BY", "MESSAGE"],
        [
            (
                each.hash + (" (active)" if each.hash == active else ""),
                show.instant(each.published_at),
                each.author,
                each.message,
            )
            for each in found
        ],
    )


catalog.add_command(catalog_test_command.test_catalog)
catalog.add_command(catalog_policy.show_policy)
catalog.add_command(catalog_policy.schema)
catalog.add_command(catalog_replay.replay)


def _report(examined: Examined, files: dict[str, str]) -> _Report:
    wrong = sum(finding.severity == "error" for finding in examined.findings)
    return _Report(
        hash=None if examined.catalog is None else examined.catalog.hash,
        files=len(files),
        errors=wrong,
        warnings=len(examined.findings) - wrong,
        findings=examined.findings,
    )


def _show_findings(findings: Sequence[Finding]) -> None:
    for finding in findings:
        click.echo(finding.render())
        click.echo()


def _summary(examined: Examined, files: dict[str, str]) -> str:
    report = _report(examined, files)
    found = f"{_count(report.errors, 'error')} and {_count(report.warnings, 'warning')}"
    if examined.catalog is None:
        return f"{found} in {_count(report.files, 'file')}."
    made = (
        f"{_count(len(examined.catalog.features), 'feature')}, {_count(len(examined.catalog.plans), 'plan')}"
    )
    return f"{found} in {_count(report.files, 'file')}: {made}, catalog {examined.catalog.hash}."


def _changes(before: Offer | None, after: Catalog) -> list[_PlanChange]:
    was = before.plans if before else {}
    will = {plan.plan_id: plan.version for plan in after.plans.values()}
    return [
        _PlanChange(plan_id=plan_id, before=was.get(plan_id), after=will.get(plan_id))
        for plan_id in sorted(was | will)
    ]


def _show_outcome(outcome: _Outcome, *, dry: bool) -> None:
    _show_findings(outcome.findings)
    for change in outcome.plans:
        click.echo(f"  {change.plan_id}: {_said(change)}")
    if dry:
        click.echo(f"This would be catalog {outcome.hash}. Nothing was published; add --yes to do it.")
    elif outcome.published:
        click.echo(f"Catalog {outcome.hash} is published and active.")
    else:
        click.echo(f"Catalog {outcome.hash} is active already; nothing changed.")


def _said(change: _PlanChange) -> str:
    if change.before is None:
        return f"new, {change.after}"
    if change.after is None:
        return f"no longer offered; subscriptions to {change.before} keep it"
    if change.before == change.after:
        return f"unchanged, {change.after}"
    return f"changed, {change.before} becomes {change.after}; subscriptions keep the version they have"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
