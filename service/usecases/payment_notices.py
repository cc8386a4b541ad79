"""Notices of the payment provider: taken once, whoever brings them; what they are about is looked at then."""

from datetime import datetime

from integrations.payments import Notice, NoticeError, Payments
from policies import errors
from service import clock
from service.context import Context
from store import charges, notices, postgres
from store.notices import Heard, Via


async def receive(context: Context, raw: bytes, signature: str) -> bool:
    """Takes a notice that was sent to us, byte by byte as it came; False for one that is known.

    Errors: NotFoundError where none is expected; SignatureError; ConflictError for one of the other mode;
    UnavailableError, after which the provider sends it again.
    """
    payments = context.payments
    if payments is None or not payments.hears:
        raise errors.NotFoundError("No notices are taken here: there is no secret to know them by.")
    try:
        notice = payments.read_notice(raw, signature, now=clock.real_now())
    except NoticeError as error:
        raise errors.SignatureError(str(error)) from error
    if notice.live != payments.live:
        ours, theirs = ("live", "test") if payments.live else ("test", "live")
        raise errors.ConflictError(f"This is a notice of {theirs} mode, and the key here is of {ours} mode.")
    return await take(context, payments, notice, "told", now=context.clock.now())


async def take(context: Context, payments: Payments, notice: Notice, via: Via, *, now: datetime) -> bool:
    """Keeps a notice and asks for looks; False for one that is known.

    Errors: UnavailableError.
    """
    heard = Heard(
        ref=notice.ref,
        type=notice.type,
        happened_at=notice.happened_at,
        things=notice.things,
        version=notice.version,
        caused_by=notice.caused_by,
    )
    async with postgres.transaction(context.pool) as connection:
        new = await notices.keep(connection, payments.account, heard, via, now=now)
        if new and notice.new_means:
            await _wake(connection, notice, now)
    return new


async def _wake(connection: postgres.Connection, notice: Notice, now: datetime) -> None:
    """What waits for the customer goes on."""
    for thing in notice.things:
        tenant_id = await charges.tenant_of(connection, thing.ref) if thing.kind == "customer" else None
        if tenant_id is not None:
            await charges.wake(connection, tenant_id, now=now)
