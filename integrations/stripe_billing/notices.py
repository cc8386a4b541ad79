"""Stripe's events as notices: is it really theirs, and what is to be looked at because of it?"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
import stripe

from integrations.payments import Notice, NoticeError
from policies import limits
from policies.charging.seen import Thing

TYPES: Final = (
    "customer.*", "invoice.*", "invoice_payment.*", "charge.*", "refund.*", "credit_note.*",
    "payment_method.*",
)  # fmt: skip
"""What an endpoint is to be told of, by its beginnings; other types are taken and mean nothing."""


class _Data(msgspec.Struct, frozen=True, kw_only=True):
    object: dict[str, Any]


class _Request(msgspec.Struct, frozen=True, kw_only=True):
    idempotency_key: str | None = None


class _Event(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    type: str
    created: int
    data: _Data
    object: str = ""
    livemode: bool
    api_version: str | None = None
    request: _Request | None = None


def read(raw: bytes, signature: str, secrets: tuple[str, ...], *, now: datetime) -> Notice:
    """A notice from a body and its signature, of one of these secrets.

    Errors: NoticeError; its text says nothing of what was expected.
    """
    _verify(raw, signature, secrets, now)
    try:
        return _notice(msgspec.json.decode(raw, type=_Event))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise NoticeError(f"This is no event: {error}.") from error


def of(event: stripe.Event) -> Notice:
    """A notice from an event that was asked for."""
    return _notice(msgspec.convert(event.to_dict(for_json=True), _Event))


def things(kind: str, payload: Mapping[str, Any]) -> tuple[Thing, ...]:
    """What an event of a type is about: the payload tells only where to look."""
    return tuple(dict.fromkeys(_things(kind, payload)))


def _verify(raw: bytes, signature: str, secrets: tuple[str, ...], now: datetime) -> None:
    """The library looks whether it is signed, and we when: it would take the future and read a clock."""
    for secret in secrets:
        try:
            stripe.WebhookSignature.verify_header(raw, signature, secret, tolerance=None)
        except (stripe.SignatureVerificationError, UnicodeDecodeError):
            continue
        _timely(signature, now)
        return
    raise NoticeError("The signature does not hold for this body.")


def _timely(signature: str, now: datetime) -> None:
    parts = dict(part.split("=", 1) for part in signature.split(",") if "=" in part)
    signed = datetime.fromtimestamp(int(parts["t"]), UTC)
    if abs(signed - now) > timedelta(seconds=limits.NOTICE_TOLERANCE_S):
        raise NoticeError(f"It was signed at {signed:%Y-%m-%dT%H:%M:%SZ}, which is too far from now.")


def _notice(event: _Event) -> Notice:
    return Notice(
        ref=event.id,
        type=event.type,
        happened_at=datetime.fromtimestamp(event.created, UTC),
        things=things(event.type, event.data.object),
        live=event.livemode,
        new_means=event.type in ("payment_method.attached", "payment_method.automatically_updated"),
        version=event.api_version or "",
        caused_by=(event.request.idempotency_key if event.request else None) or "",
    )


def _things(kind: str, payload: Mapping[str, Any]) -> Iterator[Thing]:
    what, own = payload.get("object"), str(payload.get("id") or "")
    match what:
        case "customer" | "invoice" | "dispute" | "subscription" | "credit_note":
            if own:
                yield Thing(kind=what, ref=own)
        case "charge" if own:
            yield Thing(kind="payment", ref=own)
    if what in ("refund", "dispute") and (charge := _named(payload, "charge")):
        yield Thing(kind="payment", ref=charge)
    if what in ("credit_note", "invoice_payment") and (invoice := _named(payload, "invoice")):
        yield Thing(kind="invoice", ref=invoice)
    if kind.startswith("payment_method.") and (customer := _named(payload, "customer")):
        yield Thing(kind="customer", ref=customer)


def _named(payload: Mapping[str, Any], field: str) -> str:
    value = payload.get(field)
    return str((value.get("id") if isinstance(value, Mapping) else value) or "")
