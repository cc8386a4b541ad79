"""An override replaces what it names and nothing else; left out is never reset, null lifts one field."""

import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from policies import limits, override
from policies.errors import InvalidError
from policies.model import Feature
from policies.override import Wish
from tests.pure import plans

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
DAY = timedelta(days=1)
HOURS = msgspec.structs.replace(plans.TOKENS, id="gpu-hours", decimals=3)
SHARE = Feature(id="share", type="static", value_type="decimal", decimals=2, name="Share", source="f:1")
SETTINGS = Feature(id="settings", type="static", value_type="object", name="Settings", source="f:2")


def replaced(feature=plans.TOKENS, before=None, *, sells_overage=True, now=NOW, **wish):
    return override.replace(
        "ovr_new", feature, Wish(**{"reason": "agreed"} | wish), before=before,
        sells_overage=sells_overage, now=now,
    )  # fmt: skip


def refused(*args, **wish) -> set[str]:
    with pytest.raises(InvalidError) as caught:
        replaced(*args, **wish)
    assert all(error.message.endswith(".") for error in caught.value.errors)
    return {error.pointer for error in caught.value.errors}


def terms(one):
    return one.included, one.up_to, one.value


def test_what_is_named_is_replaced_scaled_as_the_feature_is():
    assert terms(replaced(included=5, up_to="unlimited")) == (5, "unlimited", None)
    assert terms(replaced(HOURS, included="1.5", up_to=2)) == (1_500, 2_000, None)
    assert terms(replaced(included=0)) == (0, None, None)
    assert terms(replaced(plans.VOICE, value=False)) == (None, None, False)
    assert terms(replaced(plans.PROJECTS, value=70)) == (None, None, 70)
    assert terms(replaced(SHARE, value="0.25")) == (None, None, 25)
    assert terms(replaced(plans.REGION, value="eu")) == (None, None, "eu")
    assert terms(replaced(SETTINGS, value={"b": [1, "x", None, True], "a": {}})) == (
        None, None, '{"a":{},"b":[1,"x",null,true]}',
    )  # fmt: skip


said = st.tuples(
    st.sampled_from([UNSET, None, 1, 2, "unlimited"]),
    st.sampled_from([UNSET, None, 1, 2, "unlimited"]),
    st.sampled_from([UNSET, None, NOW + DAY]),
)


@given(said, said)
def test_left_out_keeps_and_null_lifts_field_by_field(had, wanted):
    """For every combination of what was, and what is said about it."""
    names = ("included", "up_to", "ends_at")
    before = None
    if any(value not in (UNSET, None) for value in had[:2]):
        before = replaced(**dict(zip(names, had, strict=True)), now=NOW - DAY)
    wish = dict(zip(names, wanted, strict=True))
    if before is None and all(value in (UNSET, None) for value in wanted[:2]):
        assert refused(**wish) == {""}
        return
    after = replaced(before=before, **wish)
    for name, value in wish.items():
        kept = getattr(before, name) if before else None
        assert getattr(after, name) == (kept if value is UNSET else value)
    assert (after.id, after.starts_at, after.value) == ("ovr_new", NOW, None)
    assert override.says_something(after) == (terms(after) != (None, None, None))


def test_a_value_of_false_says_something():
    assert override.says_something(replaced(plans.VOICE, value=False))
    before = replaced(plans.VOICE, value=False)
    assert replaced(plans.VOICE, before, ends_at=NOW + DAY).value is False
    assert not override.says_something(replaced(plans.VOICE, before, value=None))


@pytest.mark.parametrize(
    ("feature", "wish", "pointers"),
    [
        (plans.TOKENS, {"value": 5}, {"/value"}),
        (plans.TOKENS, {"value": None, "included": 5}, {"/value"}),
        (plans.TOKENS, {"included": 5, "up_to": 5, "value": True}, {"/value"}),
        (plans.VOICE, {"included": 5}, {"/included"}),
        (plans.PROJECTS, {"up_to": 5, "value": 5}, {"/upTo"}),
        (plans.TOKENS, {"included": -1}, {"/included"}),
        (plans.TOKENS, {"included": "1.5"}, {"/included"}),
        (plans.TOKENS, {"included": 10**15 + 1}, {"/included"}),
        (plans.TOKENS, {"included": "endless", "up_to": "much"}, {"/included", "/upTo"}),
        (plans.VOICE, {"value": 1}, {"/value"}),
        (plans.VOICE, {"value": "true"}, {"/value"}),
        (plans.PROJECTS, {"value": True}, {"/value"}),
        (plans.PROJECTS, {"value": "unlimited"}, {"/value"}),
        (plans.PROJECTS, {"value": "1.5"}, {"/value"}),
        (SHARE, {"value": "0.255"}, {"/value"}),
        (plans.REGION, {"value": 5}, {"/value"}),
        (plans.REGION, {"value": ""}, {"/value"}),
        (plans.REGION, {"value": "a\x00b"}, {"/value"}),
        (plans.REGION, {"value": "x" * (limits.STATIC_VALUE_LENGTH + 1)}, {"/value"}),
        (SETTINGS, {"value": "text"}, {"/value"}),
        (SETTINGS, {"value": {"a": [{"b": 1.5}]}}, {"/value"}),
        (SETTINGS, {"value": {"a": -1}}, {"/value"}),
        (SETTINGS, {"value": {"a": "x" * limits.STATIC_VALUE_LENGTH}}, {"/value"}),
        (plans.TOKENS, {"included": 5, "ends_at": NOW}, {"/endsAt"}),
        (plans.TOKENS, {"ends_at": NOW - DAY}, {"/endsAt", ""}),
    ],
)
def test_what_does_not_fit_the_feature_is_named(feature, wish, pointers):
    assert refused(feature, **wish) == pointers


def test_without_overage_in_the_plan_there_is_no_bound_to_replace():
    assert refused(sells_overage=False, up_to=5) == {"/upTo"}
    before = replaced(included=5, up_to=5)
    assert terms(replaced(before=before, sells_overage=False, up_to=None)) == (5, None, None)
    assert terms(replaced(before=before, sells_overage=False, included=6)) == (6, 5, None)


def test_an_end_that_was_kept_may_not_have_passed():
    """`before` is what holds now, so its end is in the future, and stays where it was."""
    before = replaced(included=5, ends_at=NOW + DAY)
    later = replaced(before=before, included=6, now=NOW + DAY - timedelta(seconds=1))
    assert later.ends_at == NOW + DAY
    assert override.holds(later, NOW + DAY - timedelta(seconds=1))
    assert not override.holds(later, NOW + DAY)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2**53 - 1) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=9,
)


@given(st.dictionaries(st.text(max_size=5), json_values, max_size=4))
def test_an_object_is_kept_whole_and_the_same_for_every_order(value):
    kept = replaced(SETTINGS, value=value).value
    assert json.loads(kept) == value
    assert replaced(SETTINGS, value=dict(reversed(value.items()))).value == kept
