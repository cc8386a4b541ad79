"""`metergate tenant`: who is served, and what each is subscribed to."""

from pathlib import Path

import click
import msgspec

from policies import errors
from service.api import wire
from service.cli import given, session, settings, show
from service.cli.group import Group
from service.context import Context
from service.usecases import subscribe, tenants
from service.usecases.changes import Reply
from service.usecases.subscription_view import SubscriptionView
from service.usecases.tenants import TenantView


class _Named(wire.Body, frozen=True):
    tenant_id: wire.TenantId


class _Found(wire.Body, frozen=True):
    query: wire.Name | None = None


class _Started(_Named, frozen=True):
    plan_id: wire.CatalogId
    start_at: wire.Instant | None = None
    anchor: wire.Instant | None = None


class _Moved(_Named, frozen=True):
    plan_id: wire.CatalogId | None = None


class _Shown(wire.Answer, frozen=True):
    """A tenant with its subscription, if it ever had one."""

    tenant: TenantView
    subscription: SubscriptionView | None


@click.group(cls=Group)
def tenant() -> None:
    """See and change tenants and what they are subscribed to.

    A tenant is the account that holds rights: a customer, a team, an organisation. Every change is written
    down with the name of who made it.
    """


@tenant.command("put")
@click.argument("tenant_id", metavar="TENANT")
@click.option("--name", help="What people call it.")
@click.option("--email", help="Where its bills go.")
@click.option(
    "--metadata",
    multiple=True,
    callback=given.pairs,
    metavar="KEY=VALUE",
    help="A note of your own, kept and given back. May be repeated.",
)
@settings.data_option
@show.json_option
def put_tenant(
    *,
    tenant_id: str,
    name: str | None,
    email: str | None,
    metadata: dict[str, str],
    data: Path | None,
    as_json: bool,
) -> None:
    """Make TENANT, or replace all that is written about it.

    What you leave out is emptied. Its subscription and its usage are not touched.
    """
    from service.api.tenants import TenantBody  # noqa: PLC0415 - it loads the web framework

    given.bounded(_Named, tenant_id=tenant_id)
    body = given.bounded(TenantBody, name=name, email=email, metadata=metadata)
    wish = tenants.Wish(name=body.name or "", email=body.email or "", metadata=body.metadata or {})
    reply = session.use(data, lambda context: tenants.put(context, session.order(), tenant_id, wish))
    if as_json:
        show.json(reply.body)
    else:
        _show_tenant(msgspec.json.decode(reply.body, type=TenantView))


@tenant.command("list")
@click.option("--query", metavar="TEXT", help="Only those whose id, name or e-mail address contains this.")
@given.limit_option
@given.after_option
@settings.data_option
@show.json_option
def list_tenants(*, query: str | None, limit: int, after: str, data: Path | None, as_json: bool) -> None:
    """List tenants, by id."""
    wanted = given.bounded(_Found, query=query).query or ""
    page = session.use(data, lambda context: tenants.search(context, query=wanted, after=after, limit=limit))
    if as_json:
        show.json(page)
        return
    show.table(
        ["TENANT", "NAME", "EMAIL", "MADE", "CLOSED"],
        [
            (
                item.tenant_id,
                item.name,
                item.email,
                show.instant(item.created_at),
                show.instant(item.closed_at),
            )
            for item in page.items
        ],
    )
    if page.next_cursor:
        show.note(f"There are more: --after {page.next_cursor}")


@tenant.command("show")
@click.argument("tenant_id", metavar="TENANT")
@settings.data_option
@show.json_option
def show_tenant(*, tenant_id: str, data: Path | None, as_json: bool) -> None:
    """Show TENANT and its subscription: the plan, the period, and what is scheduled."""
    given.bounded(_Named, tenant_id=tenant_id)
    found = session.use(data, lambda context: _read(context, tenant_id))
    if as_json:
        show.json(found)
        return
    _show_tenant(found.tenant)
    if found.subscription is None:
        click.echo("No subscription.")
    else:
        _show_subscription(found.subscription)


