"""`metergate tenant override|overrides|lift`: terms that are replaced for one tenant."""

from pathlib import Path
from typing import Final

import click
import msgspec

from policies.override import Wish
from service.api import wire
from service.cli import given, session, settings, show
from service.usecases import overrides
from service.usecases.overrides import OverrideView

_FIELDS: Final = {"included": "included", "up-to": "up_to", "value": "value", "ends-at": "ends_at"}


class _Named(wire.Body, frozen=True):
    tenant_id: wire.TenantId
    feature_id: wire.CatalogId | None = None
    at: wire.Instant | None = None


@click.command("override")
@click.argument("tenant_id", metavar="TENANT")
@click.argument("feature_id", metavar="FEATURE")
@given.reason_option
@click.option("--included", metavar="N", help="In place of what the plan includes; or unlimited.")
@click.option("--up-to", metavar="N", help="In place of the plan's bound on overage; or unlimited.")
@click.option(
    "--value", metavar="VALUE", help="Of a switch true or false, else the value; an object as JSON."
)
@click.option("--ends-at", metavar="TIME", help="Until when, as in 2026-12-01T00:00:00Z.")
@click.option(
    "--lift",
    "lifted",
    type=click.Choice(list(_FIELDS)),
    multiple=True,
    help="Take this one back: the plan's term holds again, or no end is set. May be repeated.",
)
@settings.data_option
@show.json_option
def override(
    *,
    tenant_id: str,
    feature_id: str,
    reason: str,
    included: str | None,
    up_to: str | None,
    value: str | None,
    ends_at: str | None,
    lifted: tuple[str, ...],
    data: Path | None,
    as_json: bool,
) -> None:
    """Replace terms of FEATURE for TENANT from now on. What you leave out stays as it is."""
    from service.api.overrides import OverrideBody  # noqa: PLC0415 - it loads the web framework

    given.bounded(_Named, tenant_id=tenant_id, feature_id=feature_id)
    fields = {"included": included, "up_to": up_to, "value": _value(value), "ends_at": ends_at}
    taken_back = [_FIELDS[name] for name in lifted]
    if both := [name for name in lifted if fields[_FIELDS[name]] is not None]:
        raise click.UsageError(f"--{both[0]} is set and lifted at once; do one of them.")
    said = given.bounded(OverrideBody, reason=reason, **fields)
    wish = Wish(
        included=said.included, up_to=said.up_to, value=said.value, ends_at=said.ends_at, reason=reason
    )
    wish = msgspec.structs.replace(wish, **dict.fromkeys(taken_back))
    reply = session.use(
        data, lambda context: overrides.put(context, session.order(), tenant_id, feature_id, wish)
    )
    _told_override(reply.body, as_json=as_json)


@click.command("overrides")
@click.argument("tenant_id", metavar="TENANT")
@click.option("--at", metavar="TIME", help="As it was then, as in 2026-12-01T00:00:00Z; else now.")
@settings.data_option
@show.json_option
def list_overrides(*, tenant_id: str, at: str | None, data: Path | None, as_json: bool) -> None:
    """List what is overridden for TENANT, by feature."""
    instant = given.utc(given.bounded(_Named, tenant_id=tenant_id, at=at).at, "/at")
    found = session.use(data, lambda context: overrides.listed(context, tenant_id, at=instant))
    if as_json:
        show.json(found)
        return
    show.table(
        ["FEATURE", "INCLUDED", "UP TO", "VALUE", "FROM", "UNTIL", "REASON"],
        [
            (
                item.feature_id,
                _bound(item.included),
                _bound(item.up_to),
                _written(item.value),
                show.instant(item.starts_at),
                show.instant(item.ends_at),
                item.reason,
            )
            for item in found.items
        ],
    )


@click.command("lift")
@click.argument("tenant_id", metavar="TENANT")
@click.argument("feature_id", metavar="FEATURE")
@settings.data_option
@show.json_option
def lift_override(*, tenant_id: str, feature_id: str, data: Path | None, as_json: bool) -> None:
    """Take back all that is overridden of FEATURE for TENANT: the plan's terms hold again."""
    given.bounded(_Named, tenant_id=tenant_id, feature_id=feature_id)
    reply = session.use(data, lambda context: overrides.lift(context, session.order(), tenant_id, feature_id))
    _told_override(reply.body, as_json=as_json)


def _value(text: str | None) -> object:
    """JSON where it can be nothing else (a switch, an object, a text in quotes), else as it stands."""
    if text is None or not (text in ("true", "false") or text.startswith(("{", '"'))):
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise click.UsageError(f"value: This is not JSON: {error}.") from error


def _told_override(body: bytes, *, as_json: bool) -> None:
    if as_json:
        show.json(body)
        return
    view = msgspec.json.decode(body, type=OverrideView)
    click.echo(f"Override of {view.feature_id} for {view.tenant_id}")
    show.fields(
        [
            ("included", _bound(view.included)),
            ("up to", _bound(view.up_to)),
            ("value", _written(view.value)),
            ("from", show.instant(view.starts_at)),
            ("until", show.instant(view.ends_at)),
            ("reason", view.reason),
        ]
    )


def _bound(value: int | str | None) -> str:
    return value if value == "unlimited" and isinstance(value, str) else show.number(value)


def _written(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
