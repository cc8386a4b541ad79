"""`metergate reconcile`: where do our records and the payment provider's differ, and what is to be done?"""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Final

import click

from policies import money
from policies.compiler.findings import visible
from policies.reconcile import looks
from policies.reconcile.plan import Plan, Proposal, Scope
from service.cli import session, settings, show
from service.cli.group import NOT_RUN, Group
from service.context import Context
from service.usecases import reconcile as reconciling
from service.usecases import reconcile_apply
from service.usecases.reconcile import PlanView

_FOUND: Final = 1


@click.group(cls=Group)
def reconcile() -> None:
    """See where our records and the payment provider's differ, and put right what is safe.

    A worker looks every hour at what is open and every day at everything, and changes nothing.

    Exit codes: 0 nothing differs, or all was done; 1 something does; 2 it could not be looked at reliably.
    """


@reconcile.command("plan")
@click.option(
    "--scope",
    type=click.Choice(["full", "open"]),
    default="full",
    show_default=True,
    help="Everything, or only what is not over.",
)
@click.option("--once", is_flag=True, help="Look once: what is new is only suspected then.")
@settings.data_option
@show.json_option
@click.pass_context
def make_plan(command: click.Context, *, scope: Scope, once: bool, data: Path | None, as_json: bool) -> None:
    """Look twice, a minute apart, and write a plan. Nothing is changed."""
    made = session.use(data, lambda context: _make(context, scope, once=once))
    if as_json:
        show.json(made)
    else:
        _show(PlanView(plan=made, done=[]))
    command.exit(_ends(made))


async def _make(context: Context, scope: Scope, *, once: bool) -> Plan:
    made = await reconciling.make(context, scope, context.clock.now())
    if once or not any(total.suspected for total in made.totals):
        return made
    show.note("Something may differ; the second look follows in a minute.")
    await asyncio.sleep((looks.APART + timedelta(seconds=1)).total_seconds())
    return await reconciling.make(context, scope, context.clock.now())


@reconcile.command("show")
@click.argument("plan_id", metavar="[PLAN]", required=False, default="")
@settings.data_option
@show.json_option
@click.pass_context
def show_plan(command: click.Context, *, plan_id: str, data: Path | None, as_json: bool) -> None:
    """Show PLAN, or the newest one: what differs, what is to be done, why that is safe, what is at risk."""
    found = session.use(data, lambda context: reconciling.get(context, plan_id))
    if as_json:
        show.json(found)
    else:
        _show(found)
    command.exit(_ends(found.plan))


@reconcile.command("apply")
@click.argument("plan_id", metavar="PLAN")
@click.option("--execute", is_flag=True, help="Do it. Without this, only say what would be done.")
@settings.data_option
@show.json_option
@click.pass_context
def apply_plan(
    command: click.Context, *, plan_id: str, execute: bool, data: Path | None, as_json: bool
) -> None:
    """Do what PLAN proposes and a machine may do: nothing that charges, pays back, or raises an amount.

    It may be run again: what was done is not done twice. What a person is to decide is left alone.
    """
    if not execute:
        found = session.use(data, lambda context: reconciling.get(context, plan_id))
    else:
        found = session.use(
            data, lambda context: reconcile_apply.apply(context, session.order().caller, plan_id)
        )
    if as_json:
        show.json(found)
    else:
        _show(found)
        if not execute:
            click.echo(f"Nothing was done: this is what --execute would do ({len(found.plan.actions)} acts).")
    failed = [one for one in found.done if one.state == "failed"]
    left = len(found.plan.proposals) > len([one for one in found.done if one.state != "failed"])
    command.exit(NOT_RUN if failed else _FOUND if left else 0)


def _ends(plan: Plan) -> int:
    if plan.unread or plan.broken:
        return NOT_RUN
    return 0 if plan.is_clean else _FOUND


def _show(view: PlanView) -> None:
    plan = view.plan
    click.echo(
        f"Plan {plan.plan_id} of {show.instant(plan.made_at)} ({plan.scope}): "
        f"{plan.looked_at:,} things were compared."
    )
    for text in plan.unread:
        click.echo(f"  could not be read: {visible(text)}")
    if plan.broken:
        click.echo(f"  stopped: too much is found of {', '.join(plan.broken)}; something else is wrong.")
    if plan.is_clean:
        click.echo("Nothing differs.")
        return
    _show_sum(plan)
    if plan.totals:
        show.table(
            ["CLASS", "OPEN", "SUSPECTED", "AT RISK", "SINCE"],
            [
                (
                    one.kind,
                    str(one.open),
                    str(one.suspected),
                    ", ".join(money.human(amount, currency) for currency, amount in one.money.items()),
                    show.instant(one.oldest),
                )
                for one in plan.totals
            ],
        )
    done = {one.finding_id: f"{one.state}: {one.told}" for one in view.done}
    for proposal in plan.proposals:
        _show_proposal(proposal, done.get(proposal.finding_id))
    for line in plan.books:
        click.echo(
            f"books: {line.kind} of {line.tenant_id}, {visible(line.subject)}: "
            f"{line.expected} expected, {line.actual} there"
        )


def _show_sum(plan: Plan) -> None:
    risk = ", ".join(money.human(amount, currency) for currency, amount in plan.at_risk.items())
    since = "" if plan.oldest is None else f"; the oldest is open since {show.instant(plan.oldest)}"
    click.echo(f"At risk: {risk or 'no money'}{since}.")


def _show_proposal(proposal: Proposal, done: str | None) -> None:
    finding = proposal.finding
    risk = f", {money.human(finding.money, finding.currency)}" if finding.money else ""
    whose = finding.tenant_id or "nobody"
    click.echo(f"{finding.kind} {visible(finding.subject)} of {whose}{risk}: {proposal.means}")
    click.echo(f"  expected {visible(finding.expected)}, found {visible(finding.actual)}")
    if proposal.act is None:
        click.echo(f"  to be decided: {proposal.action}")
    else:
        click.echo(f"  {proposal.act}: {proposal.action}. {proposal.why_safe}")
    if done is not None:
        click.echo(f"  {done}")
