"""Two sides that agree, of any size, and every way in which one of them can be put wrong."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import get_args

import msgspec

from policies.charging import seen
from policies.reconcile.finding import (
    Known,
    Missed,
    OurCharge,
    OurPrice,
    Ours,
    OurStatus,
    Stuck,
    Theirs,
)

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
OLD = NOW - timedelta(days=3)
DAY = timedelta(days=1)
VERSION = "2026-10-28.endive"
LINES = {"1": 4900, "2": 1234, "3": -400}
TOTAL = 5734


def clean(tenants: int = 3) -> tuple[Ours, Theirs]:
    """Per tenant a customer, a paid invoice, an open one and a draft, a payment, a dispute that is known."""
    charges, things, lines, customers, facts, statuses = [], {}, {}, {}, {}, []
    for number in range(tenants):
        tenant_id, customer = f"t{number}", f"cus_{number}"
        customers[customer] = tenant_id
        things[customer] = seen.Customer(ref=customer, tenant_id=tenant_id, created_at=OLD)
        for state in ("paid", "open", "draft"):
            charge, found = billed(tenant_id, customer, state)
            charges.append(charge)
            things[found.ref] = found
            lines[found.ref] = tuple(line(found.ref, key, amount) for key, amount in LINES.items())
        for one in (payment(number), dispute(number), subscription(number)):
            things[one.ref] = one
        facts["dispute", f"dp_{number}"] = Known(tenant_id, "won")
        facts["subscription", f"sub_{number}"] = Known(tenant_id, "active")
        statuses.append(standing(tenant_id))
        things[f"price_{number}"] = seen.Price(ref=f"price_{number}", key="pro", amount=4900, currency="usd")
    ids = frozenset(one.invoice_id for one in charges)
    ours = Ours(
        charges=tuple(charges), customers=customers, facts=facts, invoices=ids, statuses=tuple(statuses),
        prices={"pro": OurPrice(4900, "usd")},
    )  # fmt: skip
    things["we_0"] = seen.Endpoint(ref="we_0", ours=True, enabled=True, version=VERSION)
    things["we_1"] = seen.Endpoint(ref="we_1", ours=False, enabled=False)
    kinds = frozenset(get_args(seen.Kind))
    return ours, Theirs(things=things, lines=lines, listed=kinds, tells=True, version=VERSION)


def billed(tenant_id: str, customer: str, state: str) -> tuple[OurCharge, seen.Invoice]:
    """An invoice on both sides."""
    invoice_id, ref = f"inv_{tenant_id}_{state}", f"in_{tenant_id}_{state}"
    charge = OurCharge(
        tenant_id=tenant_id, invoice_id=invoice_id, currency="usd", total=TOTAL, invoice_ref=ref, lines=LINES,
        state={"paid": "paid", "open": "open", "draft": "assembling"}[state],
        invoice_state="paid" if state == "paid" else "open", next_at=NOW + DAY,
    )  # fmt: skip
    paid = TOTAL if state == "paid" else 0
    found = seen.Invoice(
        ref=ref, customer_ref=customer, currency="usd", status=state, subtotal=TOTAL, total=TOTAL,
        amount_due=TOTAL, amount_paid=paid, amount_remaining=TOTAL - paid, invoice_id=invoice_id,
        tenant_id=tenant_id, created_at=OLD,
    )  # fmt: skip
    return charge, found


def line(invoice_ref: str, line_id: str | None, amount: int, ref: str = "") -> seen.Line:
    return seen.Line(
        ref=ref or f"il_{line_id}", invoice_ref=invoice_ref, amount=amount, currency="usd", line_id=line_id
    )


def payment(number: int, **rest) -> seen.Payment:
    fields = {
        "ref": f"pi_{number}", "status": "succeeded", "amount": TOTAL, "amount_refunded": 0,
        "currency": "usd", "customer_ref": f"cus_{number}", "invoice_ref": f"in_t{number}_paid",
        "created_at": OLD,
    }  # fmt: skip
    return seen.Payment(**fields | rest)


def dispute(number: int, **rest) -> seen.Dispute:
    fields = {
        "ref": f"dp_{number}", "status": "won", "reason": "fraudulent", "amount": TOTAL, "currency": "usd",
        "payment_ref": f"pi_{number}", "customer_ref": f"cus_{number}", "created_at": OLD,
    }  # fmt: skip
    return seen.Dispute(**fields | rest)


def subscription(number: int, **rest) -> seen.Subscription:
    fields = {
        "ref": f"sub_{number}", "customer_ref": f"cus_{number}", "status": "active",
        "tenant_id": f"t{number}", "created_at": OLD,
    }  # fmt: skip
    return seen.Subscription(**fields | rest)


def standing(tenant_id: str, **rest) -> OurStatus:
    fields = {
        "tenant_id": tenant_id, "state": "active", "holds": "good", "follows": "good", "laid": True,
        "by_hand": False,
    }  # fmt: skip
    return OurStatus(**fields | rest)


Sides = tuple[Ours, Theirs]
Wrong = Callable[[Sides], Sides]


def _there(ref: str, **changes) -> Wrong:
    """A thing of the provider is otherwise."""

    def change(sides: Sides) -> Sides:
        ours, theirs = sides
        changed = msgspec.structs.replace(theirs.things[ref], **changes)
        return ours, msgspec.structs.replace(theirs, things={**theirs.things, ref: changed})

    return change


def _more(*things: seen.Seen) -> Wrong:
    """The provider has something more."""

    def change(sides: Sides) -> Sides:
        ours, theirs = sides
        more = {one.ref: one for one in things}
        return ours, msgspec.structs.replace(theirs, things={**theirs.things, **more})

    return change


def _gone(ref: str) -> Wrong:
    def change(sides: Sides) -> Sides:
        ours, theirs = sides
        left = {key: one for key, one in theirs.things.items() if key != ref}
        return ours, msgspec.structs.replace(theirs, things=left, gone=theirs.gone | {ref})

    return change


def _lines(*found: seen.Line) -> Wrong:
    def change(sides: Sides) -> Sides:
        ours, theirs = sides
        lines = {**theirs.lines, "in_t0_draft": found}
        return ours, msgspec.structs.replace(theirs, lines=lines)

    return change


def _here(invoice_id: str, **changes) -> Wrong:
    """A charge of ours is otherwise."""

    def change(sides: Sides) -> Sides:
        ours, theirs = sides
        charges = tuple(
            msgspec.structs.replace(one, **changes) if one.invoice_id == invoice_id else one
            for one in ours.charges
        )
        return msgspec.structs.replace(ours, charges=charges), theirs

    return change


def _status(**changes) -> Wrong:
    def change(sides: Sides) -> Sides:
        ours, theirs = sides
        first = standing("t0", **changes)
        return msgspec.structs.replace(ours, statuses=(first, *ours.statuses[1:])), theirs

    return change


def _ours(**changes) -> Wrong:
    return lambda sides: (msgspec.structs.replace(sides[0], **changes), sides[1])


def _together(*wrongs: Wrong) -> Wrong:
    def change(sides: Sides) -> Sides:
        for wrong in wrongs:
            sides = wrong(sides)
        return sides

    return change


DRAFT = tuple(line("in_t0_draft", key, amount) for key, amount in LINES.items())
_, _open = billed("t0", "cus_0", "open")
_second = msgspec.structs.replace(_open, ref="in_second")
_credit = seen.CreditNote(
    ref="cn_1", status="issued", amount=100, currency="usd", customer_ref="cus_0",
    invoice_ref="in_t0_open", created_at=OLD,
)  # fmt: skip

WRONG: dict[str, tuple[Wrong, int]] = {
    "item_missing": (_lines(*DRAFT[1:]), 4900),
    "item_duplicate": (_lines(*DRAFT, msgspec.structs.replace(DRAFT[0], ref="il_again")), 4900),
    "item_amount": (_lines(msgspec.structs.replace(DRAFT[0], amount=5000), *DRAFT[1:]), 100),
    "item_foreign": (_lines(*DRAFT, line("in_t0_draft", None, 77, "il_x")), 77),
    "item_pending": (
        _more(seen.Item(ref="ii_x", customer_ref="cus_0", amount=-50, currency="usd", created_at=OLD)), 50
    ),
    "invoice_total": (_there("in_t0_open", subtotal=TOTAL + 9), 9),
    "invoice_missing": (_gone("in_t0_draft"), TOTAL),
    "invoice_duplicate_draft": (_more(msgspec.structs.replace(_second, status="draft")), 0),
    "invoice_duplicate_unpaid": (_more(_second), TOTAL),
    "invoice_duplicate_paid": (
        _more(msgspec.structs.replace(_second, status="paid", amount_paid=TOTAL)), TOTAL
    ),
    "invoice_unknown": (_more(msgspec.structs.replace(_second, invoice_id="inv_lost")), TOTAL),
    "invoice_foreign": (_more(msgspec.structs.replace(_second, invoice_id=None)), 0),
    "invoice_finalized_early": (_there("in_t0_draft", status="open"), TOTAL),
    "invoice_paid_missed": (_there("in_t0_open", status="paid", amount_paid=TOTAL), TOTAL),
    "invoice_settled_missed": (_there("in_t0_open", status="void"), TOTAL),
    "invoice_unpaid_there": (_here("inv_t0_open", invoice_state="paid"), TOTAL),
    "invoice_open_stale": (_here("inv_t0_open", next_at=NOW - DAY), TOTAL),
    "paid_amount": (_there("in_t0_paid", amount_paid=TOTAL - 5), 5),
    "payment_orphan": (_more(payment(0, ref="pi_orphan", invoice_ref=None)), TOTAL),
    "refund_unrecorded": (_there("pi_0", amount_refunded=34), 34),
    "credit_note_unrecorded": (_more(_credit), 100),
    "dispute_unrecorded": (_there("dp_0", status="lost"), TOTAL),
    "subscription_status": (_there("sub_0", status="past_due"), 0),
    "subscription_end": (_there("sub_0", cancels_at=NOW + DAY), 0),
    "subscription_twice": (
        _together(
            _more(subscription(0, ref="sub_second")),
            lambda sides: (
                msgspec.structs.replace(
                    sides[0], facts={**sides[0].facts, ("subscription", "sub_second"): Known("t0", "active")}
                ),
                sides[1],
            ),
        ),
        0,
    ),
    "subscription_zombie": (_status(state="ended"), 0),
    "customer_missing": (_gone("cus_0"), 0),
    "customer_duplicate": (_more(seen.Customer(ref="cus_second", tenant_id="t0", created_at=OLD)), 0),
    "customer_metadata_lost": (_there("cus_0", tenant_id=None), 0),
    "price_differs": (_there("price_0", amount=3900), 0),
    "look_stuck": (_ours(stuck=(Stuck("dispute", "dp_9", "t0", "timed out"),)), 0),
    "notice_gap": (_ours(missed=(Missed("evt_9", "invoice.paid", OLD),)), 0),
    "endpoint_off": (_there("we_0", enabled=False), 0),
    "endpoint_version": (_there("we_0", version="2025-03-31.basil"), 0),
    "operation_stuck": (_here("inv_t0_draft", sending_since=NOW - timedelta(minutes=31)), 0),
    "livemode_mismatch": (_there("in_t0_open", live=True), 0),
    "status_unknown": (_there("in_t0_open", status="dreaming"), 0),
    "status_stale": (_status(laid=False, follows="grace"), 0),
    "status_by_hand": (_status(follows="suspended", by_hand=True), 0),
}  # fmt: skip
"""By class: what puts the sides wrong in that way alone, and the money that is in doubt then."""
