"""Makes one request to Stripe, in its turn, and says which of our outcomes its answer is."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import stripe

from integrations.payments import (
    Ambiguous,
    BusyError,
    Declined,
    Done,
    Limiter,
    Outcome,
    Rejected,
    Retry,
    StoppedError,
)
from integrations.stripe_billing.amounts import AmountError
from policies import limits

T = TypeVar("T")
REUSED_KEY: Final = "idempotency-key-reused"
"""The code of a Rejected that only a fault of ours explains: one key, two orders."""
WRONG_AMOUNT: Final = "amount"
_CONFLICT: Final = 409
_SERVER: Final = 500
_RATE: Final = 429

log = logging.getLogger("metergate.payments")


async def ask(limiter: Limiter, lane: str, request: Callable[[], Awaitable[T]]) -> Outcome[T]:
    """Sends one request. Nothing is sent twice here: whoever asked decides what follows.

    Errors: StoppedError.
    """
    try:
        async with limiter.turn(lane), asyncio.timeout(limits.PAYMENT_TIMEOUT_S):
            return Done(await request())
    except BusyError as error:
        return Retry(str(error), error.after_s)
    except TimeoutError:
        return Ambiguous(f"{lane}: no answer in {limits.PAYMENT_TIMEOUT_S} s")
    except AmountError as error:
        return Rejected(WRONG_AMOUNT, str(error), "amount")
    except stripe.RateLimitError as error:
        after_s = _after(error)
        await limiter.refused(lane, after_s)
        return Retry(_said(lane, error), after_s)
    except stripe.StripeError as error:
        return _outcome(lane, error)


def _outcome(lane: str, error: stripe.StripeError) -> Retry | Ambiguous | Rejected | Declined:
    said = _said(lane, error)
    match error:
        case stripe.AuthenticationError() | stripe.PermissionError():
            raise StoppedError(said) from error
        case stripe.CardError():
            return Declined(_decline_code(error), said)
        case stripe.IdempotencyError():
            log.error("%s", said)
            return Rejected(REUSED_KEY, said)
        case stripe.InvalidRequestError():
            return Rejected(str(error.code or ""), said, str(error.param or ""))
    status = error.http_status or 0
    if status in (_CONFLICT, _RATE):
        return Retry(said, _after(error))
    if status in range(400, _SERVER):
        return Rejected(str(error.code or status), said)
    return Ambiguous(said, kept=status >= _SERVER and _header(error, "idempotent-replayed") == "true")


def _decline_code(error: stripe.CardError) -> str:
    code = getattr(error.error, "decline_code", None)
    return str(code or error.code or "declined")


def _after(error: stripe.StripeError) -> float | None:
    text = _header(error, "retry-after")
    return float(text) if text.isdigit() else None


def _header(error: stripe.StripeError, name: str) -> str:
    return next((value for key, value in (error.headers or {}).items() if key.lower() == name), "")


def _said(lane: str, error: stripe.StripeError) -> str:
    """For logs and for people: with the request's id, by which Stripe finds it."""
    text = error.user_message or type(error).__name__
    return f"{lane}: {text}" + (f" ({error.request_id})" if error.request_id else "")
