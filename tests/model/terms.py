"""What the model sells: a few plans with numbers so small that they meet, as numbers and as plan files."""

from typing import NamedTuple

from policies.model import Anchor, CapScope, Interval


class Cap(NamedTuple):
    """At most so much in a calendar window, of the tenant or of each entity."""

    limit: int
    interval: Interval
    per: CapScope = "tenant"


class Terms(NamedTuple):
    """What a plan gives of a feature; scaled."""

    included: int | None
    """None is without end."""
    interval: Interval
    anchor: Anchor = "subscription"
    up_to: int | None = 0
    """Overage past what is granted; 0 is none, None without end."""
    caps: tuple[Cap, ...] = ()
    rollover: tuple[int, int] | None = None
    """At most so much of what is left goes on, for so many periods."""


TRIAL_DAYS = 3

DECIMALS = {"tokens": 0, "minutes": 1}
"""The features that are counted."""

Plans = dict[str, dict[str, Terms]]

PLANS: Plans = {
    "free": {
        "tokens": Terms(10, "month"),
        "minutes": Terms(50, "week", "calendar"),
    },
    "team": {
        "tokens": Terms(25, "month", up_to=25, caps=(Cap(30, "day"), Cap(12, "day", "entity"))),
        "minutes": Terms(20, "day", up_to=None),
    },
    "pro": {
        "tokens": Terms(70, "month", up_to=30, caps=(Cap(60, "day"),)),
        "minutes": Terms(40, "day", up_to=25),
    },
    "business": {
        "tokens": Terms(100, "month", up_to=None),
        "minutes": Terms(90, "day", up_to=None, caps=(Cap(80, "hour"),)),
    },
    "saver": {
        "tokens": Terms(30, "month", up_to=10, rollover=(20, 2)),
        "minutes": Terms(40, "day", rollover=(90, 3)),
    },
    "daily": {
        "tokens": Terms(8, "day", "calendar", up_to=None, caps=(Cap(20, "hour"), Cap(45, "day"))),
    },
    "long": {
        "tokens": Terms(60, "never"),
        "minutes": Terms(0, "year", up_to=70),
    },
    "open": {
        "tokens": Terms(None, "month", caps=(Cap(35, "hour"),)),
        "minutes": Terms(30, "hour", "calendar", up_to=15, caps=(Cap(40, "hour"),)),
    },
}


EDITIONS: tuple[Plans, ...] = (
    PLANS,
    PLANS
    | {
        "team": {
            "tokens": Terms(45, "month", up_to=5, caps=(Cap(40, "day"),)),
            "minutes": Terms(0, "day", up_to=None),
        },
        "pro": {"tokens": Terms(20, "month", up_to=90), "minutes": Terms(60, "week")},
    },
    PLANS
    | {
        "team": {"tokens": Terms(8, "month", up_to=60), "minutes": Terms(70, "day", up_to=10)},
        "saver": {
            "tokens": Terms(55, "month", rollover=(40, 1)),
            "minutes": Terms(25, "day", up_to=10, rollover=(20, 1)),
        },
    },
)
"""The catalogs that are published one after the other, in any order: versions of the same plans."""


def versions() -> Plans:
    """All plan versions, each by its plan and the first edition that has it: `pro#1`."""
    return {
        offered(number)[plan_id]: plan
        for number, plans in enumerate(EDITIONS)
        for plan_id, plan in plans.items()
    }


def offered(edition: int) -> dict[str, str]:
    """The version of each plan in an edition."""
    found = {}
    for plan_id, plan in EDITIONS[edition].items():
        first = [plans[plan_id] for plans in EDITIONS].index(plan)
        found[plan_id] = f"{plan_id}#{first}"
    return found


def plan_of(version: str) -> str:
    return version.partition("#")[0]


def files(plans: Plans, fallback: str | None) -> dict[str, str]:
    """The catalog that says so."""
    features = (
        "features:\n"
        "  tokens: {type: metered, name: Tokens, unit: token, entity: optional, whenUnavailable: deny}\n"
        "  minutes: {type: metered, name: Minutes, unit: minute, decimals: 1, entity: none, "
        "whenUnavailable: deny}\n"
    )
    said = {"features.yaml": features + (f"fallbackPlan: {fallback}\n" if fallback else "")}
    for plan_id, given in plans.items():
        head = f'plan: {plan_id}\nname: {plan_id.title()}\ncurrency: usd\nprice: "1"\ninterval: month\n'
        head += f"trial: {{days: {TRIAL_DAYS}}}\n"
        lines = [f"  {feature}: {_written(feature, terms)}\n" for feature, terms in given.items()]
        said[f"plans/{plan_id}.yaml"] = head + "features:\n" + "".join(lines)
    return said


def _written(feature: str, terms: Terms) -> str:
    included = "unlimited" if terms.included is None else number(feature, terms.included)
    fields = [f"included: {included}", f"interval: {terms.interval}", f"anchor: {terms.anchor}"]
    if terms.up_to != 0:
        end = "" if terms.up_to is None else f"upTo: {number(feature, terms.up_to)}, "
        fields.append(f'overage: {{{end}model: perUnit, unitAmount: "0.01"}}')
    if terms.rollover is not None:
        most, periods = terms.rollover
        fields.append(f"rollover: {{max: {number(feature, most)}, intervals: {periods}}}")
    if terms.caps:
        caps = [
            f"{{limit: {number(feature, cap.limit)}, interval: {cap.interval}, per: {cap.per}}}"
            for cap in terms.caps
        ]
        fields.append(f"caps: [{', '.join(caps)}]")
    return "{" + ", ".join(fields) + "}"


def number(feature: str, scaled: int) -> int | str:
    """A scaled quantity as it is said outside."""
    decimals = DECIMALS[feature]
    return scaled if decimals == 0 else f'"{scaled / 10**decimals:.{decimals}f}"'