@tenant.command("subscribe")
@click.argument("tenant_id", metavar="TENANT")
@click.argument("plan_id", metavar="PLAN")
@click.option("--start-at", metavar="TIME", help="When it begins, as in 2026-12-01T00:00:00Z; else now.")
@click.option("--anchor", metavar="TIME", help="From when its periods are counted; else from its beginning.")
@click.option("--trial", is_flag=True, help="Begin with the plan's trial.")
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
    as_json: bool,
) -> None:
    """Put TENANT on PLAN. It must not have a subscription; to move it to another plan, use change."""
    said = given.bounded(_Started, tenant_id=tenant_id, plan_id=plan_id, start_at=start_at, anchor=anchor)
    wish = subscribe.Wish(
        plan_id=said.plan_id,
        start_at=given.utc(said.start_at, "/startAt"),
        anchor=given.utc(said.anchor, "/anchor"),
        trial=trial,
    )
    reply = session.use(data, lambda context: subscribe.start(context, session.order(), tenant_id, wish))
    _told(reply, as_json=as_json)


@tenant.command("change")
@click.argument("tenant_id", metavar="TENANT")
@click.argument("plan_id", metavar="[PLAN]", required=False)
@click.option(
    "--when",
    type=click.Choice(["now", "renewal"]),
    required=True,
    help="At once, or when the billing period that runs now is over.",
)
@settings.data_option
@show.json_option
def change_tenant(
    *, tenant_id: str, plan_id: str | None, when: subscribe.ChangeWhen, data: Path | None, as_json: bool
) -> None:
    """Move TENANT to PLAN; without PLAN, to the newest version of the plan it is on."""
    said = given.bounded(_Moved, tenant_id=tenant_id, plan_id=plan_id)
    move = subscribe.Move(plan_id=said.plan_id, when=when)
    reply = session.use(
        data,
        lambda context: subscribe.change(context, session.order(), tenant_id, move),
    )
    _told(reply, as_json=as_json)


@tenant.command("cancel")
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
    _told(reply, as_json=as_json)


@tenant.command("resume")
@click.argument("tenant_id", metavar="TENANT")
@settings.data_option
@show.json_option
def resume_tenant(*, tenant_id: str, data: Path | None, as_json: bool) -> None:
    """Take back the end of a subscription that is scheduled but has not come."""
    given.bounded(_Named, tenant_id=tenant_id)
    _told(
        session.use(data, lambda context: subscribe.resume(context, session.order(), tenant_id)),
        as_json=as_json,
    )


async def _read(context: Context, tenant_id: str) -> _Shown:
    view, _ = await tenants.get(context, tenant_id)
    try:
        held, _ = await subscribe.get(context, tenant_id)
    except errors.NotFoundError:
        return _Shown(tenant=view, subscription=None)
    return _Shown(tenant=view, subscription=held)


def _told(reply: Reply, *, as_json: bool) -> None:
    if as_json:
        show.json(reply.body)
    else:
        _show_subscription(msgspec.json.decode(reply.body, type=SubscriptionView))


def _show_tenant(view: TenantView) -> None:
    click.echo(f"Tenant {view.tenant_id}")
    show.fields(
        [
            ("name", view.name),
            ("email", view.email),
            ("metadata", show.pairs(view.metadata)),
            ("made", show.instant(view.created_at)),
            ("closed", show.instant(view.closed_at)),
        ]
    )


def _show_subscription(view: SubscriptionView) -> None:
    click.echo(f"Subscription {view.subscription_id} of {view.tenant_id}: {view.state}")
    period = view.current_period
    show.fields(
        [
            ("plan", f"{view.plan_id} ({view.plan_version})" if view.plan_id else ""),
            ("billing status", view.billing_status),
            ("period", f"{show.instant(period.start)} until {show.instant(period.end)}" if period else ""),
            ("trial until", show.instant(view.trial_ends_at)),
            ("ends", show.instant(view.ends_at)),
        ]
    )
    for phase in view.phases:
        until = f" until {show.instant(phase.end)}" if phase.end else ""
        click.echo(f"  from {show.instant(phase.start)}{until}: {phase.plan_id} ({phase.plan_version})")
