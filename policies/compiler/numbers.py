"""Numbers in plan files: whole numbers, quantities and amounts of money, read exactly; no float anywhere."""

import re
from decimal import Decimal
from typing import Final

from policies import limits, quantity
from policies.compiler.findings import Slug
from policies.compiler.kinds import Refusal, ScalarKind
from policies.compiler.nodes import Scalar

UNLIMITED: Final = Decimal("Infinity")
"""A quantity without end; never part of a sum."""

_WHOLE: Final = re.compile(r"0|[1-9][0-9]*(_[0-9]+)*")
_DECIMAL: Final = re.compile(r"(0|[1-9][0-9]*)(\.[0-9]+)?")
_THOUSANDS: Final = re.compile(r"[0-9]{1,3}([, '][0-9]{3})+")
_MONEY: Final = re.compile(
    r"[^0-9.,-]{0,4}(0|[1-9][0-9]{0,8})(?:[.,]([0-9]{1,2}|[0-9]{4,12}))?[^0-9.,-]{0,4}"
)
_EXPONENT: Final = re.compile(r"([1-9][0-9]{0,5})[eE]\+?([0-9]{1,2})")
_SCALE: Final = {"thousand": 10**3, "k": 10**3, "million": 10**6, "m": 10**6, "billion": 10**9, "b": 10**9}
_WORDED: Final = re.compile(r"([0-9]{1,6}) ?(thousand|million|billion|k|m|b)", re.IGNORECASE)
_UNITS: Final = re.compile(r"([1-9][0-9]{0,15}) ?([A-Za-z%]+)")
_BOUNDS: Final[Slug] = "out-of-bounds"


class Whole(ScalarKind[int]):
    """A whole number between two bounds; its schema takes 1_000 as a text, since editors do."""

    says = "a whole number"

    def __init__(self, least: int, most: int, unit: str = "") -> None:
        self.least, self.most, self._unit = least, most, unit
        number = {"type": "integer", "minimum": least, "maximum": most}
        self.schema = {"anyOf": [number, {"type": "string", "pattern": "^[1-9][0-9]*(_[0-9]+)+$"}]}

    def _parse(self, scalar: Scalar) -> int | Refusal:
        """A number in quotes is refused: to an editor it is a text."""
        if not scalar.plain or not _WHOLE.fullmatch(scalar.text):
            return Refusal(_meant(scalar.text, f", in {self._unit}s" if self._unit else "", self._unit))
        digits = scalar.text.replace("_", "")
        number = int(digits) if len(digits) <= len(str(self.most)) else self.most + 1
        if number > self.most:
            return Refusal(slug=_BOUNDS, message=f"is at most {self.most:,}, not {scalar.text[:40]}")
        if number < self.least:
            return Refusal(slug=_BOUNDS, message=f"is at least {self.least:,}, not {scalar.text}")
        return number


class Quantity(ScalarKind[Decimal]):
    """A quantity in the feature's unit: a whole number, or a decimal in quotes."""

    def __init__(self, *, unlimited: bool = False, says: str = "a whole number") -> None:
        self.unlimited = unlimited
        self.says = f"{says} or unlimited" if unlimited else says
        number = {"type": "integer", "minimum": 0, "maximum": limits.QUANTITY_MAX}
        text = {"type": "string", "pattern": "^[0-9]+((_[0-9]+)+|\\.[0-9]+)?$"}
        self.schema = {"anyOf": [number, text, *([{"const": "unlimited"}] if unlimited else [])]}

    def _parse(self, scalar: Scalar) -> Decimal | Refusal:
        """How many decimals there may be is the feature's to say; see `check`."""
        if self.unlimited and scalar.text == "unlimited":
            return UNLIMITED
        text = scalar.text.replace("_", "") if scalar.plain and _WHOLE.fullmatch(scalar.text) else scalar.text
        if not _DECIMAL.fullmatch(text):
            return Refusal(_meant(scalar.text, ", in the unit of the feature"))
        if scalar.plain and "." in text:
            return Refusal(f'a quantity with decimals stands in quotes: write "{text[:40]}"')
        whole, _, fraction = text.partition(".")
        if len(whole) > len(str(limits.QUANTITY_MAX)) or Decimal(whole) > limits.QUANTITY_MAX:
            return Refusal(
                slug=_BOUNDS, message=f"is at most {limits.QUANTITY_MAX:,}, not {scalar.text[:40]}"
            )
        if len(fraction.rstrip("0")) > limits.DECIMALS_MAX:
            return Refusal(
                slug=_BOUNDS, message=f"has at most {limits.DECIMALS_MAX} decimals, not {len(fraction)}"
            )
        return Decimal(shortest(text))


