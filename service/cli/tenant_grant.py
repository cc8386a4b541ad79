"""`metergate tenant grant|grants|void-grant`: what a tenant has beside what its plan includes."""

from pathlib import Path

import click
import msgspec

from service.api import wire
from service.cli import given, session, settings, show
from service.usecases import grants
from service.usecases.grants import GrantView


class _Named(wire.Body, frozen=True):
    tenant_id: wire.TenantId
    feature_id: wire.CatalogId | None = None
    grant_id: wire.CallerId | None = None


class _Reasoned(wire.Body, frozen=True):
    reason: wire.Reason


@click.command("grant")
@click.argument("tenant_id", metavar="TENANT")
@click.argument("feature_id", metavar="FEATURE")
@click.argument("quantity", metavar="QUANTITY")
@given.reason_option
@click.option(
    "--priority", type=int, help="Lower draws first; what the plan includes has 100.  [default: 100]"
)
@click.option("--effective-at", metavar="TIME", help="From when on, as in 2026-12-01T00:00:00Z; else now.")
@click.option("--expires-at", metavar="TIME", help="Until when; else until it is used up or voided.")
@settings.data_option
@show.json_option
def grant(
    *,
    tenant_id: str,
    feature_id: str,
    quantity: str,
    reason: str,
    priority: int | None,
    effective_at: str | None,
    expires_at: str | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Give TENANT a QUANTITY of FEATURE beside what its plan includes.

    A grant never changes: to correct one, void it and give another.
    """
    from service.api.grants import GrantBody  # noqa: PLC0415 - it loads the web framework

    given.bounded(_Named, tenant_id=tenant_id)
    said = given.bounded(
        GrantBody,
        feature_id=feature_id,
        quantity=quantity,
        reason=reason,
        priority=priority,
        effective_at=effective_at,
        expires_at=expires_at,
    )
    wish = grants.Wish(
        feature_id=said.feature_id,
        quantity=said.quantity,
        priority=said.priority,
        effective_at=given.utc(said.effective_at, "/effectiveAt"),
        expires_at=given.utc(said.expires_at, "/expiresAt"),
        reason=said.reason,
    )
    reply = session.use(data, lambda context: grants.issue(context, session.order(), tenant_id, wish))
    _told_grant(reply.body, as_json=as_json)


@click.command("grants")
@click.argument("tenant_id", metavar="TENANT")
@click.option("--feature", "feature_id", metavar="FEATURE", help="Only those of this feature.")
@given.limit_option
@given.after_option
@settings.data_option
@show.json_option
def list_grants(
    *, tenant_id: str, feature_id: str | None, limit: int, after: str, data: Path | None, as_json: bool
) -> None:
    """List what TENANT was granted, oldest first, also what has ended."""
    given.bounded(_Named, tenant_id=tenant_id, feature_id=feature_id)
    page = session.use(
        data,
        lambda context: grants.page(context, tenant_id, feature_id=feature_id, after=after, limit=limit),
    )
    if as_json:
        show.json(page)
        return
    show.table(
        ["GRANT", "FEATURE", "QUANTITY", "PRIORITY", "FROM", "UNTIL", "VOIDED", "REASON"],
        [
            (
                item.grant_id,
                item.feature_id,
                show.number(item.quantity),
                str(item.priority),
                show.instant(item.effective_at),
                show.instant(item.expires_at),
                show.instant(item.voided_at),
                item.reason,
            )
            for item in page.items
        ],
    )
    if page.next_cursor:
        show.note(f"There are more: --after {page.next_cursor}")


@click.command("void-grant")
@click.argument("tenant_id", metavar="TENANT")
@click.argument("grant_id", metavar="GRANT")
@given.reason_option
@settings.data_option
@show.json_option
def void_grant(*, tenant_id: str, grant_id: str, reason: str, data: Path | None, as_json: bool) -> None:
    """End GRANT of TENANT now. What was drawn from it stays drawn."""
    given.bounded(_Named, tenant_id=tenant_id, grant_id=grant_id)
    given.bounded(_Reasoned, reason=reason)
    reply = session.use(
        data,
        lambda context: grants.void(context, session.order(), tenant_id, grant_id, reason=reason),
    )
    _told_grant(reply.body, as_json=as_json)


def _told_grant(body: bytes, *, as_json: bool) -> None:
    if as_json:
        show.json(body)
        return
    view = msgspec.json.decode(body, type=GrantView)
    click.echo(f"Grant {view.grant_id} of {view.tenant_id}")
    show.fields(
        [
            ("feature", view.feature_id),
            ("quantity", show.number(view.quantity)),
            ("priority", str(view.priority)),
            ("from", show.instant(view.effective_at)),
            ("until", show.instant(view.expires_at)),
            ("voided", show.instant(view.voided_at)),
            ("reason", view.reason),
        ]
    )
