"""Which numbers of usage does the text of a clause tell apart? What has another form has no decision table.

A clause either reads no usage, or compares one counter with the requested quantity added to it:

    context.drawn + context.requested <= 1000000 + principal.extra
    principal.unlimited || context.caps.c1 + context.requested <= 100000

So for given facts it holds up to one number of that sum and fails from the next on, and nothing else about
usage can matter to it (R4: a conjunction of such clauses has one ceiling for each counter). The numbers are
read off the text itself: what the engine is asked about is what people read.
"""

import re
from typing import Final

import msgspec

_FACT: Final = r"principal\.(?P<{}>extra|extraLimit)"
_COMPARISON: Final = re.compile(
    r"(?:principal\.(?P<lift>unlimited|unlimitedOverage) \|\| )?"
    r"context\.(?:drawn|caps\.c(?P<cap>[1-9][0-9]*)) \+ context\.requested <= "
    rf"(?:(?P<numbers>[0-9]+(?: \+ [0-9]+)*)(?: \+ {_FACT.format('addend')})?|{_FACT.format('alone')})"
)
_USAGE: Final = re.compile(r"context\.(?:drawn|requested|caps)\b")


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """A counter + the requested quantity <= `number` + the fact `addend`; always true where `lift` is."""

    axis: int
    """0: `context.drawn`; from 1 on the caps, in the plan's order."""
    number: int
    addend: str | None = None
    lift: str | None = None


def bound(text: str) -> Bound | None:
    """What a clause compares; None if it reads no usage.

    Errors: ValueError with a sentence for one that reads usage in any other way.
    """
    if _USAGE.search(text) is None:
        return None
    found = _COMPARISON.fullmatch(text)
    if found is None:
        raise ValueError(f"a clause may only compare one counter with a number, not: {text}")
    return Bound(
        axis=int(found["cap"] or 0),
        number=sum(int(number) for number in (found["numbers"] or "0").split(" + ")),
        addend=found["addend"] or found["alone"],
        lift=found["lift"],
    )
