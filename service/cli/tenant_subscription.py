"""`metergate tenant subscribe|change|cancel|resume`: what a tenant is subscribed to."""

from pathlib import Path

import click
import msgspec

from policies import limits
from policies.compiler.findings import visible
from service.api import wire
from service.cli import given, session, settings, show
from service.usecases import subscribe
from service.usecases.changes import Reply
from service.usecases.offers import AddonWish
from service.usecases.subscription_view import PhaseView, SubscriptionView


class _Named(wire.Body, frozen=True):
    tenant_id: wire.TenantId


class _Started(_Named, frozen=True):
    plan_id: wire.CatalogId
    start_at: wire.Instant | None = None
    anchor: wire.Instant | None = None


class _Moved(_Named, frozen=True):
    plan_id: wire.CatalogId | None = None


def _addons(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[AddonWish, ...]:
    """`ID` or `ID=N`, each id once."""
    said = given.pairs(context, parameter, tuple(one if "=" in one else f"{one}=1" for one in values))
    for addon_id, number in said.items():
        if not (number.isascii() and number.isdigit() and len(number) <= len(str(limits.ADDON_QUANTITY))):
            raise click.BadParameter(
                f'"{number}" of {addon_id} is no number from 1 to {limits.ADDON_QUANTITY:,}.', param=parameter
            )
    return tuple(AddonWish(addon_id=addon_id, quantity=int(number)) for addon_id, number in said.items())


addon_option = click.option(
    "--addon",
    "addons",
    multiple=True,
    callback=_addons,
    metavar="ID[=N]",
    help="An add-on beside the plan, N times (once). May be repeated.",
)


@click.command("subscribe")
@click.argument("tenant_id", metavar="TENANT")
@click.argument("plan_id", metavar="PLAN")
@click.option("--start-at", metavar="TIME", help="When it begins, as in 2026-12-01T00:00:00Z; else now.")
@click.option("--anchor", metavar="TIME", help="From when its periods are counted; else from its beginning.")
@click.option("--trial", is_flag=True, help="Begin with the plan's trial.")
@addon_option
@settings.data_option
@show.json_option
def subscribe_tenant(
    *,
    tenant_id: str,
    plan_id: str,
    start_at: str | None,
    anchor: str | None,
    data: Path | None,
    trial: bool,
    addons: tuple[AddonWish, ...],
    as_json: bool,
) -> None:
    """Put TENANT on PLAN. It must not have a subscription; to move it to another plan, use change."""
    said = given.bounded(_Started, tenant_id=tenant_id, plan_id=plan_id, start_at=start_at, anchor=anchor)
    wish = subscribe.Wish(
        plan_id=said.plan_id,
        start_at=given.utc(said.start_at, "/startAt"),
        anchor=given.utc(said.anchor, "/anchor"),
        trial=trial,
        addons=addons,
    )
    reply = session.use(data, lambda context: subscribe.start(context, session.order(), tenant_id, wish))
    told(reply, as_json=as_json)


@click.command("change")
@click.argument("tenant_id", metavar="TENANT")
@click.argument("plan_id", metavar="[PLAN]", required=False)
@click.option(
    "--when",
    type=click.Choice(["now", "renewal"]),
    required=True,
    help="At once, or when the billing period that runs now is over.",
)
@addon_option
@click.option("--no-addons", is_flag=True, help="Without any add-on from then on.")
@settings.data_option
@show.json_option
def change_tenant(
    *,
    tenant_id: str,
    plan_id: str | None,
    when: subscribe.ChangeWhen,
    addons: tuple[AddonWish, ...],
    no_addons: bool,
    data: Path | None,
    as_json: bool,
) -> None:
    """Move TENANT to PLAN, or to other add-ons.

    The add-ons that you name are all that it has from then on; name none, and those that it has stay. Without
    PLAN and add-ons it moves to the newest version of the plan that it is on.
    """
    if addons and no_addons:
        raise click.UsageError("--addon and --no-addons exclude each other.")
    said = given.bounded(_Moved, tenant_id=tenant_id, plan_id=plan_id)
    move = subscribe.Move(plan_id=said.plan_id, addons=addons if addons or no_addons else None, when=when)
    reply = session.use(
        data,
        lambda context: subscribe.change(context, session.order(), tenant_id, move),
    )
    told(reply, as_json=as_json)


@click.command("cancel")
@click.argument("tenant_id", metavar="TENANT")
@click.option(
    "--when",
    type=click.Choice(["now", "periodEnd"]),
    default="periodEnd",
    show_default=True,
    help="At once, or when the billing period that runs now is over.",
)
@settings.data_option
@show.json_option
def cancel_tenant(*, tenant_id: str, when: subscribe.CancelWhen, data: Path | None, as_json: bool) -> None:
    """End the subscription of TENANT. The tenant and its usage stay."""
    given.bounded(_Named, tenant_id=tenant_id)
    reply = session.use(
        data, lambda context: subscribe.cancel(context, session.order(), tenant_id, when=when)
    )
    told(reply, as_json=as_json)


@click.command("resume")
@click.argument("tenant_id", metavar="TENANT")
@settings.data_option
@show.json_option
def resume_tenant(*, tenant_id: str, data: Path | None, as_json: bool) -> None:
    """Take back the end of a subscription that is scheduled but has not come."""
    given.bounded(_Named, tenant_id=tenant_id)
    told(
        session.use(data, lambda context: subscribe.resume(context, session.order(), tenant_id)),
        as_json=as_json,
    )


def told(reply: Reply, *, as_json: bool) -> None:
    """Shows the subscription that a write has answered."""
    if as_json:
        show.json(reply.body)
    else:
        show_subscription(msgspec.json.decode(reply.body, type=SubscriptionView))


def show_subscription(view: SubscriptionView) -> None:
    """A subscription, its phases and its billing statuses, for people."""
    click.echo(f"Subscription {view.subscription_id} of {view.tenant_id}: {view.state}")
    period = view.current_period
    show.fields(
        [
            ("plan", f"{view.plan_id} ({view.plan_version})" if view.plan_id else ""),
            ("add-ons", _held(view)),
            ("billing status", view.billing_status),
            ("period", f"{show.instant(period.start)} until {show.instant(period.end)}" if period else ""),
            ("trial until", show.instant(view.trial_ends_at)),
            ("ends", show.instant(view.ends_at)),
        ]
    )
    for phase in view.phases:
        until = f" until {show.instant(phase.end)}" if phase.end else ""
        held = f" with {_held(phase)}" if phase.addons else ""
        click.echo(f"  from {show.instant(phase.start)}{until}: {phase.plan_id} ({phase.plan_version}){held}")
    for fact in view.billing:
        click.echo(f"  {fact.status} from {show.instant(fact.since)}: {visible(fact.reason)}")


def _held(view: SubscriptionView | PhaseView) -> str:
    return ", ".join(f"{held.quantity} of {held.addon_id}" for held in view.addons)
