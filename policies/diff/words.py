"""How a diff writes the values of a catalog."""

from policies import money, quantity
from policies.model import BillingInterval, Cap, Feature, Overage, Rollover


def amount(scaled: int | None, feature: Feature) -> str:
    """`1,000,000`, or `unlimited`."""
    return "unlimited" if scaled is None else quantity.human(scaled, feature.decimals)


def price(text: str, currency: str, interval: BillingInterval) -> str:
    """`49.00 USD a month`."""
    return f"{money.priced(text, currency)} {currency.upper()} a {interval}"


def days(count: object) -> str:
    """`14 days`, or `none`."""
    return "none" if not count else "1 day" if count == 1 else f"{count} days"


def attempts(value: object) -> str:
    """`at once, then after 2, 7 days`, or `by default`."""
    if value is None:
        return "by default"
    assert isinstance(value, tuple)
    later = ", ".join(str(day) for day in value if day)
    told = ["at once"] if 0 in value else []
    told += [f"after {later} day{'' if later == '1' else 's'}"] if later else []
    return ", then ".join(told)


def listed(value: object) -> str:
    """`eu, us`, or `none`."""
    assert isinstance(value, tuple)
    return ", ".join(map(str, value)) or "none"


def plain(value: object) -> str:
    """A word as it stands; a switch as the file says it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "none" if value in (None, "", ()) else str(value)


def overage_price(overage: Overage, feature: Feature) -> str:
    """The price of what is used past the granted quantity, on one line."""
    unit = feature.unit or "unit"
    if overage.model == "perUnit":
        return f"{overage.unit_amount} for each {unit}"
    if overage.model == "package":
        return f"{overage.amount} for each {amount(overage.size, feature)}"
    steps = [
        (f"up to {amount(tier.up_to, feature)}: " if tier.up_to is not None else "then ")
        + f"{tier.unit_amount} each"
        + (f" and {tier.flat_amount} once" if tier.flat_amount != "0" else "")
        for tier in overage.tiers
    ]
    return f"{overage.model}: {'; '.join(steps)}"


def overage(overage: Overage, feature: Feature) -> str:
    """All of it, where it is new or gone."""
    bound = "" if overage.up_to is None else f"up to {amount(overage.up_to, feature)} more, "
    least = "" if overage.minimum is None else f", at least {overage.minimum}"
    return f"({bound}{overage_price(overage, feature)}{least})"


def rollover(value: Rollover, feature: Feature) -> str:
    """What is carried over."""
    intervals = "1 interval" if value.intervals == 1 else f"{value.intervals} intervals"
    return f"up to {amount(value.max, feature)} for {intervals}"


def cap(value: Cap) -> str:
    """`cap a day for each entity`."""
    return f"cap a {value.interval}" + (" for each entity" if value.per == "entity" else "")
