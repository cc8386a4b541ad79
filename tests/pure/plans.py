"""Plan versions and rights made by hand, as small as a test needs them."""

from datetime import UTC, datetime

from policies import model
from policies.entitlement import Right
from policies.model import (
    BooleanTerms,
    Cap,
    Catalog,
    Feature,
    MeteredTerms,
    Overage,
    PlanVersion,
    StaticTerms,
    Versions,
)
from policies.period import Period

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
MONTH = Period(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
DAY = Period(datetime(2026, 11, 22, tzinfo=UTC), datetime(2026, 11, 23, tzinfo=UTC))

TOKENS = Feature(
    id="ai-tokens", type="metered", name="AI tokens", source="features.yaml:6", unit="token",
    context=("region",), entity="optional", when_unavailable="lastKnown",
)  # fmt: skip
VOICE = Feature(
    id="premium-voice-model", type="boolean", name="Premium voice model", source="features.yaml:2"
)
PROJECTS = Feature(
    id="max-projects", type="static", value_type="integer", name="Projects", source="features.yaml:3"
)
REGION = Feature(
    id="data-region", type="static", value_type="string", name="Data region", source="features.yaml:4",
    always=True,
)  # fmt: skip

PRO_TOKENS = MeteredTerms(
    source="plans/pro.yaml:14",
    included=1_000_000,
    included_source="plans/pro.yaml:15",
    overage=Overage(source="plans/pro.yaml:18", up_to=4_000_000),
    caps=(
        Cap(source="plans/pro.yaml:25", limit=100_000, interval="day"),
        Cap(source="plans/pro.yaml:26", limit=20_000, interval="day", per="entity"),
    ),
)


def metered(included=1_000, *, up_to=None, overage=False, caps=(), **rest):
    """Terms with a hard limit, or with overage up to a quantity, or (`overage=True`) without end."""
    bought = Overage(source="plans/pro.yaml:18", up_to=up_to) if overage or up_to is not None else None
    return MeteredTerms(
        source="plans/pro.yaml:14", included=included, included_source="plans/pro.yaml:15", overage=bought,
        caps=tuple(
            Cap(source=f"plans/pro.yaml:{25 + place}", limit=limit, interval="day")
            for place, limit in enumerate(caps)
        ),
        **rest,
    )  # fmt: skip


def plan(features=(), terms=None, *, plan_id="pro", version=None):
    return PlanVersion(
        version=version or f"{plan_id}@00000001", plan_id=plan_id, name=plan_id.title(), currency="usd",
        price="49.00", interval="month", source=f"plans/{plan_id}.yaml:1",
        features={feature.id: feature for feature in features}, terms=terms or {},
    )  # fmt: skip


def pro():
    """The example of the plan-file format: every type of feature once."""
    return plan(
        (TOKENS, VOICE, PROJECTS, REGION),
        {
            "premium-voice-model": BooleanTerms(source="plans/pro.yaml:10"),
            "max-projects": StaticTerms(source="plans/pro.yaml:11", value=50, display="50"),
            "data-region": StaticTerms(source="plans/pro.yaml:12", value="us", display="us"),
            "ai-tokens": PRO_TOKENS,
        },
    )


def catalog(*plans, features=(), fallback_plan=None):
    return Catalog(
        hash="sha256:" + "0" * 64,
        features={feature.id: feature for feature in features},
        plans={one.plan_id: one for one in plans},
        fallback_plan=fallback_plan,
    )


def right(terms=None, feature=TOKENS, *, status="good", trial=False, absence=None, version=None, **rest):
    """A right on a plan that has this one feature; `version` names it where an engine outlives the test."""
    gives = {} if terms is None else {feature.id: terms}
    caps = terms.caps if isinstance(terms, MeteredTerms) else ()
    return Right(
        tenant_id="acme", feature_id=feature.id, feature=feature, terms=rest.pop("now_terms", terms),
        plan_terms=terms, plan=plan((feature,), gives, version=version), absence=absence,
        billing_status=status, trial=trial, period=MONTH if feature.type == "metered" else None,
        cap_windows=(DAY,) * len(caps), valid_until=None, **rest,
    )  # fmt: skip


def offer(*plans, features=(), fallback_plan=None):
    """What such a catalog offers."""
    return model.offer(catalog(*plans, features=features, fallback_plan=fallback_plan))


def versions(*plans, addons=()):
    return Versions(plans={one.version: one for one in plans}, addons={one.version: one for one in addons})
