"""The fields of all catalog files but tests: the one table behind reader, checks and JSON Schema."""

from typing import Annotated, Final, TypeAlias, get_args

from policies import limits
from policies.compiler.kinds import Choice, Flag, Pattern, Text, catalog_id, key
from policies.compiler.numbers import Money, Whole
from policies.compiler.records import Field, ListOf, MapOf, Placed, PlacedOf, Record, RecordOf
from policies.compiler.terms_fields import ADDON_TERMS, PLAN_TERMS, TermsNode
from policies.model import (
    Aggregation,
    BillingInterval,
    Combine,
    EntityUse,
    FeatureType,
    InvariantRule,
    Severity,
    ValueType,
    WhenUnavailable,
)

_DAYS: Final = "Whole days."
_COUNTED: Final = ("static", "metered")


class DaysSource(Record, frozen=True):
    """A length in days."""

    days: Annotated[int | None, Field(Whole(1, limits.GRACE_DAYS, "day"), _DAYS, required=True)] = None


class AttemptsSource(Record, frozen=True):
    """When a payment is tried."""

    days: Annotated[
        tuple[Placed[int], ...],
        Field(
            ListOf(
                PlacedOf(Whole(0, limits.GRACE_DAYS, "day")),
                "a day of attempts",
                least=1,
                most=limits.PAYMENT_ATTEMPTS,
            ),
            "Days after the invoice became binding; 0 is at once.",
            required=True,
        ),
    ] = ()


class TrialSource(Record, frozen=True):
    """The length of a trial."""

    days: Annotated[int | None, Field(Whole(1, limits.TRIAL_DAYS, "day"), _DAYS, required=True)] = None


Name: TypeAlias = Annotated[str | None, Field(Text(), "The name that customers see.", required=True)]
Currency: TypeAlias = Annotated[
    str | None,
    Field(
        Pattern("^[a-z]{3}$", "a currency code of three lower-case letters, such as usd"),
        "ISO 4217.",
        required=True,
    ),
]
Price: TypeAlias = Annotated[
    str | None, Field(Money(3), "Price of one billing interval, in major units.", required=True)
]
Billing: TypeAlias = Annotated[
    BillingInterval | None,
    Field(Choice("day", "week", "month", "year"), "How often it is billed.", required=True),
]


class PlanSource(Record, frozen=True):
    """One file in plans/."""

    plan: Annotated[
        str | None, Field(catalog_id(), "The plan's id, the same as the file's name.", required=True)
    ] = None
    name: Name = None
    currency: Currency = None
    price: Price = None
    interval: Billing = None
    trial: Annotated[
        TrialSource | None, Field(RecordOf(TrialSource), "A free start; no overage while it runs.")
    ] = None
    grace: Annotated[
        DaysSource | None, Field(RecordOf(DaysSource), "Full access after a failed payment; then restricted.")
    ] = None
    restricted: Annotated[
        DaysSource | None,
        Field(RecordOf(DaysSource), "Included quantities only, after grace; then suspended."),
    ] = None
    due: Annotated[
        DaysSource | None,
        Field(RecordOf(DaysSource), "When an invoice is to be paid; then it is overdue, and grace begins."),
    ] = None
    attempts: Annotated[
        AttemptsSource | None,
        Field(
            RecordOf(AttemptsSource),
            "When a payment is tried. Without: after 0, 2, 7, 14 and 21 days, until the plan suspends.",
        ),
    ] = None
    features: Annotated[
        dict[str, TermsNode] | None,
        Field(
            MapOf(PLAN_TERMS, "feature", ids=None, most=limits.FEATURES),
            "What the plan gives.",
            required=True,
        ),
    ] = None


class AddonSource(Record, frozen=True):
    """One file in addons/."""

    addon: Annotated[
        str | None, Field(catalog_id(), "The add-on's id, the same as the file's name.", required=True)
    ] = None
    name: Name = None
    currency: Currency = None
    price: Price = None
    interval: Billing = None
    plans: Annotated[
        tuple[Placed[str], ...],
        Field(
            ListOf(PlacedOf(catalog_id()), "a plan of for", least=1, most=limits.PLANS),
            "The plans that it may be held with.",
            required=True,
            name="for",
        ),
    ] = ()
    features: Annotated[
        dict[str, TermsNode] | None,
        Field(
            MapOf(ADDON_TERMS, "feature", ids=None, most=limits.FEATURES),
            "What it adds, once for each unit that is held.",
            required=True,
        ),
    ] = None


