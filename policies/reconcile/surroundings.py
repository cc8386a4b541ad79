"""What lies around our invoices at a provider: stray lines, prices by name, and whether we are told of it."""

from collections.abc import Iterator
from datetime import datetime

from policies.charging import seen
from policies.reconcile.finding import Finding, Ours, Theirs, is_young


def of(ours: Ours, theirs: Theirs, now: datetime) -> Iterator[Finding]:
    """All differences of that."""
    yield from _items(ours, theirs, now)
    yield from _prices(ours, theirs)
    yield from _endpoints(theirs)
    if ours.missed:
        first = ours.missed[0]
        yield Finding(
            kind="notice_gap",
            subject=first.ref,
            expected="told at once",
            actual=f"{first.type} of {first.happened_at.isoformat()} was found by asking",
        )
    for one in ours.stuck:
        yield Finding(
            kind="look_stuck",
            tenant_id=one.tenant_id,
            subject=one.ref,
            expected=f"a look at the {one.kind}",
            actual=one.failed,
        )


def _items(ours: Ours, theirs: Theirs, now: datetime) -> Iterator[Finding]:
    """Lines on no invoice, of customers of ours or with a name of ours on them."""
    for one in theirs.all(seen.Item):
        whose = ours.customers.get(one.customer_ref)
        if is_young(one.created_at, now) or (whose is None and one.line_id is None):
            continue
        yield Finding(
            kind="item_pending",
            tenant_id=whose or "",
            subject=one.ref,
            expected="nothing",
            actual="a line of ours" if one.line_id is not None else "a line of others",
            money=abs(one.amount),
            currency=one.currency,
        )


def _prices(ours: Ours, theirs: Theirs) -> Iterator[Finding]:
    for one in theirs.all(seen.Price):
        wanted = ours.prices.get(one.key)
        if wanted is None:
            continue
        expected = f"{wanted.amount} {wanted.currency}"
        actual = f"{'no single amount' if one.amount is None else one.amount} {one.currency}"
        actual += "" if one.active else ", not for sale"
        if actual != expected:
            yield Finding(
                kind="price_differs", subject=one.ref, expected=f"{one.key}: {expected}", actual=actual
            )


def _endpoints(theirs: Theirs) -> Iterator[Finding]:
    if not theirs.tells or "endpoint" not in theirs.listed:
        return
    found = [one for one in theirs.all(seen.Endpoint) if one.ours]
    enabled = [one for one in found if one.enabled]
    if not enabled:
        off = ", ".join(one.ref for one in found)
        yield Finding(
            kind="endpoint_off",
            subject="endpoint",
            expected="enabled",
            actual=f"{off} disabled" if off else "none",
        )
    if enabled and not any(one.version in ("", theirs.version) for one in enabled):
        for one in enabled:
            yield Finding(
                kind="endpoint_version", subject=one.ref, expected=theirs.version, actual=one.version
            )
