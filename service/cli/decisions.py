"""`metergate decisions`: what was decided, on what it stood, and whether it would come out the same."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final, get_args

import click

from policies.compiler.cedar import Reason
from policies.engine import Outcome
from service.cli import given, session, settings, show
from service.cli.group import Group
from service.usecases import decisions as usecase
from service.usecases.decisions import Filter, Rerun, Summary, Whole

_DIFFERENT: Final = 1


@click.group(cls=Group)
def decisions() -> None:
    """See what was decided, on what it stood, and decide it again.

    All denials are kept, and of the allows every so-manieth, for some weeks.
    """


@decisions.command("list")
@click.option("--tenant", "tenant_id", metavar="ID", help="Only those of this tenant.")
@click.option("--feature", "feature_id", metavar="ID", help="Only those of this feature.")
@click.option("--outcome", type=click.Choice(get_args(Outcome)), help="Only those that ended so.")
@click.option("--reason", type=click.Choice(get_args(Reason)), help="Only those with this reason.")
@click.option("--from", "start", type=click.DateTime(), help="Only those of this instant (UTC) or later.")
@click.option("--to", "end", type=click.DateTime(), help="Only those before this instant (UTC).")
@given.limit_option
@settings.data_option
@show.json_option
def list_decisions(
    *,
    tenant_id: str | None,
    feature_id: str | None,
    outcome: Outcome | None,
    reason: Reason | None,
    start: datetime | None,
    end: datetime | None,
    limit: int,
    data: Path | None,
    as_json: bool,
) -> None:
    """List what was decided, newest first."""
    wanted = Filter(
        tenant_id=tenant_id,
        feature_id=feature_id,
        outcome=outcome,
        reason=reason,
        start=_utc(start),
        end=_utc(end),
    )
    page = session.use(data, lambda context: usecase.listed(context, wanted, after="", limit=limit))
    if as_json:
        show.json(page)
        return
    show.table(
        ["DECISION", "AT", "TENANT", "FEATURE", "ASKED", "OUTCOME", "REASON"],
        [
            (
                one.decision_id,
                show.instant(one.as_of),
                one.tenant_id,
                one.feature_id,
                show.number(one.requested),
                one.outcome,
                one.reason,
            )
            for one in page.items
        ],
    )


@decisions.command("show")
@click.argument("decision_id", metavar="ID")
@settings.data_option
@show.json_option
def show_decision(*, decision_id: str, data: Path | None, as_json: bool) -> None:
    """Show one decision with the facts and the usage that it stood on."""
    found = session.use(data, lambda context: usecase.get(context, decision_id))
    if as_json:
        show.json(found)
    else:
        _show(found)


@decisions.command("rerun")
@click.argument("decision_id", metavar="ID")
@settings.data_option
@show.json_option
@click.pass_context
def rerun(command: click.Context, *, decision_id: str, data: Path | None, as_json: bool) -> None:
    """Decide again on what was known then.

    Ends with 0 if the answer is the same and with 1 if it is another, or cannot be given any more.
    """
    found = session.use(data, lambda context: usecase.rerun(context, decision_id))
    if as_json:
        show.json(found)
    else:
        _show_again(found)
    command.exit(0 if found.same else _DIFFERENT)


def _show(found: Whole) -> None:
    click.echo(f"{found.outcome}: {found.reason}")
    show.fields([*_asked(found), *_stood_on(found)])


def _asked(found: Summary) -> list[tuple[str, str]]:
    return [
        ("at", show.instant(found.as_of)),
        ("tenant", found.tenant_id),
        ("feature", found.feature_id),
        ("entity", found.entity_id or ""),
        ("asked", show.number(found.requested)),
        ("context", show.pairs(found.context)),
        ("policy", found.policy_id or ""),
        ("plan", found.plan_version or ""),
        ("catalog", found.catalog),
        ("stands for", f"{found.weight:,} answers" if found.weight > 1 else ""),
    ]


def _stood_on(found: Whole) -> list[tuple[str, str]]:
    """Scaled, as it is kept: what `metergate decisions show --json` has in full."""
    snapshot, levels = found.facts.snapshot, found.levels
    rows = [("metadata", show.pairs(snapshot.metadata))]
    rows += [("grant", f"{one.id}: {one.quantity:,}") for one in snapshot.grants]
    rows += [("override", one.id) for one in snapshot.overrides]
    if levels is not None:
        rows.append(("drawn", f"{levels.included:,} included, {levels.overage:,} overage"))
        rows += [
            ("cap", f"{level:,} in the {axis.interval} of one {axis.per}")
            for axis, level in zip(found.facts.caps, levels.caps, strict=True)
        ]
    rows.append(("counters", "could not be read" if found.counters_away else ""))
    rows.append(("facts", "could not be read anew" if found.facts_stale else ""))
    rows.append(("decided by", found.release))
    return rows


def _show_again(found: Rerun) -> None:
    click.echo("The answer is the same." if found.same else "The answer is not the same.")
    for each in found.differences:
        click.echo(f"  {each.message}")


def _utc(at: datetime | None) -> datetime | None:
    return None if at is None else at.replace(tzinfo=UTC)
