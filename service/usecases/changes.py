"""Carries a change out: once for each Idempotency-Key, whole or not at all, audited and announced.

Every management write goes through `carry_out`, which opens the one transaction. In it stand the change, a
line for it, the new snapshot version of the tenant it touches, and the answer for a repetition (law 11).
"""

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

import msgspec

from policies import errors
from service.context import Caller, Context
from store import audit, idempotency, postgres, tenants


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Who wants a change, and under which conditions."""

    caller: Caller
    idempotency_key: str | None = None
    if_match: str | None = None
    """The header as it came."""


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that changed, as its audit line will tell it."""

    action: str
    subject: str
    before: object
    after: object
    tenant_id: str | None = None
    reason: str = ""


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What an act came to, before it is committed. Without `changed` nothing is written but the answer."""

    result: object
    """The answer's body, still as a Struct."""
    changed: Sequence[Changed] = ()
    status: int = 200
    etag: str | None = None
    decisions_of: str | None = None
    """The tenant whose decisions may differ from now on."""
    repeated: object = None
    """What a repetition is answered with, where `result` holds what is shown only once."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller gets: the same for the first request and for its repetitions."""

    status: int
    body: bytes
    etag: str | None


Act = Callable[[postgres.Connection, datetime], Awaitable[Done]]
"""Makes the change inside the transaction that it is given, at the instant that it is given."""


async def carry_out(context: Context, order: Order, act: Act, *, route: str, request: object) -> Reply:
    """Runs the act in a transaction of its own, or answers as it was answered before.

    `route` and the caller's key are what an Idempotency-Key is unique in; `request` is all that the caller
    said, and must be the same in a repetition. A refusal is not kept: what raises changes nothing and may be
    tried again.

    Errors: IdempotencyMismatchError, UnavailableError, and what the act raises.
    """
    now = context.clock.now()
    fingerprint, scope = _fingerprint(request), _scope(order, route)
    version = None
    async with postgres.transaction(context.pool) as connection:
        if order.idempotency_key is not None:
            kept = await idempotency.recall(connection, scope, order.idempotency_key, now=now)
            if kept is not None:
                return _again(kept, fingerprint)
        done = await act(connection, now)
        version = await _write_down(connection, order.caller, done, now)
        reply = Reply(status=done.status, body=msgspec.json.encode(done.result), etag=done.etag)
        if order.idempotency_key is not None:
            kept = _kept(reply, done, fingerprint)
            await idempotency.keep(connection, scope, order.idempotency_key, kept, now=now)
    if version is not None and done.decisions_of is not None:
        await context.snapshots.announce(done.decisions_of, version)
    return reply


async def recalled(context: Context, order: Order, *, route: str, request: object) -> Reply | None:
    """What was answered before, to a change that is not made in one transaction and so not by `carry_out`.

    Errors: IdempotencyMismatchError, UnavailableError.
    """
    key = order.idempotency_key
    if key is None:
        return None
    async with postgres.transaction(context.pool) as connection:
        now = context.clock.now()
        kept = await idempotency.recall(connection, _scope(order, route), key, now=now)
    return None if kept is None else _again(kept, _fingerprint(request))


async def remember(context: Context, order: Order, reply: Reply, *, route: str, request: object) -> None:
    """Keeps the answer of such a change. Where that fails the change itself must know its repetitions.

    Errors: UnavailableError.
    """
    key = order.idempotency_key
    if key is None:
        return
    kept = idempotency.Kept(
        fingerprint=_fingerprint(request), status=reply.status, body=reply.body, etag=reply.etag
    )
    async with postgres.transaction(context.pool) as connection:
        await idempotency.keep(connection, _scope(order, route), key, kept, now=context.clock.now())


def named(order: Order, route: str) -> str:
    """A name of the request, by whose Idempotency-Key it came with; empty without one."""
    if order.idempotency_key is None:
        return ""
    return hashlib.sha256(f"{_scope(order, route)} {order.idempotency_key}".encode()).hexdigest()[:32]


def _scope(order: Order, route: str) -> str:
    """What an Idempotency-Key is unique in."""
    return f"{order.caller.actor} {route}"


def _fingerprint(request: object) -> bytes:
    return hashlib.sha256(msgspec.json.encode(request, order="deterministic")).digest()


def require(order: Order, etag: str | None) -> None:
    """Holds the order's If-Match against the state that is locked; None stands for what does not exist.

    Errors: PreconditionError.
    """
    if order.if_match is None:
        return
    wanted = {tag.strip() for tag in order.if_match.split(",")}
    if etag is None or not ({"*", etag} & wanted):
        present = "it does not exist" if etag is None else f"its version is {etag}"
        raise errors.PreconditionError(f"If-Match asks for {order.if_match}, but {present}.")


def new_id(prefix: str, now: datetime) -> str:
    """An id that nobody chose: sorts by its millisecond, then at random."""
    return f"{prefix}_{int(now.timestamp() * 1000):011x}{secrets.token_hex(5)}"


async def _write_down(
    connection: postgres.Connection, caller: Caller, done: Done, now: datetime
) -> int | None:
    """The lines of what changed, and the tenant's new snapshot version if decisions may differ."""
    for changed in done.changed:
        fields = msgspec.structs.asdict(changed)
        line = audit.Line(at=now, actor=caller.actor, request_id=caller.request_id, **fields)
        await audit.append(connection, line)
    if done.decisions_of is None or not done.changed:
        return None
    return await tenants.raise_version(connection, done.decisions_of)


def _kept(reply: Reply, done: Done, fingerprint: bytes) -> idempotency.Kept:
    body = reply.body if done.repeated is None else msgspec.json.encode(done.repeated)
    return idempotency.Kept(fingerprint=fingerprint, status=reply.status, body=body, etag=reply.etag)


def _again(kept: idempotency.Kept, fingerprint: bytes) -> Reply:
    if kept.fingerprint != fingerprint:
        raise errors.IdempotencyMismatchError(
            "This Idempotency-Key came before with another request; use a new key for a new request."
        )
    return Reply(status=kept.status, body=kept.body, etag=kept.etag)
