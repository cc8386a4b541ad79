"""A snapshot carries add-ons, billing facts, grants, overrides and notes: enough of each and no more."""

import asyncio
from datetime import timedelta

import msgspec
import pytest

from policies import grant, limits, override, subscription
from policies.grant import Grant
from policies.model import AddonVersion, MeteredTerms
from policies.override import Override
from policies.snapshot import Snapshot
from policies.subscription import BillingFact, HeldAddon
from service import wiring
from service.context import Context
from service.usecases import grants, offers, overrides, subscribe, tenants
from store import billing, catalogs, postgres, snapshot_source, subscriptions
from store import grants as grant_store
from store import overrides as override_store
from tests.conftest import NOW
from tests.store import ledger

DAY = timedelta(days=1)
PACK = AddonVersion(
    version="token-pack@1b6f02aa", addon_id="token-pack", name="Token pack", currency="usd", price="9",
    interval="month", source="addons/token-pack.yaml:1", plans=("free", "pro"), features={},
    terms={"ai-tokens": MeteredTerms(source="a:7", included=500_000, included_source="a:7")},
)  # fmt: skip


def given(number: int, *, starts=-DAY, ends=None, voided=None, **rest) -> Grant:
    return Grant(
        id=f"grt_{number:03}", feature_id="ai-tokens", quantity=1_000 + number, created_at=NOW + starts,
        effective_at=NOW + starts, expires_at=None if ends is None else NOW + ends,
        voided_at=None if voided is None else NOW + voided, reason="sorry", **rest,
    )  # fmt: skip


def replaced(number: int, feature_id="ai-tokens", *, starts=-DAY, ends=None, **terms) -> Override:
    return Override(
        id=f"ovr_{number:03}", feature_id=feature_id, reason="agreed", starts_at=NOW + starts,
        ends_at=None if ends is None else NOW + ends, **terms,
    )  # fmt: skip


@pytest.fixture
async def acme(context: Context, catalog) -> Context:
    await ledger.subscribed(context, "acme", "pro")
    return context


async def read(context: Context, *, now=NOW) -> Snapshot:
    async with postgres.transaction(context.pool) as connection:
        return await snapshot_source.read(connection, "acme", now=now)


async def keep(context: Context, *facts: Grant | Override) -> None:
    async with postgres.transaction(context.pool) as connection:
        for fact in facts:
            if isinstance(fact, Override):
                await override_store.lift(connection, "acme", fact.feature_id, at=fact.starts_at)
                await override_store.add(connection, "acme", fact)
            else:
                await grant_store.add(connection, "acme", fact)
                if fact.voided_at is not None:
                    await grant_store.void(connection, "acme", fact)


async def test_grants_come_as_they_were_written_by_their_beginning(acme):
    facts = [given(1, ends=9 * DAY, priority=7), given(2, starts=DAY), given(3, starts=-3 * DAY, voided=-DAY)]
    await keep(acme, *facts)
    assert (await read(acme)).grants == (facts[2], facts[0], facts[1])


async def test_what_ended_too_long_ago_for_any_late_event_is_left_out(acme):
    edge = -limits.FACTS_BACK_DAYS * DAY
    await keep(
        acme,
        given(1, starts=-90 * DAY, ends=edge),
        given(2, starts=-90 * DAY, ends=edge - timedelta(seconds=1)),
        given(3, starts=-90 * DAY, ends=90 * DAY, voided=edge - timedelta(seconds=1)),
        replaced(1, starts=-90 * DAY, ends=edge + timedelta(seconds=1), included=5),
        replaced(2, "max-projects", starts=-90 * DAY, ends=edge, value=5),
    )
    found = await read(acme)
    assert [one.id for one in found.grants] == ["grt_001"]
    assert [one.id for one in found.overrides] == ["ovr_001"]
    earlier = await read(acme, now=NOW - DAY)
    assert [one.id for one in earlier.grants] == ["grt_001", "grt_002", "grt_003"]
    assert [one.id for one in earlier.overrides] == ["ovr_001", "ovr_002"]


