"""Is there somebody who moves money, does our key hold, and are we told of what happens there?"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from integrations.payments import Done, Outcome, StoppedError
from policies.charging.seen import Seen, Thing
from service import provider
from service.cli.diagnosis import Diagnosis, ok, warning, wrong
from service.config import Config

PART: Final = "payments"
_NOBODY: Final = Thing(kind="customer", ref="cus_metergateDoctor")


class _Unspaced:
    """One question needs no limiter."""

    @asynccontextmanager
    async def turn(self, lane: str) -> AsyncIterator[None]:
        """At once."""
        del lane
        yield

    async def refused(self, lane: str, after_s: float | None) -> None:
        """Nobody else asks."""


def examine(config: Config) -> Iterator[Diagnosis]:
    """Line by line."""
    if config.billing_folder:
        yield _folder(Path(config.billing_folder))
        return
    if not config.stripe_key:
        yield ok(
            PART,
            "METERGATE_STRIPE_KEY is not set: nothing is charged, and billing stops at our own invoices.",
        )
        return
    try:
        said, live = asyncio.run(_ask(config))
    except StoppedError as error:
        yield wrong(PART, f"Stripe does not let us in: {error}. Look at METERGATE_STRIPE_KEY.")
        return
    if isinstance(said, Done):
        money = "Real money moves." if live else "It is a test key: no money moves."
        yield ok(PART, f"Stripe answers at {config.stripe_address}. {money}")
    else:
        yield wrong(PART, f"Stripe does not answer at {config.stripe_address}: {said.reason}.")
    if config.reconcile_apply == "safe":
        yield ok(
            PART, "What differs and a machine may mend is mended by a worker (METERGATE_RECONCILE_APPLY)."
        )
    if not config.stripe_webhook_secret:
        yield warning(
            PART,
            "METERGATE_STRIPE_WEBHOOK_SECRET is not set: what happens at Stripe is learnt by asking, minutes "
            "later. Make an endpoint for /v1/stripe/webhook and set its secret.",
        )


def _folder(path: Path) -> Diagnosis:
    if path.is_dir() and os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return ok(PART, f"What is to be collected is written to {path}, and receipts are read there.")
    return wrong(PART, f"METERGATE_BILLING_FOLDER names {path}, which is no folder that we may write to.")


async def _ask(config: Config) -> tuple[Outcome[Seen | None], bool]:
    payments = provider.stripe(config, _Unspaced())
    try:
        return await payments.fetch(_NOBODY), payments.live
    finally:
        await payments.close()
