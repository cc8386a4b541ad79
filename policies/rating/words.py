"""What is a line of a bill for, in a sentence that stands on the bill?"""

from policies import money, quantity
from policies.rating.lines import Line


def described(line: Line) -> str:
    """`Pro, 20 of 30 days`; `AI tokens, past what is included: units above 1,000 in 21 periods`."""
    if line.kind == "carried":
        return line.name
    said = _price(line) if line.kind in ("plan", "addon") else _usage(line)
    return said if line.billed is None else f"{said}; {_before(line)} before"


def _price(line: Line) -> str:
    held = f"{line.quantity:,} of " if line.quantity != 1 else ""
    part = "" if line.days == line.of_days else f", {line.days} of {line.of_days} days"
    return f"{held}{line.name}{part}"


def _usage(line: Line) -> str:
    times = f" in {line.periods:,} periods" if line.periods > 1 else ""
    if line.kind == "minimum":
        return f"{line.name}, up to the minimum of {money.priced(line.unit_amount, line.currency)}{times}"
    return f"{line.name}, past what is included{_tier(line)}{times}"


def _before(line: Line) -> str:
    """`adjusted: 130 instead of 100, less 10.00 billed`."""
    assert line.billed is not None
    less = f"less {money.written(line.billed, line.currency)} billed"
    if line.kind in ("plan", "addon"):
        return less
    now = quantity.human(line.quantity, line.decimals)
    return f"{now} instead of {quantity.human(line.billed_quantity or 0, line.decimals)}, {less}"


def _tier(line: Line) -> str:
    if line.tier is None or line.above is None or (line.tier == 1 and line.up_to is None):
        return ""
    above = f" above {quantity.human(line.above, line.decimals)}" if line.above else ""
    up_to = "" if line.up_to is None else f" up to {quantity.human(line.up_to, line.decimals)}"
    often = "once" if line.flats == 1 else "each time"
    once = f", and {money.priced(line.flat_amount, line.currency)} {often}" if line.flats else ""
    return f":{above}{up_to}{once}"
