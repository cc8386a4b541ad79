"""Cedar decides, the reason is the right one, and what could not be decided is told apart."""

import ast
import gc
import inspect
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies import decide, limits, message
from policies.balance import Levels
from policies.compiler.cedar import Clause, Policy
from policies.decide import Request
from policies.decision import Decision
from policies.engine import Engine
from policies.errors import InvalidError
from policies.model import BooleanTerms, Feature, StaticTerms
from policies.period import Period
from policies.slices import Slice
from tests.pure import plans

STAMP = {"now": plans.NOW, "decision_id": "dec_1", "catalog_hash": "sha256:0"}
STATUSES = ["good", "grace", "restricted", "suspended", "paused", "ended", "pending"]
MOST = limits.REQUESTED_MAX


def ask(right, quantity=1, levels=None, *, engine=None, **rest):
    held = Levels() if levels is None else levels
    request = Request(
        feature_id=right.feature_id, quantity=quantity, entity_id=rest.pop("entity_id", None),
        context=rest.pop("context", {}),
    )  # fmt: skip
    return decide.decide(engine or Engine(), right, request, held, **STAMP, **rest)


def away(right, last_known=None, quantity=1, **rest):
    request = Request(feature_id=right.feature_id, quantity=quantity)
    return decide.unavailable(rest.pop("engine", Engine()), right, request, last_known, **STAMP, **rest)


def with_stance(stance):
    return msgspec.structs.replace(plans.TOKENS, when_unavailable=stance)


# --- beside an oracle that knows no Cedar --------------------------------------------------------


