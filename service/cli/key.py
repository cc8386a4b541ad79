"""`metergate key`: who may call the API, and to do what."""

from pathlib import Path
from typing import Annotated

import click
import msgspec
from msgspec import Meta

from policies import limits
from service.api import wire
from service.cli import given, session, settings, show
from service.cli.group import Group
from service.usecases import keys
from service.usecases.changes import Reply
from service.usecases.keys import KeyView, NewKeyView


class _Wanted(wire.Body, frozen=True):
    name: wire.Name
    scopes: Annotated[list[keys.Scope], Meta(min_length=1)]
    tenant_id: wire.TenantId | None = None
    expires_at: wire.Instant | None = None


class _Named(wire.Body, frozen=True):
    key_id: wire.CallerId


@click.group(cls=Group)
def key() -> None:
    """Make, list, replace and end the keys of programs that call the API."""


@key.command("create")
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice(keys.SCOPES),
    help="What the key may do: ask for decisions (check), report usage (report), read reports (read), change "
    "tenants and plans (manage), run the service (operate). May be repeated.",
)
@click.option("--tenant", "tenant_id", metavar="ID", help="Bind the key to this tenant; else it reaches all.")
@click.option("--expires-at", metavar="TIME", help="When it ends by itself, as in 2026-12-31T00:00:00Z.")
@settings.data_option
@show.json_option
def create_key(
    *,
    name: str,
    scopes: tuple[keys.Scope, ...],
    tenant_id: str | None,
    expires_at: str | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Make a key called NAME and print its secret, this once.

    Only the secret goes to the output, so that KEY=$(metergate key create …) works.
    """
    wanted = given.bounded(
        _Wanted, name=name, scopes=list(scopes), tenant_id=tenant_id, expires_at=expires_at
    )
    wish = keys.Wish(
        name=wanted.name,
        scopes=wanted.scopes,
        tenant_id=wanted.tenant_id,
        expires_at=given.utc(wanted.expires_at, "/expiresAt"),
    )
    _show_new(session.use(data, lambda context: keys.create(context, session.order(), wish)), as_json=as_json)


@key.command("list")
@click.option("--tenant", "tenant_id", metavar="ID", help="Only the keys that are bound to this tenant.")
@given.limit_option
@given.after_option
@settings.data_option
@show.json_option
def list_keys(*, tenant_id: str | None, limit: int, after: str, data: Path | None, as_json: bool) -> None:
    """List the keys, oldest first. Secrets are not kept, so they cannot be shown."""
    page = session.use(
        data, lambda context: keys.page(context, tenant_id=tenant_id, after=after, limit=limit)
    )
    if as_json:
        show.json(page)
        return
    show.table(
        ["KEY", "NAME", "SCOPES", "TENANT", "MADE", "ENDS"],
        [
            (
                item.key_id,
                item.name,
                ",".join(item.scopes),
                item.tenant_id or "all",
                show.instant(item.created_at),
                _end(item),
            )
            for item in page.items
        ],
    )
    if page.next_cursor:
        show.note(f"There are more: --after {page.next_cursor}")


@key.command("rotate")
@click.argument("key_id", metavar="KEY")
@click.option(
    "--overlap-hours",
    type=click.IntRange(0, limits.KEY_OVERLAP_HOURS),
    default=24,
    show_default=True,
    help="How long the old key goes on to work beside the new one.",
)
@settings.data_option
@show.json_option
def rotate_key(*, key_id: str, overlap_hours: int, data: Path | None, as_json: bool) -> None:
    """Replace KEY by a new one with the same rights, and print the new secret, this once.

    KEY is the id, as `metergate key list` shows it, not the secret.
    """
    given.bounded(_Named, key_id=key_id)
    reply = session.use(
        data, lambda context: keys.rotate(context, session.order(), key_id, overlap_hours=overlap_hours)
    )
    _show_new(reply, as_json=as_json)


@key.command("revoke")
@click.argument("key_id", metavar="KEY")
@settings.data_option
@show.json_option
def revoke_key(*, key_id: str, data: Path | None, as_json: bool) -> None:
    """End KEY. It opens nothing any more, at the latest a few seconds from now.

    KEY is the id, as `metergate key list` shows it, not the secret.
    """
    given.bounded(_Named, key_id=key_id)
    reply = session.use(data, lambda context: keys.revoke(context, session.order(), key_id))
    if as_json:
        show.json(reply.body)
        return
    view = msgspec.json.decode(reply.body, type=KeyView)
    click.echo(f'The key {view.key_id} ("{view.name}") was {_end(view)}.')


def _show_new(reply: Reply, *, as_json: bool) -> None:
    if as_json:
        show.json(reply.body)
        return
    view = msgspec.json.decode(reply.body, type=NewKeyView)
    click.echo(view.secret)
    show.note(f'The secret of the key {view.key_id} ("{view.name}") is shown this once; keep it.')


def _end(view: KeyView) -> str:
    if view.revoked_at is not None:
        return f"revoked {show.instant(view.revoked_at)}"
    return show.instant(view.expires_at) if view.expires_at else ""
