"""What a right is to all who have nothing beside their plan is, of each of them, what resolving says."""

from datetime import datetime, timedelta

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies import entitlement, pattern
from policies.model import Cap
from policies.snapshot import Snapshot
from policies.subscription import BillingFact, Phase, Subscription
from tests.pure import plans, random_catalogs

LATER = (timedelta(0), timedelta(hours=1), timedelta(days=40))


def plain(draw, catalog, tenant_id):
    """Mostly somebody who has nothing beside a plan, though not always to be told at first sight."""
    begun = plans.NOW - timedelta(minutes=draw(st.integers(-60, 100_000)))
    plan = catalog.plans[draw(st.sampled_from(sorted(catalog.plans)))]
    since = draw(st.none() | st.just(begun) | st.just(plans.NOW + timedelta(minutes=30)))
    status = draw(random_catalogs.statuses)
    return Snapshot(
        tenant_id=tenant_id, version=1, known=draw(st.sampled_from([True] * 9 + [False])),
        metadata=draw(random_catalogs.texts),
        subscriptions=(
            Subscription(
                id="sub", anchored_at=begun - timedelta(minutes=draw(st.integers(0, 1))), created_at=begun,
                trial_ends_at=draw(st.sampled_from([None] * 9 + [plans.NOW + timedelta(hours=2)])),
                phases=(
                    Phase(plan_id=plan.plan_id, plan_version=plan.version, start=begun,
                          end=draw(st.sampled_from([None] * 9 + [plans.NOW + timedelta(hours=2)]))),
                ),
                billing=(BillingFact(status=status, since=since),) if since else (),
            ),
        ),
    )  # fmt: skip


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_the_shorter_way_says_the_same(data):
    catalog = data.draw(random_catalogs.catalogs())
    offer, versions = random_catalogs.everything(catalog)
    tenants = [plain(data.draw, catalog, f"t{number}") for number in range(2)]
    tenants.append(data.draw(random_catalogs.snapshots(catalog)))
    for later in LATER:
        for snapshot in tenants:
            for feature_id in (*catalog.features, "unheard-of"):
                told = {
                    "offer": offer,
                    "versions": versions,
                    "feature_id": feature_id,
                    "at": plans.NOW + later,
                }
                assert pattern.resolve(snapshot, **told) == entitlement.resolve(snapshot, **told)


def tenant(number: int, begun: datetime) -> Snapshot:
    phase = Phase(plan_id="pro", plan_version=PRO.version, start=begun)
    held = Subscription(id=f"s{number}", anchored_at=begun, created_at=begun, phases=(phase,))
    return Snapshot(tenant_id=f"t{number}", version=1, known=True, subscriptions=(held,))


PRO = plans.pro()
MANY = [tenant(number, plans.NOW - timedelta(minutes=997 * number)) for number in range(1, 40)]


def asked_whole(monkeypatch, pro, offer, *, at=plans.NOW):
    """How many of many tenants' rights had to be resolved by the longer way."""
    count, whole = [], entitlement.resolve
    monkeypatch.setattr(entitlement, "resolve", lambda *args, **told: count.append(1) or whole(*args, **told))
    versions = plans.versions(pro)
    for one in MANY:
        pattern.resolve(one, offer=offer, versions=versions, feature_id="ai-tokens", at=at)
    return len(count)


def test_it_is_gone_once_for_all_tenants_of_a_plan(monkeypatch):
    assert asked_whole(monkeypatch, PRO, plans.offer(PRO)) == 1


def test_another_catalog_is_another_pattern(monkeypatch):
    offer = plans.offer(PRO)
    asked_whole(monkeypatch, PRO, offer)
    assert asked_whole(monkeypatch, PRO, msgspec.structs.replace(offer, hash="sha256:other")) == 1


def test_windows_that_begin_with_the_subscription_are_everybodys_own(monkeypatch):
    capped = msgspec.structs.replace(
        PRO.terms["ai-tokens"], caps=(Cap(source="plans/pro.yaml:20", limit=5, interval="never"),)
    )
    pro = msgspec.structs.replace(PRO, terms=PRO.terms | {"ai-tokens": capped})
    assert asked_whole(monkeypatch, pro, plans.offer(pro)) == len(MANY)
