"""A grant is a fact: made within bounds, held for a half-open span, voided once, and never edited."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import grant, limits
from policies.errors import ConflictError, InvalidError
from tests.pure import plans

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
HOURS = msgspec.structs.replace(plans.TOKENS, id="gpu-hours", decimals=3)


def issued(feature=plans.TOKENS, **wish):
    return grant.issue("grt_1", feature, now=NOW, **{"said": 500, "reason": "sorry"} | wish)


def refused(**wish) -> set[str]:
    with pytest.raises(InvalidError) as caught:
        issued(**wish)
    assert all(error.message.endswith(".") for error in caught.value.errors)
    return {error.pointer for error in caught.value.errors}


def test_a_grant_holds_from_now_on_unless_it_is_said_otherwise():
    given = issued()
    assert (given.effective_at, given.expires_at, given.priority, given.created_at) == (NOW, None, 100, NOW)
    later = issued(effective_at=NOW + DAY, expires_at=NOW + 2 * DAY, priority=0)
    assert [grant.holds(later, NOW + n * DAY) for n in (0, 1, 2)] == [False, True, False]
    assert grant.holds(later, NOW + 2 * DAY - SECOND)


def test_its_quantity_is_scaled_as_the_feature_is():
    assert issued(HOURS, said="1.5").quantity == 1_500
    assert issued(HOURS, said=2).quantity == 2_000
    assert refused(feature=HOURS, said="1.5001") == {"/quantity"}


@pytest.mark.parametrize("said", [0, "0", "0.000", -1, 10**15 + 1, "much", ""])
def test_a_grant_gives_more_than_nothing_and_no_more_than_one_quantity(said):
    assert refused(feature=HOURS if said == "0.000" else plans.TOKENS, said=said) == {"/quantity"}


def test_it_takes_effect_within_bounds_and_both_bounds_are_within():
    back, ahead = limits.GRANT_BACK_DAYS * DAY, limits.START_AHEAD_DAYS * DAY
    assert issued(effective_at=NOW - back).effective_at == NOW - back
    assert issued(effective_at=NOW + ahead).effective_at == NOW + ahead
    assert refused(effective_at=NOW - back - SECOND) == {"/effectiveAt"}
    assert refused(effective_at=NOW + ahead + SECOND) == {"/effectiveAt"}


@pytest.mark.parametrize(
    ("effective", "expires"), [(None, 0), (None, -DAY), (2 * DAY, 2 * DAY), (2 * DAY, DAY), (-9 * DAY, -DAY)]
)
def test_it_expires_after_it_takes_effect_and_in_the_future(effective, expires):
    starts = None if effective is None else NOW + effective
    assert refused(effective_at=starts, expires_at=NOW + (expires or timedelta(0))) == {"/expiresAt"}


def test_priorities_have_bounds():
    assert issued(priority=limits.PRIORITY_MAX).priority == limits.PRIORITY_MAX
    assert refused(priority=limits.PRIORITY_MAX + 1) == {"/priority"}
    assert refused(priority=-1) == {"/priority"}


def test_only_what_is_drawn_up_can_be_granted():
    assert refused(feature=plans.VOICE, said=1) == {"/featureId"}
    assert refused(feature=plans.PROJECTS, said=1) == {"/featureId"}
    for aggregation in ("max", "unique"):
        peak = msgspec.structs.replace(plans.TOKENS, aggregation=aggregation)
        assert refused(feature=peak) == {"/featureId"}
    assert issued(msgspec.structs.replace(plans.TOKENS, aggregation="count"))


def test_every_wrong_field_is_named_at_once():
    wrong = {"said": 0, "priority": -1, "effective_at": NOW - 99 * DAY, "expires_at": NOW - DAY}
    assert refused(**wrong) == {"/quantity", "/priority", "/effectiveAt", "/expiresAt"}


def test_voiding_ends_it_now_and_a_second_time_changes_nothing():
    given = issued(expires_at=NOW + 9 * DAY)
    voided = grant.void(given, NOW + DAY)
    assert grant.ends_at(voided) == NOW + DAY
    assert msgspec.structs.replace(voided, voided_at=None) == given
    assert grant.void(voided, NOW + 2 * DAY) == voided
    assert grant.ends_at(grant.void(issued(effective_at=NOW + DAY), NOW)) == NOW


def test_what_has_expired_cannot_be_voided():
    given = issued(expires_at=NOW + DAY)
    assert grant.void(given, NOW + DAY - SECOND).voided_at
    with pytest.raises(ConflictError, match="expired on 2026-11-23T10:00:00Z"):
        grant.void(given, NOW + DAY)


@given(
    st.integers(-35, 35), st.none() | st.integers(1, 99), st.none() | st.integers(0, 99), st.integers(-99, 99)
)
def test_it_holds_exactly_between_its_beginning_and_its_end(starts, lasts, voided, at):
    expires = None if lasts is None else NOW + (max(starts, 0) + lasts) * DAY
    held = issued(effective_at=NOW + starts * DAY, expires_at=expires)
    if voided is not None and (expires is None or NOW + voided * DAY < expires):
        held = grant.void(held, NOW + voided * DAY)
    end = grant.ends_at(held)
    assert grant.holds(held, NOW + at * DAY) == (starts <= at and (end is None or NOW + at * DAY < end))
    if end is not None:
        assert not grant.holds(held, end)
