"""The fields of terms for a metered feature: the table behind reader, checks and JSON Schema."""

from decimal import Decimal
from typing import Annotated, Any, Final

import msgspec

from policies import limits
from policies.compiler.findings import Findings, Place
from policies.compiler.kinds import Choice, Pattern, Schema
from policies.compiler.nodes import Node
from policies.compiler.numbers import Money, Quantity, Whole
from policies.compiler.records import Field, ListOf, Placed, PlacedOf, Record, RecordOf, table
from policies.model import Anchor, CapScope, Interval, PriceModel

_BY_TIERS: Final = ("graduated", "volume")


class TierSource(Record, frozen=True):
    """A step of a graduated or volume price."""

    up_to: Annotated[
        Decimal | None,
        Field(
            Quantity(),
            "Last overage unit of this tier, counted from the start of overage. The last tier has none.",
        ),
    ] = None
    unit_amount: Annotated[str | None, Field(Money(), "Price of one unit, in major currency units.")] = None
    flat_amount: Annotated[
        str | None, Field(Money(3), "Charged once when the tier is reached, in major currency units.")
    ] = None


class OverageSource(Record, frozen=True):
    """What may be used past the included quantity, and its price."""

    up_to: Annotated[
        Decimal | None,
        Field(Quantity(), "How many units past the included ones may be used. Leave it out for no limit."),
    ] = None
    model: Annotated[
        PriceModel | None,
        Field(Choice("perUnit", "package", "graduated", "volume"), "How overage is priced.", required=True),
    ] = None
    unit_amount: Annotated[
        str | None,
        Field(Money(), "Price of one unit, in major currency units.", only=("perUnit",), needed=("perUnit",)),
    ] = None
    size: Annotated[
        Decimal | None,
        Field(Quantity(), "Units in one package.", only=("package",), needed=("package",)),
    ] = None
    amount: Annotated[
        str | None,
        Field(
            Money(3), "Price of one package, in major currency units.", only=("package",), needed=("package",)
        ),
    ] = None
    tiers: Annotated[
        tuple[TierSource, ...] | None,
        Field(
            ListOf(RecordOf(TierSource), "a tier", least=1, most=limits.TIERS),
            "Tiers in rising order; overage units are counted from 0, up to and including upTo.",
            only=_BY_TIERS,
            needed=_BY_TIERS,
        ),
    ] = None
    minimum: Annotated[str | None, Field(Money(3), "The least that is charged once there is overage.")] = None


OVERAGE: Final = RecordOf(OverageSource)


class RolloverSource(Record, frozen=True):
    """What an unused rest carries into following intervals."""

    max: Annotated[
        Decimal | None, Field(Quantity(), "The most that is carried into one interval.", required=True)
    ] = None
    intervals: Annotated[
        int,
        Field(Whole(1, limits.ROLLOVER_INTERVALS), "For how many intervals a rest lasts; at most a year."),
    ] = 1


class CapSource(Record, frozen=True):
    """A limit inside the usage interval."""

    limit: Annotated[
        Decimal | None, Field(Quantity(), "The most that may be used in the interval.", required=True)
    ] = None
    interval: Annotated[
        Interval | None,
        Field(
            Choice("hour", "day", "week", "month", "year", "never"),
            "How often the cap starts anew.",
            required=True,
        ),
    ] = None
    per: Annotated[
        CapScope,
        Field(Choice("tenant", "entity"), "Whose usage is capped: all of the tenant's, or each entity's."),
    ] = "tenant"


class QuantitySource(Record, frozen=True):
    """What an add-on gives of a metered feature, and a plan at least."""

    included: Annotated[
        Decimal | None,
        Field(
            Quantity(unlimited=True),
            "Units that the price includes, or unlimited.",
            required=True,
        ),
    ] = None
    interval: Annotated[
        Interval,
        Field(
            Choice("hour", "day", "week", "month", "year", "never"),
            "How often the included units start anew.",
        ),
    ] = "month"
    anchor: Annotated[
        Anchor,
        Field(
            Choice("subscription", "calendar"),
            "Whether intervals begin with the subscription or the calendar (UTC).",
        ),
    ] = "subscription"


class MeteredSource(QuantitySource, frozen=True):
    """What a plan gives of a metered feature."""

    overage: Annotated[
        OverageSource | None,
        Field(
            OVERAGE,
            "Use past the included units, and its price. Without it the limit is hard.",
        ),
    ] = None
    rollover: Annotated[
        RolloverSource | None,
        Field(RecordOf(RolloverSource), "How much of what is left over goes on into the next interval."),
    ] = None
    caps: Annotated[
        tuple[CapSource, ...],
        Field(
            ListOf(RecordOf(CapSource), "a cap", most=limits.CAPS),
            "Limits inside the interval, such as a day's.",
        ),
    ] = ()
    thresholds: Annotated[
        tuple[Placed[str], ...],
        Field(
            ListOf(
                PlacedOf(Pattern("^[1-9][0-9]{0,2}%$", "a percentage such as 80%")),
                "a threshold",
                most=limits.THRESHOLDS,
            ),
            "Shares of the included units worth a notice, in rising order. Kept; nothing notifies yet.",
        ),
    ] = ()


class TermsNode(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan or an add-on says of a feature, unread: its form depends on the feature's type."""

    at: Place
    """Of the feature's id."""
    node: Node


METERED: Final = RecordOf(MeteredSource)
ADDED: Final = RecordOf(
    QuantitySource,
    elsewhere=METERED.fields.keys() - table(QuantitySource).keys(),
    where="plans, and this is an add-on",
)


class AnyTerms:
    """Keeps the node for `terms.read`, which knows the features."""

    def __init__(self, metered: RecordOf[Any], giver: str, example: str) -> None:
        self.metered, self.giver, self.example = metered, giver, example
        self.says = f"what {giver} gives of a feature"
        self.schema: Final[Schema] = {
            "anyOf": [
                {"type": "boolean", "description": f"Of a boolean feature: whether {giver} gives it."},
                {"type": ["string", "integer"], "description": "Of a static feature: its value."},
                {**metered.schema, "description": f"Of a metered feature: what {giver} gives."},
                {
                    "type": "object",
                    "description": "Of a static feature whose value is an object.",
                    "not": {"anyOf": [{"required": [name]} for name in metered.fields]},
                },
            ]
        }

    def read(self, node: Node, name: str, at: Place, findings: Findings) -> TermsNode:  # noqa: ARG002 (the protocol's)
        """As `Kind` says; nothing is refused here."""
        return TermsNode(at=at, node=node)


PLAN_TERMS: Final = AnyTerms(METERED, "a plan", "{included: %s, interval: month}")
ADDON_TERMS: Final = AnyTerms(ADDED, "an add-on", "{included: %s}")
