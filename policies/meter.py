"""How does usage become a quantity? A meter yields a level, and what is drawn is how far it rises (R21).

The level of a `max` meter is the highest quantity that was told in a period, that of a `unique` meter the
number of values of a property. It is all that was drawn in the period, excess included. Of a sum or a count
every event is drawn whole. `draw` is the specification of what the scripts count.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from policies import balance
from policies.balance import Capacity, Draw, Levels
from policies.model import Feature

Meter = Literal["sum", "max", "unique"]


def of(feature: Feature | None) -> Meter:
    """How what is drawn is worked out; a count is a sum of ones."""
    return "sum" if feature is None or feature.aggregation == "count" else feature.aggregation


def measured(feature: Feature, scaled: int) -> int:
    """What is made of one event: the quantity, or one for each event or value."""
    return 10**feature.decimals if feature.aggregation in ("count", "unique") else scaled


def value(feature: Feature, properties: Mapping[str, str] | None) -> str | None:
    """What a unique meter counts of an event; None if the event does not say it, or another meter counts."""
    if feature.aggregation != "unique" or feature.property is None:
        return None
    return (properties or {}).get(feature.property) or None


def asked(meter: Meter, levels: Levels, quantity: int) -> int:
    """How much more would be drawn: of a `max` what goes past the rights that were drawn until now.

    Excess was never a right: a quantity that went past every right fits no better for having been told.
    """
    if meter == "max":
        return max(0, quantity - levels.included - levels.overage)
    return 0 if meter == "unique" and levels.seen else quantity


def raised(feature: Feature | None, drawn: int, more: int) -> int:
    """The quantity with which so much more is asked for than was drawn."""
    return drawn + more if of(feature) == "max" else more


def draw(meter: Meter, room: Capacity, levels: Levels, quantity: int) -> Draw:
    """The buckets of what has happened. Its parts add up to the growth of the level.

    What was excess and is told again when there is more room becomes drawn: then the excess shrinks.
    """
    more = asked(meter, levels, quantity)
    drawn = balance.draw(room, levels, more)
    if meter != "max":
        return drawn
    growth = max(0, more - levels.excess)
    return msgspec.structs.replace(drawn, excess=growth - (more - drawn.excess))
