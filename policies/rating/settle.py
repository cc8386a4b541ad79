"""What of the lines of a period is to be paid now, and what goes over to the next invoice?

By R38. A tenant's ledger holds what it owes beside its invoices (above zero) or has to its credit (below).
An invoice takes it over whole. Its total is never below 0: the rest goes over to the next one, and so does
what is less than a payment provider would collect. Both are lines of the invoice, so that it adds up.
"""

from collections.abc import Sequence

import msgspec

from policies.period import Period
from policies.rating.lines import Line


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice before it has a number. Amounts are minor units."""

    lines: tuple[Line, ...]
    total: int
    taken_in: int
    """Of the ledger, which is lower by it."""
    handed_on: int
    """To the ledger, which is higher by it; below zero the tenant has it to its credit."""


def settled(
    lines: Sequence[Line], currency: str, span: Period, *, balance: int, least: int
) -> Settled | None:
    """The invoice of these lines and the ledger's balance; None where there is nothing to say.

    `least` is the smallest amount that can be collected; 0 or 1: any.
    """
    due = sum(line.amount for line in lines) + balance
    kept_back = due < max(0, least)
    if not any(line.amount for line in lines) and (kept_back or not balance):
        return None
    found = list(lines)
    if balance:
        found.append(_carried("Carried over from before", balance, currency, span))
    handed_on = due if kept_back else 0
    if handed_on:
        found.append(_carried("Carried over to the next invoice", -handed_on, currency, span))
    return Settled(lines=tuple(found), total=due - handed_on, taken_in=balance, handed_on=handed_on)


def _carried(name: str, amount: int, currency: str, span: Period) -> Line:
    return Line(
        kind="carried",
        version="",
        name=name,
        source="",
        period=span,
        quantity=1,
        unit_amount="0",
        currency=currency,
        amount=amount,
    )
