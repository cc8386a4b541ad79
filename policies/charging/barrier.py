"""The barrier before an invoice is made binding: is every line there once, with its amount, and nothing else?

What is ours and there twice is dropped, what is missing is sent again. What is not ours or not as it was sent
stops the charge: somebody has touched it, and no machine decides what they meant.
"""

from collections.abc import Mapping, Sequence

import msgspec

from policies.charging.seen import Invoice, Line


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the barrier found. Without any of it the invoice may be finalized."""

    drop: tuple[Line, ...] = ()
    missing: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    """Sentences."""

    @property
    def holds(self) -> bool:
        """Whether all is as it was planned."""
        return not (self.drop or self.missing or self.wrong)


def judge(planned: Mapping[str, int], currency: str, invoice: Invoice, lines: Sequence[Line]) -> Verdict:
    """Holds what is there against the planned amounts by line."""
    found: dict[str, Line] = {}
    drop, wrong = list[Line](), list[str]()
    for line in sorted(lines, key=lambda one: one.ref):
        if line.line_id is None or line.line_id not in planned:
            wrong.append(f"the line {line.ref} is not of ours")
        elif (line.amount, line.currency) != (planned[line.line_id], currency):
            wrong.append(f"the line {line.line_id} is {line.amount} {line.currency}")
        elif line.line_id in found:
            drop.append(line)
        else:
            found[line.line_id] = line
    missing = tuple(line_id for line_id in planned if line_id not in found)
    total = sum(planned.values())
    if not (drop or missing or wrong) and invoice.subtotal != total:
        wrong.append(f"its lines add up to {invoice.subtotal}, not to {total}")
    return Verdict(drop=tuple(drop), missing=missing, wrong=tuple(wrong))
