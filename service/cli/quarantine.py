"""`metergate quarantine`: entries of the journal that were put aside, and what becomes of them."""

from pathlib import Path

import click

from service.api import wire
from service.cli import given, session, settings, show
from service.cli.group import Group
from service.usecases import quarantine as usecase
from service.usecases.quarantine import Verdict
from store import keyspace

_FOUND = 1
_SHARD = click.IntRange(0, keyspace.SHARDS - 1)


class _Reasoned(wire.Body, frozen=True):
    reason: wire.Reason


@click.group(cls=Group)
def quarantine() -> None:
    """See entries of the journal that were put aside, and apply or dismiss them.

    Their digest is wrong, or the database refuses what they say. What is in them is not counted.
    """


@quarantine.command("list")
@click.option("--all", "ended", is_flag=True, help="Also those that were applied or dismissed.")
@given.limit_option
@settings.data_option
@show.json_option
@click.pass_context
def list_entries(
    command: click.Context, *, ended: bool, limit: int, data: Path | None, as_json: bool
) -> None:
    """List them, newest first. Ends with 1 if one waits for somebody to deal with it."""
    found = session.use(data, lambda context: usecase.listed(context, ended=ended, limit=limit))
    if as_json:
        show.json({"items": found})
    else:
        show.table(
            ["SHARD", "ENTRY", "FOUND", "EVENTS", "BYTES", "REASON", "ENDED"],
            [
                (
                    str(one.shard),
                    one.entry_id,
                    show.instant(one.found_at),
                    "unknown" if one.events is None else str(one.events),
                    f"{one.size:,}",
                    one.reason,
                    f"{one.ended_as} {show.instant(one.ended_at)}" if one.ended_as else "",
                )
                for one in found
            ],
        )
    command.exit(_FOUND if any(one.ended_as is None for one in found) else 0)


@quarantine.command("show")
@click.argument("shard", type=_SHARD, metavar="SHARD")
@click.argument("entry_id", metavar="ENTRY")
@settings.data_option
def show_entry(*, shard: int, entry_id: str, data: Path | None) -> None:
    """Show ENTRY of SHARD as JSON, with its events and the bytes that stood in the journal."""
    show.json(session.use(data, lambda context: usecase.show(context, shard, entry_id)))


@quarantine.command("apply")
@click.argument("shard", type=_SHARD, metavar="SHARD")
@click.argument("entry_id", metavar="ENTRY")
@given.reason_option
@settings.data_option
@show.json_option
def apply_entry(*, shard: int, entry_id: str, reason: str, data: Path | None, as_json: bool) -> None:
    """Count what ENTRY of SHARD says after all, once what kept the database from it is mended.

    The shard is closed for a moment, until a worker has put its counters right.
    """
    verdict = _verdict(shard, entry_id, reason)
    reply = session.use(data, lambda context: usecase.apply(context, session.order(), verdict))
    _told(reply.body, verdict, "applied", as_json=as_json)


@quarantine.command("dismiss")
@click.argument("shard", type=_SHARD, metavar="SHARD")
@click.argument("entry_id", metavar="ENTRY")
@given.reason_option
@settings.data_option
@show.json_option
def dismiss_entry(*, shard: int, entry_id: str, reason: str, data: Path | None, as_json: bool) -> None:
    """Give ENTRY of SHARD up: what it says never counts. It stays in the list with --all.

    The shard is closed for a moment, until a worker has put its counters right.
    """
    verdict = _verdict(shard, entry_id, reason)
    reply = session.use(data, lambda context: usecase.dismiss(context, session.order(), verdict))
    _told(reply.body, verdict, "dismissed", as_json=as_json)


def _verdict(shard: int, entry_id: str, reason: str) -> Verdict:
    said = given.bounded(_Reasoned, reason=reason)
    return Verdict(shard=shard, entry_id=entry_id, reason=said.reason)


def _told(body: bytes, verdict: Verdict, ended: str, *, as_json: bool) -> None:
    if as_json:
        show.json(body)
    else:
        click.echo(f"Entry {verdict.entry_id} of shard {verdict.shard} was {ended}.")
