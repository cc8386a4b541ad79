"""Keys: make, list, rotate, revoke, and tell whose secret it is.

A secret is `mg_`, 256 random bits in 43 letters and digits, and 6 more that check them, so that a mistyped
or invented one is turned away without a look-up and a scanner can tell a real one. Of so long a random secret
a plain sha256 is enough to keep.
"""

import hashlib
import secrets
import string
import zlib
from collections.abc import Hashable, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal, get_args

import msgspec

from policies import errors
from service.context import Caller, Context
from service.usecases import changes
from service.usecases.changes import Changed, Done, Order, Reply
from store import api_keys, postgres, tenants
from store.api_keys import ApiKey

Scope = Literal["check", "report", "read", "manage", "operate"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)

_DIGITS: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_PREFIX: Final = "mg_"
_BODY_LENGTH: Final = 43  # 62^43 > 2^256
_CHECK_LENGTH: Final = 6  # 62^6 > 2^32


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a new key is to be; without a tenant it is bound like the key that makes it."""

    name: str
    scopes: Sequence[Scope]
    tenant_id: str | None = None
    expires_at: datetime | None = None


class KeyView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A key as it is answered and as audit lines show it: never with its secret."""

    key_id: str
    name: str
    scopes: Sequence[str]
    tenant_id: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class NewKeyView(KeyView, frozen=True, kw_only=True, rename="camel"):
    """A key at its making: the one time that its secret is shown."""

    secret: str


