"""`metergate books`: do counters, sums and events say the same, and what of them does not?"""

from pathlib import Path
from typing import Final, get_args

import click

from policies.drift import KINDS, Class, Detail
from service.cli import session, settings, show
from service.cli.group import NOT_RUN, Group
from service.usecases import books as usecase
from store.drift import Known

_DIFFERS: Final = 1
_PAUSE_S: Final = 2.0
_UNSURE_SHOWN: Final = 20


@click.group(cls=Group)
def books() -> None:
    """See where the records of usage differ, and look for it now.

    A worker goes through all of them all the time. Nothing is put right by these commands.

    Exit codes: 0 nothing differs; 1 something does; 2 it could not be looked at.
    """


@books.command("list")
@click.option("--tenant", "tenant_id", metavar="ID", help="Only of this tenant.")
@click.option("--class", "kind", type=click.Choice(get_args(Class)), help="Only of this class.")
@click.option("--all", "all_", is_flag=True, help="Also what is only suspected, and what is gone.")
@settings.data_option
@show.json_option
@click.pass_context
def list_books(
    command: click.Context,
    *,
    tenant_id: str | None,
    kind: Class | None,
    all_: bool,
    data: Path | None,
    as_json: bool,
) -> None:
    """List what differs, the oldest first."""
    found = session.use(
        data, lambda context: usecase.listed(context, all_=all_, tenant_id=tenant_id, kind=kind)
    )
    if as_json:
        show.json(found)
    else:
        _show_all(found.items)
        through = show.instant(found.looked_through) if found.looked_through else "not once yet"
        click.echo(f"All books were gone through: {through}.")
    command.exit(_DIFFERS if any(one.state == "open" for one in found.items) else 0)


@books.command("show")
@click.argument("drift_id", metavar="ID")
@settings.data_option
@show.json_option
@click.pass_context
def show_drift(command: click.Context, *, drift_id: str, data: Path | None, as_json: bool) -> None:
    """Show one difference with its evidence."""
    found = session.use(data, lambda context: usecase.get(context, drift_id))
    if as_json:
        show.json(found)
    else:
        click.echo(f"{found.kind}: {KINDS[found.kind].means}")
        show.fields(_told(found))
    command.exit(_DIFFERS if found.state == "open" else 0)


@books.command("check")
@click.option("--tenant", "tenant_id", metavar="ID", help="Only this tenant.")
@click.option(
    "--pause",
    "pause_s",
    type=click.FloatRange(min=0.0, max=600.0),
    default=_PAUSE_S,
    show_default=True,
    help="Seconds between the two looks that call a difference drift.",
)
@settings.data_option
@show.json_option
@click.pass_context
def check_books(
    command: click.Context, *, tenant_id: str | None, pause_s: float, data: Path | None, as_json: bool
) -> None:
    """Look now: at one tenant, or at all of them and at all that Redis has counted.

    Ends with 2 if a tenant could not be looked at: its shard is closed, or the flush is behind.
    """
    done = session.use(data, lambda context: usecase.check(context, tenant_id, apart_s=pause_s))
    if as_json:
        show.json(done)
    else:
        _show_all(done.open)
        for whose, why in list(done.unsure.items())[:_UNSURE_SHOWN]:
            show.note(f"{whose}: {why}.")
        counted = f"{done.tenants:,} tenant{'' if done.tenants == 1 else 's'}"
        said = f"{len(done.open):,} differences" if done.open else "nothing differs"
        click.echo(f"Looked at {counted}: {said}.")
    command.exit(NOT_RUN if done.unsure else _DIFFERS if done.open else 0)


def _show_all(items: list[Known]) -> None:
    if items:
        show.table(
            ["DRIFT", "CLASS", "TENANT", "WHAT", "EXPECTED", "ACTUAL", "STATE", "LOOKS", "SINCE"],
            [
                (
                    one.drift_id,
                    one.kind,
                    one.tenant_id,
                    one.subject,
                    _detail(one.expected),
                    _detail(one.actual),
                    one.state,
                    str(one.looks),
                    show.instant(one.first_seen_at),
                )
                for one in items
            ],
        )


def _told(found: Known) -> list[tuple[str, str]]:
    """Amounts as they are counted: scaled."""
    return [
        ("tenant", found.tenant_id),
        ("feature", found.feature_id),
        ("what", found.subject),
        ("expected", _detail(found.expected)),
        ("actual", _detail(found.actual)),
        ("money", show.pairs({name: f"{amount:,}" for name, amount in (found.money or {}).items()})),
        ("state", found.state),
        ("looks", str(found.looks)),
        ("first seen", show.instant(found.first_seen_at)),
        ("last seen", show.instant(found.last_seen_at)),
        ("gone", show.instant(found.gone_at)),
        ("action", found.action),
        ("why safe", found.why_safe or "it is not: somebody has to look first"),
        *((f"evidence: {name}", _detail(value)) for name, value in found.evidence.items()),
    ]


def _detail(value: Detail) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return ", ".join(value) if isinstance(value, list) else value or "nothing"
