"""Our records beside the provider's: every difference, by class.

A function of both sides and the instant. What is under way is left alone: an order that was sent less than
half an hour ago, and whatever changed in the last quarter of an hour.
"""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from policies.charging import seen
from policies.payment import table
from policies.payment.fact import Kind as FactKind
from policies.reconcile import lines, surroundings
from policies.reconcile.classes import Class
from policies.reconcile.finding import Finding, Known, OurCharge, Ours, OurStatus, Theirs, is_young

STUCK: Final = timedelta(minutes=30)
STALE: Final = timedelta(hours=2)
_SETTLED: Final = frozenset({"paid", "void", "credited"})
_TAKEN: Final = {
    "void": frozenset({"void", "paid", "credited"}),
    "uncollectible": frozenset({"uncollectible", "void", "paid", "credited"}),
}
"""By what became of an invoice there: what it may be here."""
_ANY: Final = frozenset({"draft", "open", "paid", "void", "uncollectible", "credited"})
_INVOICE_STATES: Final = frozenset({"draft", "open", "paid", "void", "uncollectible"})
_LIVING: Final = frozenset({"incomplete", "trialing", "active", "past_due", "unpaid", "paused"})


def findings(ours: Ours, theirs: Theirs, now: datetime) -> tuple[Finding, ...]:
    """All differences, sorted."""
    if strangers := list(_livemode(theirs)):
        return tuple(strangers)  # nothing else is to be believed
    found = [
        *_charges(ours, theirs, now),
        *_strange_invoices(ours, theirs, now),
        *_customers(ours, theirs),
        *_payments(ours, theirs, now),
        *_disputes(ours, theirs, now),
        *_credit_notes(ours, theirs, now),
        *_subscriptions(ours, theirs, now),
        *_statuses(ours.statuses),
        *surroundings.of(ours, theirs, now),
    ]
    return tuple(sorted(found, key=lambda one: (one.kind, one.tenant_id, one.subject)))


def _livemode(theirs: Theirs) -> Iterator[Finding]:
    for ref, one in sorted(theirs.things.items()):
        if not isinstance(one, seen.Line) and one.live != theirs.live:
            yield Finding(
                kind="livemode_mismatch", subject=ref, expected=_mode(theirs.live), actual=_mode(one.live)
            )


def _mode(live: bool) -> str:  # noqa: FBT001 - it is what is named
    return "live" if live else "test"


def _charges(ours: Ours, theirs: Theirs, now: datetime) -> Iterator[Finding]:
    for one in ours.charges:
        if one.sending_since is not None:
            if now - one.sending_since > STUCK:
                since = one.sending_since.isoformat()
                yield lines.of(one, "operation_stuck", "done or rejected", f"sending since {since}")
            continue
        if one.invoice_ref is None:
            continue
        found = theirs.things.get(one.invoice_ref)
        if isinstance(found, seen.Invoice):
            yield from _charge(one, found, theirs, now)
        elif one.invoice_ref in theirs.gone and one.state != "withdrawn":
            yield lines.of(one, "invoice_missing", one.state, "not there", money=one.total)


def _charge(one: OurCharge, found: seen.Invoice, theirs: Theirs, now: datetime) -> Iterator[Finding]:
    if found.status not in _INVOICE_STATES:
        yield lines.of(one, "status_unknown", "a state that is known", found.status, subject=found.ref)
        return
    yield from _states(one, found, now)
    if found.status == "draft":
        yield from lines.of_draft(one, theirs.lines.get(found.ref))
    elif found.status != "void" and found.subtotal != one.total:
        yield lines.of(
            one,
            "invoice_total",
            str(one.total),
            str(found.subtotal),
            subject=found.ref,
            money=abs(found.subtotal - one.total),
        )
    wanted = one.total - one.credited if found.status == "paid" else 0
    if found.status in ("paid", "open", "uncollectible") and found.amount_paid != wanted:
        yield lines.of(
            one,
            "paid_amount",
            str(wanted),
            str(found.amount_paid),
            subject=found.ref,
            money=abs(found.amount_paid - wanted),
        )