async def test_when_there_are_too_many_grants_those_that_ended_first_are_left_out(acme, monkeypatch):
    monkeypatch.setattr(limits, "GRANTS_CARRIED", 3)
    ended = [given(number, starts=-30 * DAY, ends=-number * DAY) for number in (1, 2, 3)]
    await keep(acme, *ended, given(4), given(5, ends=DAY))
    assert [one.id for one in (await read(acme)).grants] == ["grt_001", "grt_004", "grt_005"]


async def test_overrides_come_with_the_terms_they_name_and_end_where_the_next_begins(acme):
    await keep(
        acme,
        replaced(1, starts=-3 * DAY, ends=5 * DAY, included=10**15, up_to="unlimited"),
        replaced(2, starts=-DAY, included="unlimited"),
        replaced(3, "premium-voice-model", value=True),
        replaced(4, "max-projects", value=70),
        replaced(5, "data-region", value="eu"),
    )
    found = (await read(acme)).overrides
    assert [(one.id, one.feature_id, one.included, one.up_to, one.value) for one in found] == [
        ("ovr_001", "ai-tokens", 10**15, "unlimited", None),
        ("ovr_002", "ai-tokens", "unlimited", None, None),
        ("ovr_005", "data-region", None, None, "eu"),
        ("ovr_004", "max-projects", None, None, 70),
        ("ovr_003", "premium-voice-model", None, None, True),
    ]
    assert (found[0].ends_at, found[1].ends_at) == (NOW - DAY, None)


async def test_an_override_that_another_replaced_at_its_very_instant_never_held(acme):
    await keep(acme, replaced(1, included=1), replaced(2, included=2))
    assert [one.id for one in (await read(acme)).overrides] == ["ovr_002"]


async def test_what_was_overridden_at_an_instant_in_the_past_is_still_answered(acme):
    await keep(
        acme,
        replaced(1, starts=-9 * DAY, included=1),
        replaced(2, starts=-5 * DAY, ends=-2 * DAY, included=2),
    )
    async with postgres.transaction(acme.pool) as connection:
        held = {
            day: [one.id for one in await override_store.holding(connection, "acme", at=NOW - day * DAY)]
            for day in (10, 9, 6, 5, 3, 2, 0)
        }
    assert held == {
        10: [], 9: ["ovr_001"], 6: ["ovr_001"], 5: ["ovr_002"], 3: ["ovr_002"], 2: [], 0: [],
    }  # fmt: skip


async def test_there_are_never_two_overrides_in_force_for_one_feature(acme):
    await keep(acme, replaced(1, included=1))
    with pytest.raises(Exception, match="overrides_in_force"):
        async with postgres.transaction(acme.pool) as connection:
            await override_store.add(connection, "acme", replaced(2, included=2))


async def test_a_grant_is_voided_once(acme):
    await keep(acme, given(1, voided=-DAY))
    async with postgres.transaction(acme.pool) as connection:
        await grant_store.void(connection, "acme", given(1, voided=DAY))
        (found,) = await grant_store.page(connection, "acme", feature_id="ai-tokens", after="", limit=9)
    assert found.voided_at == NOW - DAY


async def test_add_ons_and_billing_facts_come_with_the_subscription(acme):
    held = HeldAddon(addon_id="token-pack", addon_version=PACK.version, quantity=3)
    facts = (
        BillingFact(status="grace", since=NOW - DAY, reason="payment failed"),
        BillingFact(status="restricted", since=NOW + 6 * DAY, reason="7 days of grace over"),
    )
    async with postgres.transaction(acme.pool) as connection:
        before = (await subscriptions.latest(connection, "acme")).subscription
        phases = (msgspec.structs.replace(before.phases[0], addons=(held,)),)
        after = msgspec.structs.replace(before, phases=phases, billing=facts)
        await subscriptions.replace(connection, "acme", before, after)
        assert (await subscriptions.latest(connection, "acme")).subscription == after
    assert (await read(acme)).subscriptions == (after,)