class FeatureSource(Record, frozen=True):
    """One feature in features.yaml."""

    type: Annotated[
        FeatureType | None,
        Field(
            Choice("boolean", "static", "metered"),
            "A switch, a value, or a quantity that is counted.",
            required=True,
        ),
    ] = None
    name: Annotated[str | None, Field(Text(), "The name that people see.", required=True)] = None
    description: Annotated[str, Field(Text(limits.REASON_LENGTH), "A sentence for people.")] = ""
    value_type: Annotated[
        ValueType | None,
        Field(
            Choice("integer", "decimal", "string", "object"),
            "What the value is.",
            only=("static",),
            needed=("static",),
        ),
    ] = None
    unit: Annotated[str, Field(Text(), "One of what is counted, such as token.", only=_COUNTED)] = ""
    decimals: Annotated[
        int, Field(Whole(0, limits.DECIMALS_MAX), "Digits after the point that are kept.", only=_COUNTED)
    ] = 0
    aggregation: Annotated[
        Aggregation,
        Field(
            Choice("sum", "count", "max", "unique"),
            "What events come to in an interval: the sum of quantities, the number of events, the highest "
            "quantity, or the number of values of a property.",
            only=("metered",),
        ),
    ] = "sum"
    property: Annotated[
        str | None,
        Field(
            key(), "For aggregation unique: the event property whose values are counted.", only=("metered",)
        ),
    ] = None
    properties: Annotated[
        tuple[Placed[str], ...],
        Field(
            ListOf(PlacedOf(key()), "a property", most=limits.PROPERTY_COUNT),
            "The only keys that events of this feature may carry.",
            only=("metered",),
        ),
    ] = ()
    context: Annotated[
        tuple[Placed[str], ...],
        Field(
            ListOf(PlacedOf(key()), "a context key", most=limits.PROPERTY_COUNT),
            "The only keys that checks of this feature may carry.",
        ),
    ] = ()
    entity: Annotated[
        EntityUse,
        Field(
            Choice("optional", "required", "none"),
            "Whether a user, seat or workspace is named with each use.",
        ),
    ] = "none"
    when_unavailable: Annotated[
        WhenUnavailable,
        Field(Choice("allow", "deny", "lastKnown"), "The answer when nothing can be decided."),
    ] = "deny"
    combine: Annotated[
        Combine | None,
        Field(Choice("sum", "max", "any", "tightest"), "How several sources add up. By type: any, max, sum."),
    ] = None
    ai: Annotated[bool, Field(Flag(), "Whether it is made with AI; rules may ask for an agreement.")] = False
    costly: Annotated[bool, Field(Flag(), "Whether a plan without limit would be a risk.", only=_COUNTED)] = (
        False
    )
    always: Annotated[bool, Field(Flag(), "Kept whatever the billing status is.")] = False


FEATURE: Final = RecordOf(FeatureSource)


class FeaturesSource(Record, frozen=True):
    """features.yaml."""

    features: Annotated[
        dict[str, FeatureSource | None] | None,
        Field(
            MapOf(FEATURE, "feature", ids=catalog_id(), most=limits.FEATURES),
            "Everything that can be sold or withheld, by id.",
            required=True,
        ),
    ] = None
    fallback_plan: Annotated[
        str | None, Field(catalog_id(), "The plan that an ended tenant falls back to.")
    ] = None
    ladder: Annotated[
        tuple[Placed[str], ...],
        Field(
            ListOf(PlacedOf(catalog_id()), "a step of the ladder", most=limits.PLANS),
            "Plans in upgrade order.",
        ),
    ] = ()


class InvariantSource(Record, frozen=True):
    """One rule that every published catalog keeps."""

    name: Annotated[str | None, Field(Text(), "What it promises, in words of yours.", required=True)] = None
    rule: Annotated[
        InvariantRule | None,
        Field(Choice(*get_args(InvariantRule)), "What is verified at every publish.", required=True),
    ] = None
    severity: Annotated[
        Severity, Field(Choice("error", "warning"), "Whether a catalog that breaks it is refused.")
    ] = "error"
    exempt: Annotated[
        tuple[Placed[str], ...],
        Field(
            ListOf(PlacedOf(catalog_id()), "an exception", most=limits.PLANS),
            "Plans and add-ons that it does not bind.",
            name="except",
        ),
    ] = ()
    owed: Annotated[
        str | None,
        Field(
            Money(3), "Of costly-bounded: the most that one usage interval may cost, in the plan's currency."
        ),
    ] = None


class InvariantsSource(Record, frozen=True):
    """invariants.yaml."""

    invariants: Annotated[
        tuple[InvariantSource, ...] | None,
        Field(
            ListOf(RecordOf(InvariantSource), "an invariant", most=limits.INVARIANTS),
            "What must hold of every catalog that is published.",
            required=True,
        ),
    ] = None


PLAN: Final = RecordOf(PlanSource)
ADDON: Final = RecordOf(AddonSource)
INVARIANTS: Final = RecordOf(InvariantsSource)
FEATURES: Final = RecordOf(FeaturesSource)