@st.composite
def cases(draw):
    """A random right and levels, and a quantity at an edge of one of its clauses, or one off it.

    All numbers of a case are of one size, so that sums of small ones come near small limits; of the largest,
    near what the wire can carry.
    """
    size = draw(st.sampled_from([10, 10_000, MOST // 4]))
    number = st.integers(0, size)
    included = draw(st.integers(0, 3 * size) | st.none())
    has_overage = included is not None and draw(st.booleans())
    caps = draw(st.lists(st.integers(0, 4 * size), max_size=limits.CAPS))
    up_to = draw(number | st.none()) if has_overage else None
    right = plans.right(
        plans.metered(included, overage=has_overage, up_to=up_to, caps=caps),
        status=draw(st.sampled_from(["good", "good", "good", *STATUSES])),
        trial=draw(st.sampled_from([False, False, True])),
    )
    used, over = draw(number), draw(st.just(0) | number)
    levels = Levels(
        included=used, overage=over, excess=draw(number),
        reserved=draw(st.just(0) | st.integers(0, used + over)), caps=tuple(draw(number) for _ in caps),
    )  # fmt: skip
    granted = None if included is None else max(included, levels.included)
    drawn = levels.included + levels.overage
    edges = [cap - level for cap, level in zip(caps, levels.caps, strict=True)]
    edges += [] if granted is None else [granted - drawn, granted + (up_to or 0) - drawn]
    inside = [edge for edge in edges if edge >= 0] or [draw(number)]
    quantity = draw(st.sampled_from(inside)) + draw(st.sampled_from([-1, 0, 1]))
    return right, levels, min(max(quantity, 0), MOST)


def oracle(right, levels, quantity):
    """Allowed, and the reason, by plain arithmetic."""
    terms, status = right.terms, right.billing_status
    then = levels.included + levels.overage + quantity
    capped = any(level + quantity > cap.limit for cap, level in zip(terms.caps, levels.caps, strict=True))
    granted = None if terms.included is None else max(terms.included, levels.included)
    unpaid = {"pending": "pending", "paused": "paused", "ended": "subscription_ended"}.get(
        status, "payment_required"
    )
    served, pays = status in ("good", "grace", "restricted"), status in ("good", "grace")
    if served and not capped and (granted is None or then <= granted):
        return True, "within_limit"
    if terms.overage is None:
        return False, unpaid if not served else "cap_reached" if capped else "limit_reached"
    bounded = terms.overage.up_to is not None
    over = bounded and then > granted + terms.overage.up_to
    if not pays:
        return False, unpaid
    if right.trial:
        return False, "limit_reached"
    if capped:
        return False, "cap_reached"
    return (False, "limit_reached") if over else (True, "in_overage")


@settings(max_examples=400)
@given(cases())
def test_cedar_says_what_plain_arithmetic_says_one_below_at_and_one_above_every_edge(case):
    right, levels, quantity = case
    decision = ask(right, quantity, levels)
    assert (decision.allowed, decision.reason) == oracle(right, levels, quantity)
    assert decision.outcome == ("allowed" if decision.allowed else "denied")
    assert not decision.degraded


@given(cases())
def test_a_denial_names_the_last_permit_and_its_first_clause_that_fails(case):
    right, levels, quantity = case
    decision = ask(right, quantity, levels, explain=True)
    (line,) = decision.reasons
    if decision.allowed:
        assert line.policy_id.endswith("/included" if line.reason == "within_limit" else "/overage")
        return
    terms = right.terms
    assert line.policy_id.endswith("/included" if terms.overage is None else "/overage")
    last = decision.clauses[-len(last_clauses(right)) :]
    failed = next(clause for clause in last if not clause.holds)
    assert line.source == failed.source


def last_clauses(right):
    return Engine().slice(right.plan, right.feature).policies[-1].clauses


@given(cases())
def test_numbers_are_those_before_the_request_and_the_books_close(case):
    right, levels, quantity = case
    decision = ask(right, quantity, levels)
    assert decision.requested == quantity
    assert decision.usage == levels.included + levels.overage - levels.reserved
    assert decision.reserved == levels.reserved
    assert decision.unlimited == (decision.limit is None)
    assert [cap.used for cap in decision.caps] == list(levels.caps)
    assert [cap.limit for cap in decision.caps] == [cap.limit for cap in right.terms.caps]
    if decision.granted is None:
        assert (decision.remaining, decision.limit) == (None, None)
    else:
        left = decision.granted - decision.usage - decision.reserved
        assert decision.remaining == max(0, left)
        assert decision.overage == max(0, -left)


@given(cases(), st.integers(0, MOST), st.integers(0, MOST))
def test_what_is_denied_stays_denied_with_more_of_anything(case, more_used, more_asked):
    """The answer is monotone, so one ceiling on each axis says all of it."""
    right, levels, quantity = case
    if ask(right, quantity, levels).allowed:
        return
    asked = min(quantity + more_asked, MOST)
    used = Levels(
        included=levels.included, overage=levels.overage + more_used, reserved=levels.reserved,
        caps=tuple(level + more_used for level in levels.caps),
    )  # fmt: skip
    assert not ask(right, asked, used).allowed


# --- reasons and sentences -----------------------------------------------------------------------

FULL = Levels(included=1_000_000, overage=4_000_000, caps=(0, 0))


@pytest.mark.parametrize(
    ("status", "trial", "levels", "quantity", "expected"),
    [
        ("good", False, Levels(included=950_000, caps=(0, 0)), 150,
         ("within_limit", "included", 14, "50,000 of 1,000,000 tokens left until 2026-12-01")),
        ("good", False, Levels(included=1_000_000, caps=(0, 0)), 1,
         ("in_overage", "overage", 18,
          "Past the 1,000,000 tokens of Pro: overage, up to 5,000,000 tokens in all until 2026-12-01")),
        ("good", False, FULL, 1,
         ("limit_reached", "overage", 18,
          "Limit reached: 5,000,000 of 5,000,000 tokens used; resets 2026-12-01")),
        ("good", False, Levels(included=1_000_000, overage=3_999_900, caps=(0, 0)), 150,
         ("limit_reached", "overage", 18,
          "Limit reached: 150 asked, 100 of 5,000,000 tokens left; resets 2026-12-01")),
        ("good", True, Levels(included=1_000_000, caps=(0, 0)), 1,
         ("limit_reached", "overage", 18,
          ("Limit reached: 1,000,000 of 1,000,000 tokens used; resets 2026-12-01; "
           "overage begins after the trial"))),
        ("good", False, Levels(caps=(100_000, 0)), 1,
         ("cap_reached", "overage", 25,
          "Daily cap reached: 100,000 of 100,000 tokens used; resets 2026-11-23")),
        ("good", False, Levels(caps=(0, 20_000)), 1,
         ("cap_reached", "overage", 26,
          "Daily cap per entity reached: 20,000 of 20,000 tokens used; resets 2026-11-23")),
        ("restricted", False, Levels(included=1_000_000, caps=(0, 0)), 1,
         ("payment_required", "overage", 18,
          "Payment required: a payment for Pro is overdue, so overage is closed")),
        ("suspended", False, Levels(caps=(0, 0)), 1,
         ("payment_required", "overage", 18, "Payment required: Pro is suspended until it is paid")),
        ("pending", False, Levels(caps=(0, 0)), 1,
         ("pending", "overage", 18, "The subscription to Pro waits for its first payment")),
        ("paused", False, Levels(caps=(0, 0)), 1,
         ("paused", "overage", 18, "The subscription to Pro is paused")),
        ("ended", False, FULL, 1,
         ("subscription_ended", "overage", 18, "The subscription to Pro has ended")),
    ],
)  # fmt: skip
def test_every_answer_on_a_metered_feature_says_why(status, trial, levels, quantity, expected):
    right = plans.right(plans.PRO_TOKENS, status=status, trial=trial)
    decision = ask(right, quantity, levels, entity_id="user-1")
    reason, permit, line, sentence = expected
    assert decision.reason == reason
    assert (decision.reasons[0].policy_id, decision.reasons[0].source) == (
        f"plan/pro/ai-tokens/{permit}",
        f"plans/pro.yaml:{line}",
    )
    assert decision.message == decision.reasons[0].message == sentence


def test_a_subscription_that_ended_with_its_trial_is_told_from_one_that_was_paid_for():
    right = msgspec.structs.replace(plans.right(plans.PRO_TOKENS, status="ended"), ended_with_trial=True)
    decision = ask(right, 1, FULL, entity_id="user-1")
    assert (decision.outcome, decision.reason) == ("denied", "trial_ended")
    assert decision.message == "The trial of Pro has ended"


FOREVER = Period(plans.NOW, None)


@pytest.mark.parametrize(
    ("levels", "period", "sentence"),
    [
        (Levels(included=1_000, excess=576_689, caps=(0,)), plans.MONTH,
         ("Limit reached: 1,000 of 1,000 tokens used; 576,689 more were reported past it; "
          "resets 2026-12-01")),
        (Levels(included=1_000, excess=1, caps=(0,)), FOREVER,
         "Limit reached: 1,000 of 1,000 tokens used; 1 more was reported past it"),
        (Levels(included=500, caps=(500,)), plans.MONTH,
         "Daily cap reached: 500 of 500 tokens used; resets 2026-11-23"),
        (Levels(included=1_000, excess=7, caps=(1_007,)), plans.MONTH,
         ("Daily cap reached: 1,007 of 500 tokens used; resets 2026-11-23; "
          "the limit is reached too and resets 2026-12-01; 7 more were reported past it")),
        (Levels(included=1_000, caps=(500,)), FOREVER,
         ("Daily cap reached: 500 of 500 tokens used; resets 2026-11-23; "
          "the limit is reached too and does not reset")),
    ],
)  # fmt: skip
def test_a_refusal_hides_neither_what_was_reported_past_it_nor_a_later_reset(levels, period, sentence):
    right = msgspec.structs.replace(plans.right(plans.metered(1_000, caps=(500,))), period=period)
    decision = ask(right, 1, levels)
    assert (decision.allowed, decision.message) == (False, sentence)
    assert decision.usage == levels.included


@pytest.mark.parametrize(
    ("feature", "terms", "quantity", "expected"),
    [
        (plans.VOICE, BooleanTerms(source="p:1"), 1, (True, "included", "Included in Pro")),
        (plans.PROJECTS, StaticTerms(source="p:1", value=50, display="50"), 50,
         (True, "value", "Projects: 50 in Pro")),
        (plans.PROJECTS, StaticTerms(source="p:1", value=50, display="50"), 51,
         (False, "value_exceeded", "Projects: 51 asked, 50 in Pro")),
        (plans.REGION, StaticTerms(source="p:1", value="us", display="us"), 10**6,
         (True, "value", "Data region: us in Pro")),
    ],
)  # fmt: skip
def test_every_answer_on_other_features_says_why(feature, terms, quantity, expected):
    decision = ask(plans.right(terms, feature), quantity)
    assert (decision.allowed, decision.reason, decision.message) == expected
    assert decision.reasons[0].policy_id == f"plan/pro/{feature.id}"


@pytest.mark.parametrize(
    ("absence", "source", "sentence"),
    [
        ("unknown_tenant", None, "There is no such tenant"),
        ("unknown_feature", None, "There is no such feature"),
        ("no_subscription", None, "The tenant has no subscription"),
        ("feature_not_in_plan", "plans/pro.yaml:1", "Pro does not include AI tokens"),
    ],
)
def test_an_absent_right_is_denied_by_cedar_for_that_reason(absence, source, sentence):
    decision = ask(plans.right(absence=absence), levels=None)
    assert (decision.allowed, decision.outcome, decision.reason) == (False, "denied", absence)
    assert (decision.reasons[0].policy_id, decision.reasons[0].source) == (None, source)
    assert decision.message == sentence


@pytest.mark.parametrize("status", STATUSES)
def test_what_is_always_on_does_not_ask_for_a_payment(status):
    terms = StaticTerms(source="p:1", value="us", display="us")
    assert ask(plans.right(terms, plans.REGION, status=status)).allowed
    served = status in ("good", "grace", "restricted")
    assert ask(plans.right(BooleanTerms(source="p:1"), plans.VOICE, status=status)).allowed == served


@pytest.mark.parametrize(
    ("unit", "many"),
    [("token", "tokens"), ("query", "queries"), ("day", "days"), ("box", "boxes"), ("batch", "batches"),
     ("GB", "GB"), ("tokens", "tokens"), ("access", "accesses"), ("", ""), ("kWh", "kWh")],
)  # fmt: skip
def test_units_of_more_than_one(unit, many):
    assert message.plural(unit) == many


def test_sentences_speak_in_whole_units_and_name_the_hour_where_there_is_one():
    storage = Feature(id="gb", type="metered", name="Storage", source="f:1", unit="GB", decimals=3)
    right = plans.right(plans.metered(2_500), storage)
    hour = Period(plans.NOW, datetime(2026, 11, 22, 11, tzinfo=UTC))
    decision = ask(msgspec.structs.replace(right, period=hour), levels=Levels(included=1_250))
    assert decision.message == "1.25 of 2.5 GB left until 2026-11-22 11:00 UTC"
    forever = msgspec.structs.replace(right, period=Period(plans.NOW, None))
    assert ask(forever, levels=Levels(included=1_500)).message == "1 of 2.5 GB left"
    one = plans.right(plans.metered(1))
    assert ask(one).message == "1 of 1 token left until 2026-12-01"


@given(cases(), st.booleans())
def test_every_decision_has_a_sentence_and_reads_back_from_json(case, explain):
    right, levels, quantity = case
    for decision in (ask(right, quantity, levels, explain=explain), away(right, levels, explain=explain)):
        assert decision.message
        assert decision.reason == decision.reasons[0].reason
        again = msgspec.json.decode(msgspec.json.encode(decision), type=Decision)
        assert again == decision


# --- the shape of the wire -----------------------------------------------------------------------


def test_a_decision_goes_out_exactly_like_this():
    decision = ask(plans.right(plans.PRO_TOKENS), 150, Levels(included=950_000, caps=(2_300, 0)))
    sentence = "50,000 of 1,000,000 tokens left until 2026-12-01"
    assert msgspec.json.decode(msgspec.json.encode(decision)) == {
        "allowed": True, "outcome": "allowed", "reason": "within_limit", "message": sentence,
        "tenantId": "acme", "featureId": "ai-tokens", "entityId": None, "type": "metered", "value": None,
        "requested": 150, "granted": 1_000_000, "usage": 950_000, "reserved": 0, "remaining": 50_000,
        "overage": 0, "limit": 5_000_000, "unlimited": False,
        "caps": [
            {"limit": 100_000, "used": 2_300, "interval": "day", "per": "tenant",
             "resetAt": "2026-11-23T00:00:00Z"},
            {"limit": 20_000, "used": 0, "interval": "day", "per": "entity",
             "resetAt": "2026-11-23T00:00:00Z"},
        ],
        "resetAt": "2026-12-01T00:00:00Z", "planId": "pro", "planVersion": "pro@00000001",
        "catalog": "sha256:0",
        "reasons": [{"policyId": "plan/pro/ai-tokens/included", "source": "plans/pro.yaml:14",
                     "reason": "within_limit", "message": sentence}],
        "degraded": False, "asOf": "2026-11-22T10:00:00Z", "decisionId": "dec_1",
    }  # fmt: skip


def test_a_boolean_has_no_numbers_and_a_static_feature_its_value():
    boolean = ask(plans.right(BooleanTerms(source="p:1"), plans.VOICE))
    numbers_of = ("value", "requested", "granted", "usage", "reserved", "remaining", "overage", "limit")
    assert [getattr(boolean, name) for name in numbers_of] == [None] * 8
    assert (boolean.unlimited, boolean.caps, boolean.reset_at) == (False, (), None)
    static = ask(plans.right(StaticTerms(source="p:1", value=50, display="50"), plans.PROJECTS), 7)
    assert (static.value, static.requested, static.limit, static.granted) == (50, 7, 50, None)


def test_objects_and_decimals_go_out_as_what_they_are():
    config = Feature(id="config", type="static", value_type="object", name="Config", source="f:1")
    terms = StaticTerms(source="p:1", value='{"a":[1,"b"]}', display='{"a":[1,"b"]}')
    assert ask(plans.right(terms, config)).value == {"a": [1, "b"]}
    share = Feature(id="share", type="static", value_type="decimal", name="Share", source="f:1", decimals=2)
    decision = ask(plans.right(StaticTerms(source="p:1", value=1_250, display="12.5"), share), 1_251)
    assert (decision.value, decision.requested, decision.allowed) == ("12.5", "12.51", False)
    assert decision.message == "Share: 12.51 asked, 12.5 in Pro"


def test_without_a_limit_the_numbers_say_so():
    decision = ask(plans.right(plans.metered(None)), MOST, Levels(included=10**15))
    assert (decision.granted, decision.remaining, decision.limit, decision.unlimited) == (
        None,
        None,
        None,
        True,
    )
    assert decision.message == "Unlimited tokens in Pro"
    endless = ask(plans.right(plans.metered(10, overage=True)), 11)
    assert (endless.granted, endless.limit, endless.unlimited, endless.reason) == (
        10,
        None,
        True,
        "in_overage",
    )
    assert endless.message == "Past the 10 tokens of Pro: overage, without a limit until 2026-12-01"


def test_an_explanation_says_of_each_clause_whether_it_holds_and_with_what_values():
    levels = Levels(included=1_000_100, caps=(99_999, 5))
    decision = ask(plans.right(plans.PRO_TOKENS), 2, levels, explain=True, entity_id="u")
    told = [(clause.holds, clause.values, clause.source) for clause in decision.clauses[-5:]]
    assert told == [
        (True, {"principal.billingStatus": "good"}, "plans/pro.yaml:18"),
        (True, {"principal.trial": False}, "plans/pro.yaml:18"),
        (False, {"context.caps.c1": 99_999, "context.requested": 2}, "plans/pro.yaml:25"),
        (True, {"context.caps.c2": 5, "context.requested": 2}, "plans/pro.yaml:26"),
        (
            True,
            {
                "principal.unlimitedOverage": False,
                "context.drawn": 1_000_100,
                "context.requested": 2,
                "principal.extraLimit": 100,
            },
            "plans/pro.yaml:18",
        ),
    ]
    assert ask(plans.right(absence="unknown_tenant"), explain=True).clauses == ()
    assert ask(plans.right(plans.PRO_TOKENS), levels=levels).clauses is msgspec.UNSET


# --- entities ------------------------------------------------------------------------------------


def test_without_an_entity_a_cap_per_entity_judges_as_if_that_entity_had_used_nothing():
    right, levels = plans.right(plans.PRO_TOKENS), Levels(caps=(0, 20_000))
    assert not ask(right, 1, levels, entity_id="user-1").allowed
    assert ask(right, 20_000, levels).allowed
    refused = ask(right, 20_001, levels)
    assert (refused.allowed, refused.reason, refused.caps[1].used) == (False, "cap_reached", 0)


# --- law 1: denied is not "could not decide" -----------------------------------------------------


@pytest.mark.parametrize(
    ("stance", "last_known", "allowed"),
    [
        ("allow", None, True),
        ("allow", FULL, True),
        ("deny", None, False),
        ("deny", Levels(caps=(0, 0)), False),
        ("lastKnown", None, False),
        ("lastKnown", Levels(caps=(0, 0)), True),
        ("lastKnown", FULL, False),
    ],
)
def test_without_counters_the_feature_says_what_to_answer(stance, last_known, allowed):
    decision = away(plans.right(plans.PRO_TOKENS, with_stance(stance)), last_known)
    assert (decision.allowed, decision.outcome, decision.reason) == (allowed, "indeterminate", "fallback")
    assert decision.degraded
    assert decision.message == f"Could not be decided; answered by whenUnavailable: {stance}"
    assert decision.reasons[0].source == "features.yaml:6"


def test_what_would_not_fit_with_nothing_used_no_outage_opens():
    right = plans.right(plans.PRO_TOKENS, with_stance("allow"))
    least_cap = min(cap.limit for cap in right.terms.caps)
    assert away(right, quantity=least_cap).allowed
    refused = away(right, quantity=least_cap + 1)
    assert (refused.allowed, refused.outcome, refused.reason) == (False, "indeterminate", "fallback")
    assert "would not fit even if nothing had been used" in refused.message


def test_the_last_known_answer_of_cedar_stands_beside_the_fallback():
    denied = away(plans.right(plans.PRO_TOKENS), FULL)
    assert [line.reason for line in denied.reasons] == ["fallback", "limit_reached"]
    assert (denied.usage, denied.remaining) == (5_000_000, 0)
    allowed = away(plans.right(plans.PRO_TOKENS), Levels(caps=(0, 0)))
    assert [line.reason for line in allowed.reasons] == ["fallback", "within_limit"]


def test_numbers_that_nobody_knows_are_not_given():
    decision = away(plans.right(plans.PRO_TOKENS, with_stance("allow")))
    assert (decision.usage, decision.granted, decision.remaining, decision.limit) == (None, None, None, None)
    assert (decision.unlimited, [cap.used for cap in decision.caps]) == (False, [None, None])
    assert (decision.requested, decision.reset_at) == (1, plans.MONTH.end)


@pytest.mark.parametrize("stance", ["allow", "deny", "lastKnown"])
@pytest.mark.parametrize("status", ["suspended", "paused", "ended", "pending"])
def test_what_the_facts_alone_deny_no_outage_opens(stance, status):
    decision = away(plans.right(plans.PRO_TOKENS, with_stance(stance), status=status))
    assert (decision.allowed, decision.outcome, decision.degraded) == (False, "denied", True)
    assert decision.reason in ("payment_required", "paused", "subscription_ended", "pending")


def test_an_explanation_shows_no_value_that_was_not_read():
    denied = away(plans.right(plans.PRO_TOKENS, status="paused"), explain=True)
    assert [(clause.holds, clause.values) for clause in denied.clauses] == [
        (False, {"principal.billingStatus": "paused"}),
        (False, {"principal.billingStatus": "paused"}),
        (True, {"principal.trial": False}),
    ]
    right = plans.right(plans.PRO_TOKENS)
    assert away(right, explain=True).clauses == ()
    known = away(right, Levels(included=7, caps=(0, 0)), explain=True)
    assert known.clauses[3].values == {
        "principal.unlimited": False, "context.drawn": 7, "context.requested": 1, "principal.extra": 0
    }  # fmt: skip


@given(cases())
def test_what_the_facts_alone_deny_is_denied_on_any_level(case):
    right, levels, quantity = case
    if away(right).outcome == "denied":
        assert ask(right, quantity, levels).outcome == "denied"


def test_rights_that_need_no_counters_are_decided_without_them():
    boolean = away(plans.right(BooleanTerms(source="p:1"), plans.VOICE))
    assert (boolean.outcome, boolean.allowed, boolean.degraded) == ("allowed", True, True)
    absent = away(plans.right(absence="feature_not_in_plan", feature=with_stance("allow")))
    assert (absent.outcome, absent.allowed, absent.reason) == ("denied", False, "feature_not_in_plan")


def test_a_metered_right_without_levels_is_not_decided_on_nothing():
    request = Request(feature_id="ai-tokens", quantity=1)
    right = plans.right(plans.PRO_TOKENS, with_stance("allow"))
    decision = decide.decide(Engine(), right, request, None, **STAMP)
    assert (decision.outcome, decision.allowed, decision.degraded) == ("indeterminate", True, True)


def broken(*texts):
    """An engine whose slice of this right says what no compiler of ours would."""
    clauses = tuple(
        Clause(kind="limit", text=text, source="p:9", reason="limit_reached", reads=()) for text in texts
    )
    policies = tuple(
        Policy(
            id=f"plan/pro/x/{place}", source="p:9", reason="within_limit", feature_id="ai-tokens",
            clauses=(clause,),
        )
        for place, clause in enumerate(clauses)
    )  # fmt: skip
    return Fixed(Slice("ai-tokens", policies, context=("region",)))


class Fixed(Engine):
    """Has one slice for everything."""

    def __init__(self, part):
        super().__init__()
        self.part = part

    def slice(self, *_):
        return self.part


ERRS = "context.nowhere <= 1"


@pytest.mark.parametrize("texts", [(ERRS,), (ERRS, "1 < 2"), ("1 < 2", ERRS), ("2 < 1", ERRS)])
@pytest.mark.parametrize(("stance", "allowed"), [("allow", True), ("deny", False), ("lastKnown", False)])
def test_a_policy_that_errs_neither_allows_nor_denies(texts, stance, allowed):
    decision = ask(plans.right(plans.PRO_TOKENS, with_stance(stance)), levels=FULL, engine=broken(*texts))
    assert (decision.outcome, decision.reason, decision.allowed) == ("indeterminate", "fallback", allowed)
    assert decision.degraded


@given(cases())
def test_a_level_that_was_not_read_is_never_taken_for_nothing(case):
    """Law 3 where it counts: with a cap's level missing, no answer is an allow of Cedar's."""
    right, levels, quantity = case
    if not levels.caps:
        return
    decision = ask(right, quantity, msgspec.structs.replace(levels, caps=levels.caps[:-1]))
    assert decision.outcome != "allowed"


def test_a_boolean_whose_policy_cannot_be_asked_is_answered_by_the_feature_too():
    right = plans.right(BooleanTerms(source="p:1"), plans.VOICE)
    decision = ask(right, engine=Fixed(Slice(plans.VOICE.id, fault="gone")))
    assert (decision.outcome, decision.allowed) == ("indeterminate", False)


# --- law 2: Cedar says whether -------------------------------------------------------------------


@given(cases(), st.booleans())
def test_the_answer_is_cedars_whatever_the_numbers_say(case, says):
    """With a slice that always (or never) permits, so does the decision, within the limit or past it."""
    right, levels, quantity = case
    decision = ask(right, quantity, levels, engine=broken("1 < 2" if says else "2 < 1"))
    assert decision.allowed == says


def test_allowed_is_set_in_two_places_the_verdict_and_the_declared_fallback():
    tree = ast.parse(inspect.getsource(decide))
    given_ = {
        ast.unparse(keyword.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "allowed"
    }
    assert given_ == {"asked.verdict.outcome == 'allowed'", "_by_stance(stance, asked)"}


@given(cases())
def test_an_allow_reaches_exactly_as_far_as_cedar_answers_alike(case):
    """Within its reach only the quantity itself differs; one past it the answer is another."""
    right, levels, quantity = case
    engine = Engine()
    request = Request(feature_id=right.feature_id, quantity=quantity)
    least, most = decide.reach(engine, right, request, levels)
    assert least <= quantity <= most
    told = ask(right, quantity, levels, engine=engine)
    for other in {least, most}:
        alike = ask(right, other, levels, engine=engine)
        if told.allowed:
            assert alike == msgspec.structs.replace(told, requested=other)
        assert (alike.outcome, alike.reasons[0].policy_id) == (told.outcome, told.reasons[0].policy_id)
    for past in (least - 1, most + 1):
        if 0 <= past <= MOST:
            asked = [decide.ask(engine, right, msgspec.structs.replace(request, quantity=q), levels)
                     for q in (quantity, past)]  # fmt: skip
            assert asked[0].answer != asked[1].answer


# --- law 5, 10 -----------------------------------------------------------------------------------

NAMES = ("billingStatus", "trial", "extra", "drawn", "requested", "caps", "c1", "principal", "region")


@given(cases(), st.dictionaries(st.sampled_from(NAMES), st.text() | st.sampled_from(["good", "0", "false"])))
def test_nothing_that_a_caller_says_stands_in_for_a_stored_fact(case, said):
    """Law 10, with a feature that declares keys of the very names of facts and counters."""
    right, levels, quantity = case
    feature = msgspec.structs.replace(plans.TOKENS, context=NAMES)
    right = plans.right(right.terms, feature, status=right.billing_status, trial=right.trial)
    told = ask(right, quantity, levels, context=said, explain=True)
    assert told == ask(right, quantity, levels, explain=True)


@pytest.mark.parametrize("key", ["__entity", "__extn", "country"])
def test_context_that_the_feature_does_not_declare_is_an_error_and_opens_nothing(key):
    right = plans.right(plans.PRO_TOKENS, with_stance("allow"))
    with pytest.raises(InvalidError):
        ask(right, levels=FULL, context={key: "x"})


def test_asking_changes_nothing():
    engine, right, levels = Engine(), plans.right(plans.PRO_TOKENS), Levels(included=999_999, caps=(5, 5))
    first = ask(right, 1, levels, engine=engine)
    assert all(ask(right, 1, levels, engine=engine) == first for _ in range(200))


# --- what is kept --------------------------------------------------------------------------------


def test_no_more_slices_live_than_the_engine_keeps_however_many_rights_are_asked():
    """Neither what was parsed nor tables hold on to a slice."""
    engine, made = Engine(slices_alive=3), []
    for number in range(10):
        terms = plans.metered(100 + number)
        right = plans.right(terms, version=f"pro@{number:08x}")
        made.append(right)
        assert ask(right, 1, engine=engine).allowed
    gc.collect()
    plans_of = [one.plan for one in gc.get_objects() if isinstance(one, Slice)]
    assert sum(any(plan is right.plan for right in made) for plan in plans_of) <= 3
    assert [ask(right, 101 + place, engine=engine).allowed for place, right in enumerate(made)] == [
        False
    ] * 10