def _states(one: OurCharge, found: seen.Invoice, now: datetime) -> Iterator[Finding]:
    """The state of an invoice here and there."""
    here, there = one.invoice_state, found.status
    if there == "paid" and here not in {"paid", "credited"}:
        yield lines.of(one, "invoice_paid_missed", "paid", here, subject=found.ref, money=one.total)
    elif here not in _TAKEN.get(there, _ANY):
        yield lines.of(one, "invoice_settled_missed", there, here, subject=found.ref, money=one.total)
    elif there == "open" and here in _SETTLED:
        yield lines.of(one, "invoice_unpaid_there", here, there, money=one.total)
    elif there == "open" and one.state == "assembling":
        yield lines.of(one, "invoice_finalized_early", "draft", there, money=one.total)
    elif there == "open" and one.state == "open" and (one.next_at is None or now - one.next_at > STALE):
        at = "nothing" if one.next_at is None else one.next_at.isoformat()
        yield lines.of(one, "invoice_open_stale", "an attempt to come", at, money=one.total)


def _strange_invoices(ours: Ours, theirs: Theirs, now: datetime) -> Iterator[Finding]:
    """Invoices of the provider that no charge of ours points to."""
    refs = {one.invoice_ref: one for one in ours.charges if one.invoice_ref is not None}
    by_id = {one.invoice_id: one for one in ours.charges}
    for found in theirs.all(seen.Invoice):
        tenant_id = ours.customers.get(found.customer_ref, found.tenant_id or "")
        if found.ref in refs or found.status == "void" or is_young(found.created_at, now):
            continue
        if found.invoice_id is None:
            if tenant_id:
                yield _strange("invoice_foreign", tenant_id, found, found.status, 0)
        elif (charged := by_id.get(found.invoice_id)) is not None and charged.invoice_ref is not None:
            yield _duplicate(charged, found)
        elif found.invoice_id not in ours.invoices:
            money = found.amount_paid or found.amount_due
            yield _strange("invoice_unknown", tenant_id, found, found.status, money)


def _duplicate(one: OurCharge, found: seen.Invoice) -> Finding:
    expected = f"{one.invoice_ref} alone"
    if found.status == "draft":
        return lines.of(one, "invoice_duplicate_draft", expected, found.status, subject=found.ref)
    if found.amount_paid or found.status == "paid":
        return lines.of(
            one, "invoice_duplicate_paid", expected, found.status, subject=found.ref, money=found.amount_paid
        )
    return lines.of(
        one, "invoice_duplicate_unpaid", expected, found.status, subject=found.ref, money=found.amount_due
    )


def _customers(ours: Ours, theirs: Theirs) -> Iterator[Finding]:
    by_tenant, linked_to = defaultdict[str, list[str]](list), defaultdict[str, set[str]](set)
    for ref, tenant_id in ours.customers.items():
        linked_to[tenant_id].add(ref)
    for found in theirs.all(seen.Customer):
        if found.tenant_id is not None:
            by_tenant[found.tenant_id].append(found.ref)
        whose = ours.customers.get(found.ref)
        if whose is not None and found.tenant_id != whose:
            yield Finding(
                kind="customer_metadata_lost",
                tenant_id=whose,
                subject=found.ref,
                expected=whose,
                actual=found.tenant_id or "nothing",
            )
    for tenant_id, refs in sorted(by_tenant.items()):
        linked = linked_to.get(tenant_id, set())
        together = sorted({*refs, *(linked - theirs.gone)})
        if linked and len(together) > 1:
            yield Finding(
                kind="customer_duplicate",
                tenant_id=tenant_id,
                subject=tenant_id,
                expected=", ".join(sorted(linked)),
                actual=", ".join(together),
            )
    for ref, tenant_id in sorted(ours.customers.items()):
        known = ours.facts.get(("customer", ref))
        if ref in theirs.gone and (known is None or known.state != "deleted"):
            yield Finding(
                kind="customer_missing", tenant_id=tenant_id, subject=ref, expected="here", actual="not there"
            )


def _payments(ours: Ours, theirs: Theirs, now: datetime) -> Iterator[Finding]:
    for found in theirs.all(seen.Payment):
        tenant_id = ours.customers.get(found.customer_ref or "")
        if tenant_id is None or is_young(found.created_at, now):
            continue
        if found.status == "succeeded" and found.invoice_ref is None:
            yield _strange("payment_orphan", tenant_id, found, "no invoice", found.amount)
        if found.amount_refunded:
            state = "full" if found.amount_refunded >= found.amount else "partial"
            known = ours.facts.get(("refund", found.ref))
            if known is None or known.state != state:
                yield _strange(
                    "refund_unrecorded", tenant_id, found, state, found.amount_refunded, known=known
                )


