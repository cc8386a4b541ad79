"""The nouns of a compiled catalog. Quantities are scaled integers (10^-decimals of the feature's unit).

A catalog is read from files by `policies.compiler` and never changes afterwards; `source` is always
`path:line` in the files that it was read from.
"""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

FeatureType = Literal["boolean", "static", "metered"]
ValueType = Literal["integer", "decimal", "string", "object"]
Aggregation = Literal["sum", "count", "max", "unique"]
Interval = Literal["hour", "day", "week", "month", "year", "never"]
BillingInterval = Literal["day", "week", "month", "year"]
Anchor = Literal["subscription", "calendar"]
WhenUnavailable = Literal["allow", "deny", "lastKnown"]
EntityUse = Literal["optional", "required", "none"]
Combine = Literal["sum", "max", "any", "tightest"]
CapScope = Literal["tenant", "entity"]
PriceModel = Literal["perUnit", "package", "graduated", "volume"]
BillingStatus = Literal["good", "grace", "restricted", "suspended", "paused", "ended", "pending"]
LEVELS: Final = frozenset({"max", "unique"})
"""Aggregations of which only the growth is drawn (R21)."""


class Noun(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, gc=False):
    """What all nouns share: frozen, by keyword, camelCase when stored as JSON."""


class Feature(Noun, frozen=True, cache_hash=True):
    """Anything that can be sold or withheld."""

    id: str
    type: FeatureType
    name: str
    source: str
    description: str = ""
    value_type: ValueType | None = None
    """Of a static feature; None for the others."""
    unit: str = ""
    decimals: int = 0
    aggregation: Aggregation = "sum"
    property: str | None = None
    properties: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    entity: EntityUse = "none"
    when_unavailable: WhenUnavailable = "deny"
    combine: Combine | None = None
    ai: bool = False
    costly: bool = False
    always: bool = False
    """Kept whatever the billing status is."""

    def is_level(self) -> bool:
        """Is only the growth of what is counted drawn? Then none is granted, held or carried over (R21)."""
        return self.aggregation in LEVELS


class Tier(Noun, frozen=True):
    """A step of a graduated or volume price. Amounts are decimal strings in major currency units."""

    up_to: int | None = None
    unit_amount: str = "0"
    flat_amount: str = "0"


class Overage(Noun, frozen=True):
    """What may be used past the granted quantity, and its price."""

    source: str
    up_to: int | None = None
    """Overage units, scaled, counted from 0; None is without end."""
    model: PriceModel = "perUnit"
    unit_amount: str | None = None
    size: int | None = None
    amount: str | None = None
    tiers: tuple[Tier, ...] = ()
    minimum: str | None = None


class Rollover(Noun, frozen=True):
    """What an unused rest carries into following periods."""

    source: str
    max: int
    """All that is carried into one period."""
    intervals: int = 1
    """For how many periods a rest lasts after its own."""


class Cap(Noun, frozen=True):
    """A limit inside the usage interval; every cap is an axis of its own."""

    source: str
    limit: int
    interval: Interval
    per: CapScope = "tenant"


class BooleanTerms(Noun, frozen=True, cache_hash=True, tag="boolean"):
    """The plan gives the feature."""

    source: str


class StaticTerms(Noun, frozen=True, cache_hash=True, tag="static"):
    """The plan gives a value: a number (scaled), a text, or an object as JSON text."""

    source: str
    value: int | str
    display: str
    """The value as the file says it; of an object its canonical JSON."""


class MeteredTerms(Noun, frozen=True, cache_hash=True, tag="metered"):
    """The plan gives a quantity in each usage interval."""

    source: str
    included: int | None
    """None is unlimited."""
    included_source: str
    interval: Interval = "month"
    anchor: Anchor = "subscription"
    overage: Overage | None = None
    rollover: Rollover | None = None
    caps: tuple[Cap, ...] = ()
    thresholds: tuple[str, ...] = ()


Terms = BooleanTerms | StaticTerms | MeteredTerms


