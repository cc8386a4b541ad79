"""What is charged: an invoice of ours as a payment provider gets it, and the orders that make it there.

Everything is worked out once, when the charge is planned, and kept; what is sent later is what was kept. Only
the provider's ids are filled in, once they are known.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import accumulate, groupby, pairwise
from typing import Final, Literal, TypeAlias

import msgspec

from policies.charging.orders import AddCustomer, AddLine, Credit, Draft
from policies.model import Noun

Step = Literal["customer", "draft", "line", "finalize", "credit", "withdraw"]
State = Literal["assembling", "open", "waiting", "paid", "exhausted", "withdrawn", "stopped"]
"""`waiting` is for the customer, and ends when there is a new way to pay; `stopped` is for a person."""
OVER: Final = frozenset[State]({"paid", "withdrawn"})
OTHERS: Final = "others"

Order: TypeAlias = AddCustomer | Draft | AddLine | Credit


class ChargeLine(Noun, frozen=True, kw_only=True):
    """One line, in minor units; below zero for a credit."""

    line_id: str
    amount: int
    description: str
    group: str = ""
    """Lines of one group may be added up where there are too many."""
    starts_at: datetime | None = None
    ends_at: datetime | None = None


class Charge(Noun, frozen=True, kw_only=True):
    """An invoice of ours that is to be paid."""

    tenant_id: str
    invoice_id: str
    number: str
    currency: str
    lines: tuple[ChargeLine, ...]
    name: str = ""
    email: str = ""

    @property
    def total(self) -> int:
        """What the lines add up to."""
        return sum(line.amount for line in self.lines)


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to be done at the provider, in its place."""

    step: Step
    subject: str = ""
    """The line or credit note; empty where there is only one."""
    order: Order | None = None


def plan(charge: Charge, *, lines_max: int, step: int = 1) -> tuple[Planned, ...]:
    """All that makes the charge, up to what binds it; the customer is planned apart, once for a tenant.

    `step`: amounts are multiples of it, as the total is.
    """
    lines = stepped(folded(charge.lines, lines_max), step)
    return (
        Planned(step="draft", order=_draft(charge)),
        *(Planned(step="line", subject=line.line_id, order=_line(charge, line)) for line in lines),
        Planned(step="finalize"),
    )


def customer(charge: Charge) -> Planned:
    """Who pays."""
    order = AddCustomer(tenant_id=charge.tenant_id, name=charge.name, email=charge.email)
    return Planned(step="customer", order=order)


def folded(lines: Sequence[ChargeLine], most: int) -> tuple[ChargeLine, ...]:
    """At most so many lines with the same total: by groups, and past that the rest in one. Ours keep all."""
    if len(lines) <= most:
        return tuple(lines)
    grouped = [*_groups(lines)]
    if len(grouped) <= most:
        return tuple(grouped)
    return (*grouped[: most - 1], _sum(OTHERS, "Other charges", grouped[most - 1 :]))


def stepped(lines: Sequence[ChargeLine], step: int) -> tuple[ChargeLine, ...]:
    """Lines of whole steps: what one leaves is on the next, so that they add up to what they added up to.

    Of a total that is a multiple of the step; of another one the last part is missing.
    """
    sums = [0, *accumulate(line.amount for line in lines)]
    whole = [one - one % step for one in sums]
    return tuple(
        msgspec.structs.replace(line, amount=upto - before)
        for line, (before, upto) in zip(lines, pairwise(whole), strict=True)
    )


def filled(order: Order, *, customer_ref: str, invoice_ref: str) -> Order:
    """The order with the provider's ids in it."""
    match order:
        case Draft():
            return msgspec.structs.replace(order, customer_ref=customer_ref)
        case AddLine():
            return msgspec.structs.replace(order, customer_ref=customer_ref, invoice_ref=invoice_ref)
        case Credit():
            return msgspec.structs.replace(order, invoice_ref=invoice_ref)
    return order


def _groups(lines: Sequence[ChargeLine]) -> Iterator[ChargeLine]:
    """One line for each group, in the order in which they begin."""
    first: dict[str, int] = {}
    for place, line in enumerate(lines):
        first.setdefault(line.group or line.line_id, place)
    ordered = sorted(lines, key=lambda line: first[line.group or line.line_id])
    for group, some in groupby(ordered, key=lambda line: line.group or line.line_id):
        members = [*some]
        yield members[0] if len(members) == 1 else _sum(f"group:{group}", members[0].description, members)


def _sum(line_id: str, description: str, lines: Sequence[ChargeLine]) -> ChargeLine:
    return ChargeLine(
        line_id=line_id,
        amount=sum(line.amount for line in lines),
        description=f"{description} ({len(lines)} lines)",
        group=lines[0].group,
        starts_at=min((line.starts_at for line in lines if line.starts_at), default=None),
        ends_at=max((line.ends_at for line in lines if line.ends_at), default=None),
    )


def _draft(charge: Charge) -> Draft:
    return Draft(
        tenant_id=charge.tenant_id,
        invoice_id=charge.invoice_id,
        customer_ref="",
        currency=charge.currency,
        number=charge.number,
    )


def _line(charge: Charge, line: ChargeLine) -> AddLine:
    return AddLine(
        line_id=line.line_id,
        invoice_ref="",
        customer_ref="",
        amount=line.amount,
        currency=charge.currency,
        description=line.description,
        starts_at=line.starts_at,
        ends_at=line.ends_at,
    )
