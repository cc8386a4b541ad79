"""`metergate catalog replay`: what would have been answered otherwise with the plan files in a folder?"""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from policies.replay import Change, Direction
from service.cli import session, settings, show
from service.cli.catalog_policy import examine, read
from service.cli.group import CannotRunError
from service.context import Context
from service.usecases import publish, replaying
from service.usecases.replaying import Replayed, Span

_FLIPS: Final = 1
_HEADS: Final[dict[Direction, str]] = {
    "denied": "Allowed then, denied with these plans:",
    "allowed": "Denied then, allowed with these plans:",
    "reason": "The same answer for another reason:",
}


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--last", metavar="TIME", help="How far back, in days or hours: 7d, 36h.  [default: 7d]")
@click.option("--from", "start", type=click.DateTime(), help="Decisions of this instant (UTC) or later.")
@click.option("--to", "end", type=click.DateTime(), help="Decisions before this instant (UTC).")
@click.option("--tenant", "tenant_id", metavar="ID", help="Only those of this tenant.")
@settings.data_option
@show.json_option
@click.pass_context
def replay(
    command: click.Context,
    *,
    folder: Path,
    last: str | None,
    start: datetime | None,
    end: datetime | None,
    tenant_id: str | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Say which logged decisions the plan files in DIR would have answered otherwise, for whom, how often.

    Every tenant is taken to be on the plans in DIR. Nothing is published. Ends with 0 if nothing turns to
    denied, with 1 if something does, and with 2 if it could not run, as with errors in the files.
    """
    examined = examine(read(folder))
    if examined.catalog is None:
        for finding in examined.findings:
            show.note(finding.render())
        raise CannotRunError("There are errors in the files; `metergate catalog check` says the same.")
    catalog = examined.catalog
    span = Span(start=_utc(start), end=_utc(end), last=last, tenant_id=tenant_id)

    async def run(context: Context) -> Replayed:
        publish.refuse_new_meaning(context.catalogs.meanings, catalog)
        wanted = replaying.wanted(span, context.clock.now())
        with _progress() as bar:
            return await replaying.here(context, catalog, wanted, tell=_teller(bar))

    found = session.use(data, run)
    if as_json:
        show.json(found)
    else:
        _show(found)
    command.exit(_FLIPS if found.report.to_denied else 0)


def _progress() -> Progress:
    """A bar for the person at the terminal, beside the answer; elsewhere nothing."""
    console = Console(stderr=True)
    columns = (TextColumn("replay"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty())


def _teller(bar: Progress) -> Callable[[int, int], None]:
    task = bar.add_task("replay")
    return lambda done, total: bar.update(task, completed=done, total=total)


def _show(found: Replayed) -> None:
    report = found.report
    span = f"from {show.instant(found.start)} to {show.instant(found.end)}"
    click.echo(
        f"{report.run:,} logged decisions {span} were run; they stand for {report.decisions:,} answers."
    )
    show.fields(
        [
            ("the same", f"{report.same:,}"),
            ("to denied", f"{report.to_denied:,}"),
            ("to allowed", f"{report.to_allowed:,}"),
            ("another reason", f"{report.other_reason:,}"),
        ]
    )
    for direction, head in _HEADS.items():
        _show_changes(head, [each for each in report.changes if each.direction == direction])
    if report.tenants:
        click.echo(f"\nTenants ({report.tenants_touched:,}):")
        show.table(
            ["TENANT", "TO DENIED", "TO ALLOWED"],
            [(one.tenant_id, f"{one.denied:,}", f"{one.allowed:,}") for one in report.tenants],
        )
    for line in _unknown(found):
        click.echo(line)


def _show_changes(head: str, changes: list[Change]) -> None:
    if not changes:
        return
    click.echo(f"\n{head}")
    for change in changes:
        on = change.plan_id or "no plan"
        click.echo(
            f"  {change.feature_id} on {on}: {change.before} becomes {change.after}, "
            f"{change.decisions:,} answers ({change.logged:,} logged)"
        )
        for example in change.examples:
            click.echo(f"    {example.decision_id}  {example.message}")


def _unknown(found: Replayed) -> list[str]:
    """What this says nothing about."""
    lines = [f"{one.decisions:,} are unsure: {one.message}." for one in found.report.unsure]
    if found.left_out:
        lines.append(f"{found.left_out:,} older decisions were left out.")
    if found.unknown_tenants:
        named = ", ".join(found.unknown_first)
        more = ", …" if found.unknown_tenants > len(found.unknown_first) else ""
        lines.append(
            f"Of {found.unknown_tenants:,} tenants nothing is logged, so they are unknown: {named}{more}"
        )
    return ["", *lines] if lines else []


def _utc(at: datetime | None) -> datetime | None:
    return None if at is None else at.replace(tzinfo=UTC)
