"""Which key belongs to which address: a test never moves money, and money never goes to a stranger."""

import re
from typing import Final
from urllib.parse import urlsplit

ADDRESS: Final = "https://api.stripe.com"
"""Where real keys may be sent, and nowhere else."""
_KEY: Final = re.compile(r"(sk|rk)_(live|test)_[A-Za-z0-9]+")
_SECRET: Final = re.compile(r"whsec_[A-Za-z0-9+/=_-]+")


def is_live(key: str) -> bool:
    """Whether a key moves real money."""
    return "_live_" in key


def wrong(
    key: str, address: str = ADDRESS, secrets: tuple[str, ...] = (), *, test_clock: bool = False
) -> list[str]:
    """What is wrong with these settings, in sentences that do not show them."""
    found = []
    if not _KEY.fullmatch(key):
        found.append("METERGATE_STRIPE_KEY is no secret or restricted key (sk_live_…, rk_live_…, sk_test_…)")
    found += _address(key, address)
    if any(secret and not _SECRET.fullmatch(secret) for secret in secrets):
        found.append("METERGATE_STRIPE_WEBHOOK_SECRET and …_PREVIOUS are to begin with whsec_")
    if test_clock and is_live(key):
        found.append("METERGATE_TEST_CLOCK is refused with a live key: real payments go by real time")
    return found


def _address(key: str, address: str) -> list[str]:
    parts = urlsplit(address)
    own = address.rstrip("/") == ADDRESS
    if is_live(key) and not own:
        return [f"METERGATE_STRIPE_ADDRESS is to be {ADDRESS} with a live key: it is sent nowhere else"]
    if own or (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")):
        return []
    return [f"METERGATE_STRIPE_ADDRESS is to be {ADDRESS}, or with a test key a simulator on this machine"]
