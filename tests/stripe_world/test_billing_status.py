"""What comes of collecting decides who may what: a declined card runs its course, a paid invoice ends it."""

from datetime import timedelta

from service.usecases import billing_view
from tests.conftest import NOW
from tests.stripe_world.account import DECLINED
from tests.stripe_world.charging import issue, pushed, subscribed

DAY = timedelta(days=1)


async def test_a_declined_card_runs_the_course_of_the_plan_and_a_payment_ends_it(billing, account):
    """The first attempt has no card to go by; the later ones have one that is declined."""
    await subscribed(billing, "acme")
    await issue(billing, "acme", [100])
    await pushed(billing)
    (customer,) = (await account.stripe.customers.list_async({})).data
    await account.card(customer.id, DECLINED)

    async def status(day: float) -> str:
        billing.clock.at = NOW + day * DAY
        await account.clock(billing.clock.at)
        await pushed(billing)
        view, _ = await billing_view.show(billing, "acme")
        return view.status

    told = [await status(day) for day in (0, 2, 6.9, 7, 14, 20.9, 21)]
    assert told == ["grace", "grace", "grace", "restricted", "restricted", "restricted", "suspended"]
    view, _ = await billing_view.show(billing, "acme")
    assert view.happened_at == NOW, "the first attempt: those that followed extended nothing"
    attempts = (await billing_view.history(billing, "acme", limit=99)).items
    assert [(one.state, one.attempts) for one in reversed(attempts)] == [("failed", n) for n in (1, 2, 3, 4)]


async def test_who_pays_in_grace_is_good_again(billing, account):
    await subscribed(billing, "acme")
    await issue(billing, "acme", [100])
    await pushed(billing)
    (customer,) = (await account.stripe.customers.list_async({})).data
    view, _ = await billing_view.show(billing, "acme")
    assert (view.status, view.next[0].since) == ("grace", NOW + 7 * DAY)
    await account.card(customer.id)
    billing.clock.at = NOW + 2 * DAY
    await account.clock(billing.clock.at)
    await pushed(billing)
    view, _ = await billing_view.show(billing, "acme")
    assert (view.status, view.reason, view.next) == ("good", "paid", [])
