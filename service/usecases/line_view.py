"""A line of a bill as it is answered: with its sentence, and quantities in the feature's unit."""

import msgspec

from policies import quantity
from policies.rating import words
from policies.rating.lines import Kind, Line
from service.usecases.subscription_view import PeriodView

Number = int | str


class LineView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One amount, with all that it was worked out from; it is rounded once, half to even.

    A price (`plan`, `addon`) is unitAmount * quantity * days / ofDays. `overage` is unitAmount * quantity, or
    unitAmount * packages, and flatAmount * flats. `minimum` is what its feature periods lacked of it in all.
    `carried` came over from before, or goes over to the next invoice.
    """

    kind: Kind
    description: str
    """For people."""
    version: str
    """The plan or add-on version that says the price."""
    source: str
    """The line of the plan files that says it."""
    feature_id: str | None
    """None of a price."""
    period: PeriodView
    """The billing period of a price; of overage from the first of its feature periods to the last."""
    periods: int
    """Feature periods that are added up here, each with its own tiers."""
    quantity: Number
    """Times that a price is held; overage in the feature's unit."""
    days: int | None
    """Of the period that the price was held."""
    of_days: int | None
    packages: int | None
    """How many were begun, where overage is sold in packages."""
    package_size: Number | None
    tier: int | None
    """By number, from 1; None where there are no tiers."""
    tier_above: Number | None
    """The tier begins above so many units."""
    tier_up_to: Number | None
    """It ends with this one; None is without end."""
    unit_amount: str
    """The price as the plan says it, a decimal number of major units."""
    flat_amount: str
    """Charged once for each feature period that reached the tier."""
    flats: int
    """How many times that was."""
    amount: int
    """In minor units of the currency; of an adjustment less what was billed."""
    adjustment: bool
    """Its numbers say what there is by now, of what earlier invoices had charged otherwise."""
    billed: int | None
    """Of an adjustment what earlier invoices charged for the same, in minor units."""


def of(line: Line) -> LineView:
    """As it is answered."""

    def number(scaled: int | None) -> Number | None:
        return None if scaled is None else quantity.render(scaled, line.decimals)

    return LineView(
        kind=line.kind,
        description=words.described(line),
        version=line.version,
        source=line.source,
        feature_id=line.feature_id,
        period=PeriodView(start=line.period.start, end=line.period.end),
        periods=line.periods,
        quantity=quantity.render(line.quantity, line.decimals),
        days=line.days,
        of_days=line.of_days,
        packages=line.packages,
        package_size=number(line.size),
        tier=line.tier,
        tier_above=number(line.above),
        tier_up_to=number(line.up_to),
        unit_amount=line.unit_amount,
        flat_amount=line.flat_amount,
        flats=line.flats,
        amount=line.amount,
        adjustment=line.billed is not None,
        billed=line.billed,
    )
