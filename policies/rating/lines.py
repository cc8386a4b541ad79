"""What is one line of a bill?"""

from typing import Literal

from policies.model import Noun
from policies.period import Period

Kind = Literal["plan", "addon", "overage", "minimum", "carried"]


class Line(Noun, frozen=True, kw_only=True):
    """One amount, with all that it was worked out from; it is rounded here and nowhere else.

    A price (`plan`, `addon`) is unitAmount * quantity * days / ofDays. `overage` is unitAmount * quantity, or
    unitAmount * packages, and flatAmount * flats. `minimum` is what its feature periods lacked of it in all.
    `carried` came over from before, or goes over to the next invoice; no plan says it.

    Where `billed` is not None, the line is an adjustment: its numbers say what there is by now, and its
    amount is what that comes to, less what earlier invoices had charged for the same.
    """

    kind: Kind
    version: str
    """The plan or add-on version that says the price."""
    name: str
    """Of the plan, the add-on or the feature."""
    source: str
    """The line of the plan files that says the price."""
    feature_id: str | None = None
    period: Period
    """The billing period of a price; of overage from the first of its feature periods to the last."""
    periods: int = 1
    """Feature periods whose units are added up here, each rated by itself (R36)."""
    quantity: int
    """Times that a price is held; overage units, scaled."""
    decimals: int = 0
    unit: str = ""
    """What the quantity counts, as the feature says it."""
    days: int | None = None
    """Of the period that the price was held."""
    of_days: int | None = None
    packages: int | None = None
    size: int | None = None
    """Units of one package, scaled."""
    tier: int | None = None
    """By number, from 1."""
    above: int | None = None
    """The tier begins above so many units, scaled; None where there are no tiers."""
    up_to: int | None = None
    """It ends with this one; None is without end."""
    unit_amount: str
    """The price in major units, as the plan file says it."""
    flat_amount: str = "0"
    flats: int = 0
    """How many times the flat amount is charged."""
    currency: str
    amount: int
    """In minor units."""
    billed: int | None = None
    """What earlier invoices charged for the same, in minor units."""
    billed_quantity: int | None = None
    """The quantity that they said; of a price the days."""