async def test_a_snapshot_carries_the_latest_billing_facts_and_no_more(acme):
    async with postgres.transaction(acme.pool) as connection:
        held = (await subscriptions.latest(connection, "acme")).subscription
        facts = tuple(
            BillingFact(status="grace" if day % 2 else "good", since=NOW + day * DAY, reason="r")
            for day in range(-90, 10)
        )
        await billing.write(connection, "acme", held.id, before=(), after=facts)
    (found,) = (await read(acme)).subscriptions
    assert found.billing == facts[-limits.BILLING_FACTS :]


async def test_notes_on_a_tenant_reach_its_snapshot_with_a_new_version(acme):
    before = await read(acme)
    await tenants.put(acme, ledger.ORDER, "acme", tenants.Wish(name="acme", metadata={"agreed": "yes"}))
    after = await read(acme)
    assert (after.metadata, after.version) == ({"agreed": "yes"}, before.version + 1)
    await tenants.put(acme, ledger.ORDER, "acme", tenants.Wish(name="Acme", metadata={"agreed": "yes"}))
    assert (await read(acme)).version == after.version


async def test_an_add_on_version_is_kept_at_publish_and_read_when_it_is_needed(acme, catalog):
    other = msgspec.structs.replace(catalog, hash="sha256:" + "1" * 64, addons={"token-pack": PACK})
    async with postgres.transaction(acme.pool) as connection:
        await catalogs.publish(connection, other, {}, message="m", author="a", now=NOW)
    known = await acme.catalogs.need([catalog.plans["pro"].version], [PACK.version])
    assert known.addons[PACK.version] == PACK
    assert known.plans[catalog.plans["pro"].version] == catalog.plans["pro"]
    assert (await acme.catalogs.need([], [PACK.version])).addons[PACK.version] is known.addons[PACK.version]


async def test_a_change_never_waits_for_a_second_connection(acme, config, clock):
    """With one connection and no version in memory: a change that asked for another would wait for itself."""
    packs = subscribe.Move(addons=[offers.AddonWish(addon_id="token-pack")], when="now")
    await subscribe.change(acme, ledger.ORDER, "acme", packs)
    wish = grants.Wish(feature_id=ledger.TOKENS, quantity=5, reason="sorry")
    one = msgspec.structs.replace(config, postgres_connections=1)
    for act in (
        lambda context: subscribe.change(
            context, ledger.ORDER, "acme", subscribe.Move(plan_id="starter", when="renewal")
        ),
        lambda context: grants.issue(context, ledger.ORDER, "acme", wish),
        lambda context: overrides.put(
            context, ledger.ORDER, "acme", ledger.TOKENS, override.Wish(included=5, reason="agreed")
        ),
    ):
        async with wiring.open_context(one, clock) as context, asyncio.timeout(30):
            assert (await act(context)).status in (200, 201)


async def test_edges_in_time_need_no_write(acme):
    """One snapshot, read once, answers for every instant until its facts run out."""
    await keep(acme, given(1, starts=DAY, ends=3 * DAY), replaced(1, ends=2 * DAY, included=5))
    async with postgres.transaction(acme.pool) as connection:
        before = (await subscriptions.latest(connection, "acme")).subscription
        plan = await offers.plan(acme, "pro")
        after = subscription.bill(before, "grace", reason="payment failed", now=NOW, plan=plan)
        await subscriptions.replace(connection, "acme", before, after)
    found = await read(acme)
    (held,) = found.subscriptions
    told = [
        (
            grant.holds(found.grants[0], NOW + day * DAY),
            override.holds(found.overrides[0], NOW + day * DAY),
            subscription.billing_status_at(held, NOW + day * DAY),
        )
        for day in (0, 1, 2, 3, 7, 21)
    ]
    assert told == [
        (False, True, "grace"),
        (True, True, "grace"),
        (True, False, "grace"),
        (False, False, "grace"),
        (False, False, "restricted"),
        (False, False, "suspended"),
    ]
    assert subscription.next_edge(held, NOW) == NOW + plan.grace_days * DAY
    assert await read(acme) == found