class PlanVersion(Noun, frozen=True, gc=True, weakref=True):
    """A plan's immutable compiled content, self-contained: it carries the features that it speaks of."""

    version: str
    """`pro@9f2c41d0`: the plan's id and the first 8 hex digits of its content's hash."""
    plan_id: str
    name: str
    currency: str
    price: str
    interval: BillingInterval
    source: str
    features: dict[str, Feature]
    terms: dict[str, Terms]
    trial_days: int | None = None
    grace_days: int = 0
    restricted_days: int = 0
    due_days: int | None = None
    """How long an invoice may wait for its payment; None: the plan does not say, so none is overdue."""
    attempt_days: tuple[int, ...] | None = None
    """Days after an invoice became binding on which its payment is tried, rising; None: by the default."""


class AddonVersion(Noun, frozen=True):
    """An add-on's immutable compiled content: what it adds to a plan, once for each unit that is held."""

    version: str
    """`token-pack@1b6f02aa`, as of a plan version."""
    addon_id: str
    name: str
    currency: str
    price: str
    interval: BillingInterval
    source: str
    plans: tuple[str, ...]
    """Ids of the plans that it may be held with."""
    features: dict[str, Feature]
    terms: dict[str, Terms]
    """Metered terms of an add-on say only `included` and the interval."""


class Guard(Noun, frozen=True, cache_hash=True):
    """One hand-written `forbid`: it may only take away, and holds for every plan version of its features."""

    id: str
    source: str
    """`guards/region.cedar:3`: the line that its first annotation or keyword stands on."""
    text: str
    """The policy as it is written, annotations and comments inside it included."""
    reason: str
    """Its `@reason`: the sentence that a refused caller is told."""
    features: tuple[str, ...] | None = None
    """The features of its scope; None is an explicit "all"."""
    request_keys: tuple[str, ...] = ()
    """The keys of `context.request` that it reads."""
    tags: tuple[str, ...] = ()
    """The metadata of the tenant that it reads, by key."""


InvariantRule = Literal[
    "ladder-monotone", "addons-only-add", "unpaid-only-always", "costly-bounded", "never-errors"
]
Severity = Literal["error", "warning"]


class Invariant(Noun, frozen=True):
    """What must hold of every catalog that is published."""

    name: str
    rule: InvariantRule
    severity: Severity
    source: str
    exempt: tuple[str, ...] = ()
    """Plans (or add-ons) that the rule does not bind: `except` in the file."""
    owed: str | None = None
    """Of costly-bounded: the most that the overage of one period may come to, in the plan's own currency."""


class Catalog(Noun, frozen=True):
    """All plan files at one revision, compiled."""

    hash: str
    """`sha256:` and 64 hex digits over the canonical content of its files."""
    features: dict[str, Feature]
    plans: dict[str, PlanVersion]
    """By plan id."""
    fallback_plan: str | None = None
    ladder: tuple[str, ...] = ()
    addons: dict[str, AddonVersion] = {}
    """By add-on id."""
    guards: tuple[Guard, ...] = ()
    """In the order of path and line."""
    invariants: tuple[Invariant, ...] = ()


class Offer(Noun, frozen=True):
    """A catalog without the bodies of its plans and add-ons: what every process keeps of the active one."""

    hash: str
    features: dict[str, Feature]
    plans: dict[str, str]
    """Plan id → plan version."""
    addons: dict[str, str] = {}
    """Add-on id → add-on version."""
    guards: tuple[Guard, ...] = ()
    fallback_plan: str | None = None
    """The version that an ended tenant falls back to."""
    ladder: tuple[str, ...] = ()
    """Plan versions in upgrade order."""


class Versions(msgspec.Struct, frozen=True, kw_only=True):
    """Bodies of plans and add-ons by version: those that somebody needs now."""

    plans: Mapping[str, PlanVersion]
    addons: Mapping[str, AddonVersion] = {}


def offer(catalog: Catalog) -> Offer:
    """What is kept of a catalog while it is active."""
    plans = {plan.plan_id: plan.version for plan in catalog.plans.values()}
    return Offer(
        hash=catalog.hash,
        features=catalog.features,
        plans=plans,
        addons={addon.addon_id: addon.version for addon in catalog.addons.values()},
        guards=catalog.guards,
        fallback_plan=plans[catalog.fallback_plan] if catalog.fallback_plan else None,
        ladder=tuple(plans[plan_id] for plan_id in catalog.ladder),
    )


def versions(catalog: Catalog) -> Versions:
    """All bodies of a catalog."""
    return Versions(
        plans={plan.version: plan for plan in catalog.plans.values()},
        addons={addon.version: addon for addon in catalog.addons.values()},
    )
