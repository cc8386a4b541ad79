"""Prices, plans and subscriptions for tests of rating, and slow rules to hold the quick ones against."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import msgspec
from hypothesis import strategies as st

from policies import money
from policies.combine import Held
from policies.model import AddonVersion, MeteredTerms, Overage, Tier
from policies.rating.prices import Price
from policies.subscription import HeldAddon, Phase, Subscription
from tests.pure import plans

START = datetime(2026, 11, 1, 9, 30, tzinfo=UTC)
"""A November has thirty days."""
DAY = timedelta(days=1)
SOURCE = "plans/pro.yaml:18"

amounts = st.decimals(0, 10**6, places=6).map(lambda amount: f"{amount.normalize():f}")
whole_amounts = st.integers(0, 5_000).map(str)
currencies = st.sampled_from(["usd", "eur", "jpy", "kwd", "clf"])


@st.composite
def tiers(draw, amounts=amounts, most=40, bounded=False):
    """Rising tiers without a hole; the last one is without end unless `bounded`."""
    ends = sorted(draw(st.sets(st.integers(1, most), max_size=4)))
    made = [*ends, *([] if bounded and ends else [None])]
    return tuple(
        Tier(up_to=end, unit_amount=draw(amounts), flat_amount=draw(st.just("0") | whole_amounts))
        for end in made
    )


def overage(model="perUnit", **rest):
    return Overage(source=SOURCE, model=model, **rest)


@st.composite
def overages(draw, amounts=amounts):
    """Overage of any model, with or without a minimum."""
    model = draw(st.sampled_from(["perUnit", "package", "graduated", "volume"]))
    fields = {"minimum": draw(st.none() | whole_amounts)}
    if model == "perUnit":
        fields["unit_amount"] = draw(amounts)
    elif model == "package":
        fields |= {"size": draw(st.integers(1, 20)), "amount": draw(whole_amounts)}
    else:
        fields["tiers"] = draw(tiers(amounts))
    return overage(model, **fields)


def price(sold, *, decimals=0, currency="usd"):
    return Price(overage=sold, decimals=decimals, currency=currency)


def slow_graduated(sold, units, *, decimals=0, currency="usd"):
    """Unit by unit: each at the tier that it falls into; a tier's flat amount with its first unit."""
    total, seen = Decimal(0), set()
    for unit in range(1, units + 1):
        place = next(
            (n for n, tier in enumerate(sold.tiers) if tier.up_to is None or unit <= tier.up_to),
            len(sold.tiers) - 1,
        )
        total += Decimal(sold.tiers[place].unit_amount) / 10**decimals
        if place not in seen:
            total += Decimal(sold.tiers[place].flat_amount)
        seen.add(place)
    return Fraction(total) * 10 ** money.DIGITS[currency]


def plan(plan_id="pro", amount="30.00", *, interval="month", currency="usd", terms=None, version=None):
    """With one metered feature, if it has terms."""
    gives = {} if terms is None else {"ai-tokens": terms}
    bare = plans.plan((plans.TOKENS,) if gives else (), gives, plan_id=plan_id, version=version)
    return msgspec.structs.replace(bare, price=amount, interval=interval, currency=currency)


def metered(included=0, *, sold=None, **rest):
    terms = MeteredTerms(source="plans/pro.yaml:14", included=included, included_source="", **rest)
    return msgspec.structs.replace(terms, overage=sold)


def addon(addon_id="seat", amount="6.00", *, interval="month"):
    return AddonVersion(
        version=f"{addon_id}@00000002", addon_id=addon_id, name=addon_id.title(), currency="usd",
        price=amount, interval=interval, source=f"addons/{addon_id}.yaml:1", plans=("pro",),
        features={}, terms={},
    )  # fmt: skip


def lived(*phases, anchored_at=START, trial_ends_at=None, billing=(), end=None):
    """A subscription of (plan, start) or (plan, start, add-ons with their times); versions with it."""
    starts = [phase[1] for phase in phases]
    made = tuple(
        Phase(
            plan_id=sold.plan_id, plan_version=sold.version, start=start, end=until,
            addons=tuple(
                HeldAddon(addon_id=one.addon_id, addon_version=one.version, quantity=times)
                for one, times in (rest[0] if rest else ())
            ),
        )
        for (sold, start, *rest), until in zip(phases, [*starts[1:], end], strict=True)
    )  # fmt: skip
    held = Subscription(
        id="sub_1", anchored_at=anchored_at, created_at=starts[0], phases=made, trial_ends_at=trial_ends_at,
        billing=billing,
    )  # fmt: skip
    addons = [one for phase in phases if len(phase) > 2 for one, _ in phase[2]]
    return held, plans.versions(*(phase[0] for phase in phases), addons=addons)


def holds(addon, times):
    return Held(addon, times)
