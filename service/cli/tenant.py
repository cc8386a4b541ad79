"""`metergate tenant`: who is served, and what each is subscribed to."""

from pathlib import Path

import click
import msgspec

from policies import errors
from service.api import wire
from service.cli import (
    given,
    session,
    settings,
    show,
    tenant_billing,
    tenant_grant,
    tenant_invoice,
    tenant_override,
    tenant_subscription,
)
from service.cli.group import Group
from service.context import Context
from service.usecases import subscribe, tenants
from service.usecases.subscription_view import SubscriptionView
from service.usecases.tenants import TenantView


class _Named(wire.Body, frozen=True):
    tenant_id: wire.TenantId


class _Found(wire.Body, frozen=True):
    query: wire.Name | None = None


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
        tenant_subscription.show_subscription(found.subscription)


for _command in (
    tenant_subscription.subscribe_tenant,
    tenant_subscription.change_tenant,
    tenant_subscription.cancel_tenant,
    tenant_subscription.resume_tenant,
    tenant_billing.bill_tenant,
    tenant_billing.settle_dispute,
    tenant_grant.grant,
    tenant_grant.list_grants,
    tenant_grant.void_grant,
    tenant_override.override,
    tenant_override.list_overrides,
    tenant_override.lift_override,
    tenant_invoice.preview_invoice,
):
    tenant.add_command(_command)


async def _read(context: Context, tenant_id: str) -> _Shown:
    view, _ = await tenants.get(context, tenant_id)
    try:
        held, _ = await subscribe.get(context, tenant_id)
    except errors.NotFoundError:
        return _Shown(tenant=view, subscription=None)
    return _Shown(tenant=view, subscription=held)


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
