"""Notices of a payment provider, each kept once, and the things that are to be looked at because of them.

A notice is a hint. What it names is looked at by one worker at a time; each look has a number that rises, and
what a look has shown is kept only if no later look was: so whatever comes twice, late or in another order, it
is the last look that counts.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from policies.charging.seen import Kind, Seen, Thing
from store import postgres
from store.queries import Queries

_SQL = Queries("notices")

Via = Literal["told", "asked"]


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """A notice as it is kept."""

    ref: str
    type: str
    happened_at: datetime
    things: tuple[Thing, ...]
    version: str
    caused_by: str


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """A thing that this worker is to look at: the look of this number."""

    ref: str
    kind: Kind
    claimed: int
    wanted: int
    """How many looks had been asked for when it began."""
    tries: int

    @property
    def thing(self) -> Thing:
        """What is to be fetched."""
        return Thing(kind=self.kind, ref=self.ref)


async def keep(
    connection: postgres.Connection, account: str, heard: Heard, via: Via, *, now: datetime
) -> bool:
    """Keeps a notice and asks for looks at its things; False if it is known, which changes nothing."""
    params = msgspec.structs.asdict(heard) | {
        "account": account,
        "via": via,
        "now": now,
        "things": msgspec.json.encode(heard.things).decode(),
    }
    if not await postgres.scalars(connection, _SQL.keep, params):
        return False
    await want(connection, heard.things, now=now)
    return True


async def want(connection: postgres.Connection, things: Iterable[Thing], *, now: datetime) -> None:
    """These are to be looked at."""
    each = sorted(set(things), key=lambda one: one.ref)
    if each:
        params = {"refs": [one.ref for one in each], "kinds": [one.kind for one in each], "now": now}
        await postgres.execute(connection, _SQL.want, params)


async def claim(
    connection: postgres.Connection, *, now: datetime, until: datetime, limit: int
) -> Sequence[Look]:
    """Things to look at, for this worker alone until an instant."""
    params = {"now": now, "until": until, "limit": limit}
    return await postgres.rows(connection, _SQL.claim, params, Look)


async def store(
    connection: postgres.Connection, look: Look, seen: Seen | None, *, tenant_id: str | None, now: datetime
) -> datetime | None:
    """Keeps what a look has shown; None if a later look has been kept already.

    Gives the instant of the look: now, but later than that of the look before, whatever the clocks say.
    """
    body = None if seen is None else msgspec.json.encode(seen).decode()
    params = {
        "ref": look.ref,
        "claimed": look.claimed,
        "body": body,
        "tenant_id": tenant_id,
        "now": now,
    }
    found = await postgres.scalars(connection, _SQL.store_look, params)
    return found[0] if found else None


async def end(connection: postgres.Connection, look: Look, *, now: datetime) -> None:
    """The look is over."""
    params = {"ref": look.ref, "claimed": look.claimed, "wanted": look.wanted, "now": now}
    await postgres.execute(connection, _SQL.looked, params)


async def put_off(connection: postgres.Connection, look: Look, why: str, *, until: datetime) -> None:
    """It could not be looked at."""
    params = {"ref": look.ref, "failed": why, "next_at": until}
    await postgres.execute(connection, _SQL.put_off, params)


async def asked_until(connection: postgres.Connection, account: str) -> datetime | None:
    """Up to when an account was asked for notices; None: never."""
    found = await postgres.scalars(connection, _SQL.asked_until, {"account": account})
    return found[0] if found else None


async def ask_from(connection: postgres.Connection, account: str, until: datetime) -> None:
    """The next question begins here."""
    await postgres.execute(connection, _SQL.begin_asking, {"account": account, "until": until})


async def forget(connection: postgres.Connection, *, before: datetime) -> int:
    """Lets go of old notices; the provider, too, has forgotten them by then."""
    return await postgres.execute(connection, _SQL.forget, {"before": before})


async def last_seen(connection: postgres.Connection, ref: str) -> Seen | None:
    """A thing as it was seen last; None if it never was, or is gone."""
    found: list[str | None] = await postgres.scalars(connection, _SQL.looked_at, {"ref": ref})
    return msgspec.json.decode(found[0], type=Seen) if found and found[0] else None