class Money(ScalarKind[str]):
    """An amount in major currency units, as its shortest decimal text: `"49.00"` is read as `49`."""

    says = 'an amount in quotes, such as "49.00"'

    def __init__(self, decimals: int = limits.MONEY_DECIMALS) -> None:
        self.decimals = decimals
        self.schema = {"type": "string", "pattern": f"^(0|[1-9][0-9]*)(\\.[0-9]{{1,{decimals}}})?$"}

    def _parse(self, scalar: Scalar) -> str | Refusal:
        """In quotes, because a bare 49.00 is a binary fraction to every other reader of the file."""
        text = scalar.text
        if not _DECIMAL.fullmatch(text):
            return Refusal(self._meant(text))
        if scalar.plain:
            bare = f"is {self.says}, not the bare number {text[:40]}"
            return Refusal(f'write "{text[:40]}"', message=bare)
        whole, _, fraction = text.partition(".")
        if len(whole) > limits.MONEY_DIGITS:
            return Refusal(slug=_BOUNDS, message=f"has at most {limits.MONEY_DIGITS} digits before the point")
        if len(fraction.rstrip("0")) > self.decimals:
            return Refusal(slug=_BOUNDS, message=f"has at most {self.decimals} digits after the point")
        return shortest(text)

    def _meant(self, text: str) -> str:
        """Of `$49`, `49,00` and `49.00 usd`; 1,000 might be a thousand or one."""
        match = _MONEY.fullmatch(text.strip())
        return (
            f'write "{match[1]}.{match[2]}"' if match and match[2] else f'write "{match[1]}"' if match else ""
        )


def shortest(decimal: str) -> str:
    """`49.00` → `49`, `0.0100` → `0.01`: the same number in the same signs, however it was written."""
    return decimal.rstrip("0").rstrip(".") if "." in decimal else decimal


def decimals_of(value: Decimal) -> int:
    """Digits after the point that the quantity needs; 0 of an unlimited one."""
    exponent = value.as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0


def scaled(value: Decimal, decimals: int) -> int:
    """The finite quantity in units of 10^-decimals; that it fits has been checked."""
    return quantity.parse(f"{value:f}", decimals)


def guessed(text: str, unit: str = "") -> int | None:
    """The number that `1,000,000`, `1 million`, `1e6`, `7 days` or `010` stands for; of another unit none."""
    plain = text.strip()
    number: int | None = None
    if _THOUSANDS.fullmatch(plain):
        number = int(re.sub(r"[^0-9]", "", plain[:40]))
    elif match := _EXPONENT.fullmatch(plain):
        number = int(match[1]) * 10 ** int(match[2])
    elif match := _WORDED.fullmatch(plain):
        number = int(match[1]) * _SCALE[match[2].lower()]
    elif (match := _UNITS.fullmatch(plain)) and unit and match[2].lower() in {unit, f"{unit}s"}:
        number = int(match[1])
    elif re.fullmatch(r"[0-9][0-9_]{0,30}", plain):
        number = int(plain.replace("_", ""))
    return number if number is not None and number <= limits.QUANTITY_MAX else None


def _meant(text: str, counted: str, unit: str = "") -> str:
    """What to write instead of a number in another form; `counted` says in which unit it stands."""
    number = guessed(text, unit)
    if number is not None:
        return f"write {number:_}"
    return f"write the number alone{counted}" if _UNITS.fullmatch(text.strip()) else ""
