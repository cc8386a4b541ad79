"""What of the lines of a period is to be paid now, and what goes over to the next invoice?

By R38. A tenant's ledger holds what it owes beside its invoices (above zero) or has to its credit (below).
An invoice takes it over whole. Its total is never below 0: the rest goes over to the next one, and so does
what a payment provider cannot collect: less than its minimum, or a part of the smallest step in which it
writes amounts (ten fils of a dinar). Both are lines of the invoice, so that it adds up.
"""

from collections.abc import Sequence

import msgspec

from policies.period import Period
from policies.rating.lines import Line


class Payable(msgspec.Struct, frozen=True, kw_only=True):
    """What can be collected in a currency, in minor units; as it stands here: any amount."""

    least: int = 0
    step: int = 1
    """Amounts are multiples of it."""

    def of(self, due: int) -> int:
        """The most that can be collected of what is owed; nothing of what is less than nothing."""
        whole = due - due % self.step
        return whole if whole >= max(0, self.least) else 0


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice before it has a number. Amounts are minor units."""

    lines: tuple[Line, ...]
    total: int
    taken_in: int
    """Of the ledger, which is lower by it."""
    handed_on: int
    """To the ledger, which is higher by it; below zero the tenant has it to its credit."""


def settled(
    lines: Sequence[Line], currency: str, span: Period, *, balance: int, payable: Payable
) -> Settled | None:
    """The invoice of these lines and the ledger's balance; None where there is nothing to say."""
    due = sum(line.amount for line in lines) + balance
    total = payable.of(due)
    if not any(line.amount for line in lines) and not (balance and total):
        return None
    found = list(lines)
    if balance:
        found.append(_carried("Carried over from before", balance, currency, span))
    handed_on = due - total
    if handed_on:
        found.append(_carried("Carried over to the next invoice", -handed_on, currency, span))
    return Settled(lines=tuple(found), total=total, taken_in=balance, handed_on=handed_on)


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
