"""Add-ons beside a plan: only those that it is sold with, each once, within bounds, kept where they fit."""

import pytest

from policies import addon, limits
from policies.addon import Wanted
from policies.errors import ConflictError, InvalidError
from policies.model import AddonVersion, MeteredTerms, StaticTerms
from policies.subscription import HeldAddon
from tests.pure import plans

PRO = plans.pro()
FREE = plans.plan(plan_id="free")


def sold(addon_id="token-pack", *, included=500, plans=("starter", "pro"), terms=None):
    return AddonVersion(
        version=f"{addon_id}@00000001", addon_id=addon_id, name=addon_id, currency="usd", price="9",
        interval="month", source=f"addons/{addon_id}.yaml:1", plans=plans, features={},
        terms=terms or {"ai-tokens": MeteredTerms(source="a:1", included=included, included_source="a:1")},
    )  # fmt: skip


def refused(*wanted, plan=PRO):
    with pytest.raises(InvalidError) as caught:
        addon.hold(plan, wanted)
    return {error.pointer: error.message for error in caught.value.errors}


def test_what_is_held_stands_by_its_id_in_the_version_that_was_wanted():
    held = addon.hold(PRO, [Wanted(sold("seats"), 3), Wanted(sold("extra"))])
    assert held == (
        HeldAddon(addon_id="extra", addon_version="extra@00000001", quantity=1),
        HeldAddon(addon_id="seats", addon_version="seats@00000001", quantity=3),
    )
    assert addon.hold(PRO, []) == ()


def test_an_add_on_that_the_plan_is_not_sold_with_is_named_with_the_plans_that_it_is():
    told = refused(Wanted(sold("a")), Wanted(sold("b", plans=("starter", "max"))))
    assert told == {
        "/addons/1/addonId": 'The add-on "b" is not sold with the plan "pro", but with: starter, max.'
    }


def test_each_add_on_stands_once():
    assert refused(Wanted(sold(), 1), Wanted(sold("b")), Wanted(sold(), 2)).keys() == {
        "/addons/0/addonId", "/addons/2/addonId",
    }  # fmt: skip


@pytest.mark.parametrize("quantity", [0, -1, limits.ADDON_QUANTITY + 1])
def test_a_quantity_has_bounds(quantity):
    assert refused(Wanted(sold(), quantity)).keys() == {"/addons/0/quantity"}
    assert addon.hold(PRO, [Wanted(sold(), limits.ADDON_QUANTITY)])


def test_a_subscription_holds_so_many_add_ons_and_no_more():
    many = [Wanted(sold(f"a{number}")) for number in range(limits.ADDONS + 1)]
    assert len(addon.hold(PRO, many[:-1])) == limits.ADDONS
    assert refused(*many).keys() == {"/addons"}


def test_together_they_give_one_quantity_at_most():
    half = limits.QUANTITY_MAX // 2
    assert addon.hold(PRO, [Wanted(sold("a", included=half)), Wanted(sold("b", included=half // 2), 2)])
    told = refused(Wanted(sold("a", included=half)), Wanted(sold("b", included=half // 2 + 1), 2))
    assert told.keys() == {"/addons"}
    seats = sold("seats", terms={"seats": StaticTerms(source="a:1", value=half, display="")})
    assert refused(Wanted(seats, 3)).keys() == {"/addons"}
    assert addon.hold(PRO, [Wanted(sold(included=None), 9)]), "without end is no sum"


def test_what_is_held_may_stay_where_the_new_plan_is_sold_with_all_of_it():
    one, other = sold("a"), sold("b", plans=("free", "pro"))
    held = addon.hold(PRO, [Wanted(one), Wanted(other, 2)])
    assert addon.keep(PRO, held, [other, one]) is None
    with pytest.raises(ConflictError, match=r'"free" is not sold with what the tenant holds: "a"\. Say in'):
        addon.keep(FREE, held, [one, other])
