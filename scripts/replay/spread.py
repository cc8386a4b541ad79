"""Which tenant made a call? A trace names none, so a rule that anybody can repeat spreads its calls."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from policies import limits
from scripts.replay.calls import Call

FEATURE: Final = "ai-tokens"
SHARES: Final = {"free": 1, "starter": 2, "pro": 5, "enterprise": 8}
"""How many calls one tenant makes beside one of another plan: who uses more has bought more."""
TENANTS: Final = 8
TENANTS_MAX: Final = 400
RULE: Final = (
    "A call's tenant: the first 8 bytes of sha256 of its row number, modulo the sum of the tenants' shares "
    f"({', '.join(f'{plan} {share}' for plan, share in SHARES.items())})."
)
_NAME_LENGTH: Final = limits.ID_LENGTH - len(":1000000") - len("@400")
_HASH_LENGTH: Final = 8


class Tenant(msgspec.Struct, frozen=True):
    """One of those that the calls are spread over."""

    tenant_id: str
    plan_id: str
    share: int


def tenants(count: int) -> tuple[Tenant, ...]:
    """So many tenants, dealt out over the plans in turn: trace-free-1, trace-starter-1 and so on."""
    plans = list(SHARES)
    return tuple(
        Tenant(f"trace-{plan}-{number // len(plans) + 1}", plan, SHARES[plan])
        for number in range(count)
        for plan in [plans[number % len(plans)]]
    )


def spread(calls: Iterable[Call], over: Sequence[Tenant]) -> dict[Tenant, list[Call]]:
    """The calls of each tenant, in the order of time; a tenant may get none."""
    slots = [tenant for tenant in over for _ in range(tenant.share)]
    found: dict[Tenant, list[Call]] = {tenant: [] for tenant in over}
    for call in calls:
        digest = hashlib.sha256(str(call.row).encode()).digest()
        found[slots[int.from_bytes(digest[:8]) % len(slots)]].append(call)
    return {tenant: sorted(own, key=lambda call: (call.at, call.row)) for tenant, own in found.items()}


def service_id(file_name: str, count: int) -> str:
    """The service that reports a file over so many tenants.

    The number is in it as another number is another spread: its events are others, and must not be taken
    for these.
    """
    return f"{_name(file_name)}@{count}"


def event_id(file_name: str, row: int) -> str:
    """The id of a call: the same whenever the file is sent."""
    return f"{_name(file_name)}:{row}"


def _name(file_name: str) -> str:
    """The file's name as an id may have it; one that had to be altered is told apart by a hash."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "-", file_name).lstrip("._-")
    if plain == file_name and len(plain) <= _NAME_LENGTH:
        return plain
    digest = hashlib.sha256(file_name.encode(errors="surrogateescape")).hexdigest()[:_HASH_LENGTH]
    return (f"{plain[: _NAME_LENGTH - len(digest) - 1]}~" if plain else "") + digest