class KeyPage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Keys, oldest first, and where the next page begins."""

    items: list[KeyView]
    next_cursor: str | None


async def create(context: Context, order: Order, wish: Wish) -> Reply:
    """Makes a key and shows its secret; a repetition of the request is answered without the secret.

    Errors: ForbiddenError if the caller would give away more than it has; InvalidError.
    """
    wish = msgspec.structs.replace(wish, tenant_id=wish.tenant_id or order.caller.tenant_id)

    async def act(connection: postgres.Connection, now: datetime) -> Done:
        _refuse_more_than(order.caller, wish.scopes, wish.tenant_id)
        if wish.expires_at is not None and wish.expires_at <= now:
            raise errors.invalid("/expiresAt", "A key expires in the future.")
        if wish.tenant_id is not None and await tenants.get(connection, wish.tenant_id) is None:
            raise errors.invalid("/tenantId", f'There is no tenant "{wish.tenant_id}".')
        return await _made(connection, wish, now)

    return await changes.carry_out(context, order, act, route="key.create", request=wish)


async def rotate(context: Context, order: Order, key_id: str, *, overlap_hours: int) -> Reply:
    """Makes a key with the same rights and lets the old one expire after the overlap.

    A key that was made for a time is followed by one for as long.

    Errors: NotFoundError, ForbiddenError, PreconditionError; ConflictError if the key opens nothing any more.
    """

    async def act(connection: postgres.Connection, now: datetime) -> Done:
        old = await _locked(connection, order.caller, key_id)
        changes.require(order, etag(old))
        _refuse_more_than(order.caller, old.scopes, old.tenant_id)
        if (dead := _dead(old, now)) is not None:
            raise errors.ConflictError(f"{dead} It cannot be rotated; make a new one.")
        lifetime = None if old.expires_at is None else old.expires_at - old.created_at
        wish = msgspec.convert(old, Wish, from_attributes=True)
        wish = msgspec.structs.replace(wish, expires_at=None if lifetime is None else now + lifetime)
        last = now + timedelta(hours=overlap_hours)
        expiring = msgspec.structs.replace(old, expires_at=min(old.expires_at or last, last))
        await api_keys.update(connection, expiring)
        made = await _made(connection, wish, now)
        return msgspec.structs.replace(made, changed=(*made.changed, _changed("key.rotate", old, expiring)))

    request = (key_id, overlap_hours)
    reply = await changes.carry_out(context, order, act, route="key.rotate", request=request)
    context.keys.forget(key_id)
    return reply


async def revoke(context: Context, order: Order, key_id: str) -> Reply:
    """Ends the key at once; one that is revoked stays as it is.

    Errors: NotFoundError, PreconditionError.
    """

    async def act(connection: postgres.Connection, now: datetime) -> Done:
        held = await _locked(connection, order.caller, key_id)
        changes.require(order, etag(held))
        if held.revoked_at is not None:
            return Done(result=view(held), etag=etag(held))
        revoked = msgspec.structs.replace(held, revoked_at=now)
        await api_keys.update(connection, revoked)
        return Done(
            result=view(revoked), etag=etag(revoked), changed=(_changed("key.revoke", held, revoked),)
        )

    reply = await changes.carry_out(context, order, act, route="key.revoke", request=key_id)
    context.keys.forget(key_id)
    return reply


async def page(context: Context, *, tenant_id: str | None, after: str, limit: int) -> KeyPage:
    """A page of keys behind the id `after`; of one tenant, if one is named."""
    async with postgres.transaction(context.pool) as connection:
        found = await api_keys.page(connection, tenant_id=tenant_id, after=after, limit=limit + 1)
    items = [view(key) for key in found[:limit]]
    return KeyPage(items=items, next_cursor=items[-1].key_id if len(found) > limit else None)


def recognize(context: Context, shown: Hashable, *, request_id: str) -> Caller | None:
    """Who showed this before, if it was found to hold so lately that nothing has to be looked up."""
    now = context.clock.now()
    found = context.keys.recall(shown, now=now)
    if found is None or _dead(found[0], now) is not None:
        return None
    before: Caller = found[1]
    return msgspec.structs.replace(before, request_id=request_id)


async def authenticate(
    context: Context, secret: str, *, request_id: str, shown: Hashable | None = None
) -> Caller:
    """Who shows this secret. `shown` is how it came: it is recognized when it comes so again.

    Errors: UnauthorizedError; UnavailableError when it is not known here and cannot be looked up.
    """
    if not well_formed(secret):
        raise errors.UnauthorizedError("This is not a key of this service.")
    now = context.clock.now()
    digest = digest_of(secret)
    key = await context.keys.find(digest, now=now)
    if key is None:
        raise errors.UnauthorizedError("There is no such key.")
    if (dead := _dead(key, now)) is not None:
        raise errors.UnauthorizedError(dead)
    caller = _caller(key, request_id)
    if shown is not None:
        context.keys.keep(shown, digest, caller)
    return caller


def _caller(key: ApiKey, request_id: str) -> Caller:
    return Caller(
        actor=f"key:{key.key_id}",
        key_id=key.key_id,
        scopes=frozenset(key.scopes),
        tenant_id=key.tenant_id,
        request_id=request_id,
    )


def new_secret() -> str:
    """A secret that nobody has seen."""
    body = _base62(int.from_bytes(secrets.token_bytes(32)), _BODY_LENGTH)
    return _PREFIX + body + _check(body)


def well_formed(secret: str) -> bool:
    """Whether a text can be a secret of ours at all; says nothing about whether it is one."""
    body, check = secret[len(_PREFIX) : -_CHECK_LENGTH], secret[-_CHECK_LENGTH:]
    return (
        secret.startswith(_PREFIX)
        and secret.isascii()
        and len(body) == _BODY_LENGTH
        and check == _check(body)
    )


def digest_of(secret: str) -> bytes:
    """What is stored of a secret."""
    return hashlib.sha256(secret.encode()).digest()


def view(key: ApiKey) -> KeyView:
    """The key without its secret."""
    return msgspec.convert(key, KeyView, from_attributes=True)


def etag(key: ApiKey) -> str:
    """The version of a key: it changes when the key comes to its end."""
    ends = (key.expires_at, key.revoked_at)
    return f'"{hashlib.sha256(msgspec.json.encode(ends)).hexdigest()[:12]}"'


async def _made(connection: postgres.Connection, wish: Wish, now: datetime) -> Done:
    secret = new_secret()
    key = ApiKey(
        key_id=changes.new_id("key", now),
        name=wish.name,
        scopes=[scope for scope in SCOPES if scope in wish.scopes],
        tenant_id=wish.tenant_id,
        created_at=now,
        expires_at=wish.expires_at,
    )
    await api_keys.add(connection, key, digest=digest_of(secret))
    shown = NewKeyView(**msgspec.structs.asdict(view(key)), secret=secret)
    return Done(
        result=shown,
        repeated=view(key),
        changed=(_changed("key.create", None, key),),
        status=201,
        etag=etag(key),
    )


async def _locked(connection: postgres.Connection, caller: Caller, key_id: str) -> ApiKey:
    held = await api_keys.lock(connection, key_id)
    if held is None or caller.tenant_id not in (None, held.tenant_id):
        raise errors.NotFoundError(f'There is no key "{key_id}".')
    return held


def _refuse_more_than(caller: Caller, scopes: Sequence[str], tenant_id: str | None) -> None:
    """A key gives no rights that it does not have: else `manage` would be every scope."""
    if caller.tenant_id not in (None, tenant_id):
        raise errors.ForbiddenError(
            f'This key is bound to the tenant "{caller.tenant_id}", and so are its keys.'
        )
    if more := [scope for scope in scopes if scope not in caller.scopes]:
        raise errors.ForbiddenError(f"This key cannot give what it does not have: {', '.join(more)}.")


def _dead(key: ApiKey, now: datetime) -> str | None:
    if key.revoked_at is not None:
        return "The key was revoked."
    if key.expires_at is not None and key.expires_at <= now:
        return "The key has expired."
    return None


def _changed(action: str, before: ApiKey | None, after: ApiKey) -> Changed:
    return Changed(
        action=action,
        subject=after.key_id,
        tenant_id=after.tenant_id,
        before=None if before is None else view(before),
        after=view(after),
    )


def _check(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECK_LENGTH)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