def _disputes(ours: Ours, theirs: Theirs, now: datetime) -> Iterator[Finding]:
    for found in theirs.all(seen.Dispute):
        tenant_id = ours.customers.get(found.customer_ref or "")
        if tenant_id is None or is_young(found.created_at, now):
            continue
        known = ours.facts.get(("dispute", found.ref))
        if known is not None and known.state == "settled":
            continue  # a person said so
        if known is None or known.state != found.status:
            yield _strange("dispute_unrecorded", tenant_id, found, found.status, found.amount, known=known)


def _credit_notes(ours: Ours, theirs: Theirs, now: datetime) -> Iterator[Finding]:
    charged = {one.invoice_ref for one in ours.charges if one.invoice_ref is not None}
    for found in theirs.all(seen.CreditNote):
        if found.status == "void" or found.invoice_ref not in charged or is_young(found.created_at, now):
            continue
        if found.credit_id is None or found.credit_id not in ours.credits:
            tenant_id = ours.customers.get(found.customer_ref, "")
            yield _strange("credit_note_unrecorded", tenant_id, found, found.status, found.amount)


def _subscriptions(ours: Ours, theirs: Theirs, now: datetime) -> Iterator[Finding]:
    """Those that the provider bills by itself and that carry a tenant of ours."""
    living, state = defaultdict[str, list[str]](list), {one.tenant_id: one.state for one in ours.statuses}
    for found in theirs.all(seen.Subscription):
        tenant_id = found.tenant_id
        if tenant_id is None or is_young(found.created_at, now):
            continue
        shown = _shown(found)
        known = ours.facts.get(("subscription", found.ref))
        if found.status in _LIVING:
            living[tenant_id].append(found.ref)
            if state.get(tenant_id) == "ended":
                yield Finding(
                    kind="subscription_zombie",
                    tenant_id=tenant_id,
                    subject=found.ref,
                    expected="ended",
                    actual=shown,
                )
        if known is None or known.state != shown:
            yield Finding(
                kind="subscription_status",
                tenant_id=tenant_id,
                subject=found.ref,
                expected=known.state if known else "nothing",
                actual=shown,
            )
        elif found.status in _LIVING and known.ends_at != found.cancels_at:
            yield Finding(
                kind="subscription_end",
                tenant_id=tenant_id,
                subject=found.ref,
                expected=_ends(known.ends_at),
                actual=_ends(found.cancels_at),
            )
    yield from _gone_subscriptions(ours, theirs)
    for tenant_id, refs in sorted(living.items()):
        if len(refs) > 1:
            yield Finding(
                kind="subscription_twice",
                tenant_id=tenant_id,
                subject=tenant_id,
                expected="one",
                actual=", ".join(refs),
            )


def _gone_subscriptions(ours: Ours, theirs: Theirs) -> Iterator[Finding]:
    kind: FactKind = "subscription"
    for (of, ref), known in sorted(ours.facts.items()):
        row = table.row(of, known.state)
        if of == kind and ref in theirs.gone and not (row is not None and row.final):
            yield Finding(
                kind="subscription_status",
                tenant_id=known.tenant_id,
                subject=ref,
                expected=known.state,
                actual="not there",
            )


def _statuses(statuses: tuple[OurStatus, ...]) -> Iterator[Finding]:
    for one in statuses:
        whose = one.tenant_id
        if not one.laid:
            yield Finding(
                kind="status_stale",
                tenant_id=whose,
                subject=whose,
                expected=one.follows,
                actual=one.holds,
            )
        if one.by_hand and table.badness(one.holds) < table.badness(one.follows):
            yield Finding(
                kind="status_by_hand",
                tenant_id=whose,
                subject=whose,
                expected=one.follows,
                actual=one.holds,
            )
        for thing in one.unknown:
            known = "a state that is known"
            yield Finding(kind="status_unknown", tenant_id=whose, subject=thing, expected=known, actual=thing)


def _ends(at: datetime | None) -> str:
    return "goes on" if at is None else f"ends at {at.isoformat()}"


def _shown(found: seen.Subscription) -> str:
    reason = f":{found.status_reason}" if found.status == "paused" and found.status_reason else ""
    return found.status + reason


def _strange(
    kind: Class,
    tenant_id: str,
    found: seen.Invoice | seen.Payment | seen.Dispute | seen.CreditNote,
    actual: str,
    money: int,
    *,
    known: Known | None = None,
) -> Finding:
    """What the provider has, and we have not, or otherwise."""
    return Finding(
        kind=kind,
        tenant_id=tenant_id,
        subject=found.ref,
        expected=known.state if known else "nothing",
        actual=actual,
        money=money,
        currency=found.currency,
    )
