"""How a quantity is read from the wire, kept as a scaled integer, and written back (R22).

Inside, a quantity of a feature with N decimals is an integer of 10^-N of its unit. On the wire it is a JSON
integer of whole units, or a plain decimal string with at most N digits after the point; never a float.
"""

import re
from typing import Final

from policies import limits

_PLAIN: Final = re.compile(r"(0|[1-9][0-9]*)(?:\.([0-9]+))?")
_TEXT_LENGTH: Final = len(str(limits.QUANTITY_MAX)) + 1 + limits.DECIMALS_MAX
"""The longest text that can be a quantity; longer ones are refused unread."""


def parse(value: object, decimals: int) -> int:
    """The scaled integer of a quantity as it came in.

    Errors: ValueError with a sentence that says what is wrong and what would be right.
    """
    if isinstance(value, bool) or not isinstance(value, int | str):
        sentence = "A quantity is a JSON integer or a decimal string."
        raise ValueError(sentence)  # noqa: TRY004 - callers meet one error for all bad input
    scaled = value * 10**decimals if isinstance(value, int) else _scaled(value, decimals)
    if scaled < 0:
        raise ValueError("A quantity is not negative.")
    if scaled > limits.QUANTITY_MAX:
        raise ValueError(f"One quantity is at most {human(limits.QUANTITY_MAX, decimals)}.")
    return scaled


def render(scaled: int, decimals: int) -> int | str:
    """The quantity for the wire: an integer if there are no decimals, else the shortest decimal string."""
    if decimals == 0:
        return scaled
    return _text(scaled, decimals, grouping="")


def human(scaled: int, decimals: int) -> str:
    """The quantity for a sentence, with thousands set apart: `1,234.5`."""
    return _text(scaled, decimals, grouping=",")


def _scaled(text: str, decimals: int) -> int:
    matched = _PLAIN.fullmatch(text) if len(text) <= _TEXT_LENGTH else None
    if matched is None:
        raise ValueError(
            "A quantity as text is plain digits with at most one point, without sign, spaces, "
            f'separators, exponent or leading zeros, and of at most {_TEXT_LENGTH} characters: "1234.5".'
        )
    whole, fraction = matched[1], matched[2] or ""
    if len(fraction) > decimals:
        raise ValueError(f"This feature is counted with at most {decimals} digits after the point.")
    return int(whole + fraction.ljust(decimals, "0"))


def _text(scaled: int, decimals: int, *, grouping: str) -> str:
    if decimals == 0:
        return f"{scaled:{grouping}}"
    whole, fraction = divmod(abs(scaled), 10**decimals)
    sign = "-" if scaled < 0 else ""  # a correction may lower a total
    digits = f"{fraction:0{decimals}d}".rstrip("0") if fraction else ""
    return f"{sign}{whole:{grouping}}" + (f".{digits}" if digits else "")
