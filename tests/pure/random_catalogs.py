"""Catalogs, tenants and requests at random: all forms of terms, all kinds of facts, guards that read all."""

from datetime import timedelta

from hypothesis import strategies as st

from policies import limits, model
from policies.compiler import guards
from policies.compiler.findings import Findings
from policies.engine import Facts
from policies.grant import Grant
from policies.model import (
    AddonVersion,
    BooleanTerms,
    Cap,
    Catalog,
    Feature,
    MeteredTerms,
    Overage,
    StaticTerms,
)
from policies.override import Override
from policies.snapshot import Snapshot
from policies.subscription import BillingFact, HeldAddon, Phase, Subscription
from tests.pure import plans

STATUSES = ("good", "grace", "restricted", "suspended", "paused", "ended", "pending")
WORDS = ("eu", "us", "gold", "pro", "")
TAGS = ("tier", "region")
CONTEXT = ("region", "team")

ATOMS = (
    "principal.trial",
    'principal.billingStatus == BillingStatus::"grace"',
    "context.facts.ai",
    "context.facts.always",
    'context.facts.plan == "pro"',
    "context.request has region",
    '(context.request has region && context.request.region == "eu")',
    '(context.request has team && context.request.team != "gold")',
    'principal.hasTag("tier")',
    '(principal.hasTag("tier") && principal.getTag("tier") == "gold")',
    '(principal.hasTag("region") && principal.getTag("region") like "e*")',
)

# Small numbers meet each other; large ones reach the bounds.
quantities = st.one_of(st.integers(0, 20), st.sampled_from([1_000, limits.QUANTITY_MAX]))
statuses = st.sampled_from(STATUSES)
texts = st.dictionaries(st.sampled_from(TAGS), st.sampled_from(WORDS))
requests = st.dictionaries(st.sampled_from(CONTEXT), st.sampled_from(WORDS))


@st.composite
def features(draw):
    """One of each type and more, with and without `always`."""
    made = {}
    for number, kind in enumerate(draw(st.lists(st.sampled_from("bsnmM"), min_size=1, max_size=4))):
        of = {"b": "boolean", "s": "static", "n": "static"}.get(kind, "metered")
        one = Feature(
            id=f"f{number}", type=of, name=f"Feature {number}", source=f"features.yaml:{number + 2}",
            value_type={"s": "string", "n": "integer"}.get(kind), unit="unit" if of == "metered" else "",
            context=CONTEXT, entity="optional" if of == "metered" else "none",
            when_unavailable=draw(st.sampled_from(["allow", "deny", "lastKnown"])),
            combine=draw(st.sampled_from([None, "max", "tightest"])) if kind in "Mn" else None,
            ai=draw(st.booleans()), always=draw(st.booleans()),
        )  # fmt: skip
        made[one.id] = one
    return made


@st.composite
def terms(draw, feature, path="plans/pro.yaml", line=10):
    """What a plan gives of a feature."""
    source = f"{path}:{line}"
    if feature.type == "boolean":
        return BooleanTerms(source=source)
    if feature.type == "static":
        value = draw(quantities) if feature.value_type == "integer" else draw(st.sampled_from(WORDS[:2]))
        return StaticTerms(source=source, value=value, display=str(value))
    included = draw(st.none() | quantities)
    overage = None
    if included is not None and draw(st.booleans()):
        overage = Overage(source=f"{path}:{line + 1}", up_to=draw(st.none() | quantities), unit_amount="1")
    intervals = draw(st.lists(st.sampled_from(["hour", "day"]), max_size=limits.CAPS))
    caps = [
        Cap(source=f"{path}:{line + 2 + place}", limit=draw(quantities), interval=interval,
            per=draw(st.sampled_from(["tenant", "entity"])))
        for place, interval in enumerate(intervals)
    ]  # fmt: skip
    return MeteredTerms(
        source=source, included=included, included_source=source, overage=overage, caps=tuple(caps)
    )


@st.composite
def written_guards(draw, known):
    """Guards as their files say them, read and accepted as at a publish."""
    conditions = st.recursive(
        st.sampled_from(ATOMS),
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from(["&&", "||"]), inner).map(lambda some: f"({' '.join(some)})"),
            inner.map(lambda one: f"!({one})"),
        ),
        max_leaves=4,
    )
    clauses = st.lists(st.tuples(st.sampled_from(["when", "unless"]), conditions), max_size=2)
    scopes = st.sampled_from([None, *known])
    said = ""
    for number, (scope, written) in enumerate(draw(st.lists(st.tuples(scopes, clauses), max_size=3))):
        where = "resource" if scope is None else f'resource == Feature::"{scope}"'
        everywhere = '@scope("all") ' if scope is None else ""
        body = " ".join(f"{word} {{ {text} }}" for word, text in written)
        said += f'@id("g{number}") @reason("No {number}.") {everywhere}'
        said += f"forbid (principal, action, {where}) {body};\n"
    files = {"guards/g.cedar": said}
    findings = Findings(files)
    found = guards.read(files, known, findings)
    assert not findings.errors, [one.render() for one in findings.sorted()]
    return found


@st.composite
def catalogs(draw):
    """Two plans, an add-on and guards, over a few features."""
    known = draw(features())
    sold = [_plan(draw, known, plan_id) for plan_id in ("pro", "free")]
    gives = {one.id: draw(_added(one)) for one in known.values() if draw(st.booleans())}
    pack = AddonVersion(
        version="pack@00000001", addon_id="pack", name="Pack", currency="usd", price="1.00", interval="month",
        source="addons/pack.yaml:1", plans=("free", "pro"), terms=gives,
        features={feature_id: known[feature_id] for feature_id in gives},
    )  # fmt: skip
    return Catalog(
        hash="sha256:" + "0" * 64, features=known, plans={one.plan_id: one for one in sold},
        addons={"pack": pack}, guards=draw(written_guards(known)),
        fallback_plan=draw(st.sampled_from([None, "free"])),
    )  # fmt: skip


def _plan(draw, known, plan_id):
    given = [one for one in known.values() if draw(st.booleans())]
    made = {
        one.id: draw(terms(one, f"plans/{plan_id}.yaml", 10 * place)) for place, one in enumerate(given, 1)
    }
    return plans.plan(given, made, plan_id=plan_id)


@st.composite
def _added(draw, feature):
    """An add-on says how much is included, and nothing of caps or overage."""
    if feature.type != "metered":
        return draw(terms(feature, "addons/pack.yaml"))
    source = "addons/pack.yaml:9"
    return MeteredTerms(source=source, included=draw(quantities), included_source=source)


@st.composite
def snapshots(draw, catalog):
    """A tenant with everything that may be stored of one."""
    begun = plans.NOW - timedelta(days=40)
    plan = catalog.plans[draw(st.sampled_from(sorted(catalog.plans)))]
    held = ()
    if draw(st.booleans()):
        held = (HeldAddon(addon_id="pack", addon_version="pack@00000001", quantity=draw(st.integers(1, 3))),)
    phase = Phase(plan_id=plan.plan_id, plan_version=plan.version, start=begun, addons=held)
    trial_ends_at = draw(st.none() | st.just(plans.NOW + timedelta(days=1)))
    billing = draw(st.just(()) | statuses.map(lambda status: (BillingFact(status=status, since=begun),)))
    metered = [one.id for one in catalog.features.values() if one.type == "metered"]
    extra = st.tuples(st.sampled_from(metered or [""]), quantities, st.sampled_from([50, 100, 150]))
    return Snapshot(
        tenant_id="acme", version=1, known=True, metadata=draw(texts),
        subscriptions=(
            Subscription(
                id="sub_1", anchored_at=begun, created_at=begun, trial_ends_at=trial_ends_at,
                phases=(phase,), billing=billing,
            ),
        ),
        grants=tuple(
            Grant(id=f"grant_{place}", feature_id=feature_id, quantity=amount, effective_at=begun,
                  created_at=begun, priority=priority)
            for place, (feature_id, amount, priority) in enumerate(
                draw(st.lists(extra, max_size=2)) if metered else ()
            )
        ),
        overrides=tuple(
            draw(_override(one, place)) for place, one in enumerate(catalog.features.values())
            if draw(st.booleans())
        ),
    )  # fmt: skip


@st.composite
def _override(draw, feature, place):
    said = {}
    amounts = st.none() | st.just("unlimited") | quantities
    if feature.type == "metered":
        said = {"included": draw(amounts), "up_to": draw(amounts)}
    elif feature.type == "boolean":
        said = {"value": draw(st.booleans())}
    else:
        said = {"value": draw(quantities if feature.value_type == "integer" else st.just("us"))}
    return Override(
        id=f"override_{place}", feature_id=feature.id, reason="test",
        starts_at=plans.NOW - timedelta(days=1), **said,
    )  # fmt: skip


def everything(catalog):
    """What `entitlement.resolve` asks of a catalog."""
    return model.offer(catalog), model.versions(catalog)


@st.composite
def facts(draw, tags=TAGS):
    """Facts of any kind, also those that no catalog gives together."""
    extras = st.one_of(st.integers(-20, 20), st.sampled_from([-(2**53), 2**53 - 1, 2**60]))
    said = draw(texts)
    return Facts(
        billing_status=draw(statuses), trial=draw(st.booleans()), entitled=draw(st.booleans()),
        extra=draw(extras), extra_limit=draw(extras), unlimited=draw(st.booleans()),
        unlimited_overage=draw(st.booleans()),
        tags=tuple((tag, said[tag]) for tag in sorted(tags) if tag in said),
    )  # fmt: skip
