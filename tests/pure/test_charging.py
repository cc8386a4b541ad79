"""What is ordered of a payment provider, what the barrier lets pass, and when a payment is tried again."""

from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.charging import barrier, charge, dunning
from policies.charging.charge import Charge, ChargeLine
from policies.charging.orders import AddLine, Credit, Draft
from policies.charging.seen import Invoice, Line
from tests.conftest import NOW
from tests.pure import plans

AMOUNTS = st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=40)


def made(amounts, groups=("",)) -> Charge:
    lines = tuple(
        ChargeLine(
            line_id=str(number), amount=amount, description=f"Line {number}",
            group=groups[number % len(groups)],
            starts_at=NOW - timedelta(days=number), ends_at=NOW + timedelta(days=number),
        )
        for number, amount in enumerate(amounts)
    )  # fmt: skip
    return Charge(tenant_id="acme", invoice_id="inv_1", number="INV-1", currency="usd", lines=lines)


def draft(subtotal: int, status: str = "draft") -> Invoice:
    return Invoice(
        ref="in_1", customer_ref="cus_1", currency="usd", status=status, subtotal=subtotal, total=subtotal,
        amount_due=subtotal, amount_paid=0, amount_remaining=subtotal,
    )  # fmt: skip


def there(planned) -> list[Line]:
    return [
        Line(ref=f"ii_{line_id}", invoice_ref="in_1", amount=amount, currency="usd", line_id=line_id)
        for line_id, amount in planned.items()
    ]


def judged(planned, lines, subtotal=None):
    total = sum(planned.values()) if subtotal is None else subtotal
    return barrier.judge(planned, "usd", draft(total), lines)


@given(AMOUNTS, st.integers(1, 12), st.integers(1, 6))
def test_lines_that_are_added_up_keep_the_total_and_the_bound(amounts, most, kinds):
    whole = made(amounts, [f"g{kind}" for kind in range(kinds)])
    folded = charge.folded(whole.lines, most)
    assert len(folded) <= most
    assert sum(line.amount for line in folded) == whole.total
    assert len({line.line_id for line in folded}) == len(folded)
    assert folded == charge.folded(whole.lines, most), "it is worked out once, but would come out the same"


@given(AMOUNTS, st.sampled_from([1, 10, 100]))
def test_lines_of_whole_steps_keep_the_total_and_are_less_than_a_step_away(amounts, step):
    lines = made([*amounts, -sum(amounts) % step]).lines
    found = charge.stepped(lines, step)
    assert sum(one.amount for one in found) == sum(one.amount for one in lines)
    for was, now in zip(lines, found, strict=True):
        assert now.amount % step == 0
        assert abs(now.amount - was.amount) < step
        assert msgspec.structs.replace(now, amount=was.amount) == was


def test_a_plan_is_a_draft_its_lines_and_what_binds_it():
    planned = charge.plan(made([5, 7]), lines_max=250)
    assert [(one.step, one.subject) for one in planned] == [
        ("draft", ""), ("line", "0"), ("line", "1"), ("finalize", ""),
    ]  # fmt: skip
    assert [one.order.amount for one in planned if isinstance(one.order, AddLine)] == [5, 7]


def test_only_the_ids_of_the_provider_are_filled_in():
    kept = charge.plan(made([5]), lines_max=250)[1].order
    sent = charge.filled(kept, customer_ref="cus_1", invoice_ref="in_1")
    assert msgspec.structs.replace(sent, customer_ref="", invoice_ref="") == kept
    first = Draft(tenant_id="acme", invoice_id="inv_1", customer_ref="", currency="usd")
    assert charge.filled(first, customer_ref="cus_1", invoice_ref="").customer_ref == "cus_1"
    note = Credit(invoice_ref="", credit_id="cn_1", amount=5)
    assert charge.filled(note, customer_ref="cus_1", invoice_ref="in_1").invoice_ref == "in_1"


@given(AMOUNTS)
def test_the_barrier_lets_pass_what_is_as_it_was_planned(amounts):
    planned = {str(number): amount for number, amount in enumerate(amounts)}
    assert judged(planned, there(planned)).holds


@given(AMOUNTS, st.data())
def test_the_barrier_sees_every_single_difference(amounts, data):
    planned = {str(number): amount for number, amount in enumerate(amounts)}
    lines = there(planned)
    place = data.draw(st.integers(0, len(lines) - 1))
    one = lines[place]
    change = data.draw(st.sampled_from(["twice", "gone", "amount", "currency", "foreign", "nobody's"]))
    if change == "twice":
        lines.append(msgspec.structs.replace(one, ref="zz"))
        found = judged(planned, lines, sum(line.amount for line in lines))
        assert (found.drop, found.missing, found.wrong) == ((lines[-1],), (), ())
    elif change == "gone":
        del lines[place]
        found = judged(planned, lines, sum(line.amount for line in lines))
        assert (found.drop, found.missing, found.wrong) == ((), (one.line_id,), ())
    else:
        other = {"amount": {"amount": one.amount + 1}, "currency": {"currency": "eur"}}
        other |= {"foreign": {"line_id": "x"}, "nobody's": {"line_id": None}}
        lines[place] = msgspec.structs.replace(one, **other[change])
        found = judged(planned, lines)
        assert found.wrong
        assert not found.holds


def test_the_barrier_sees_what_the_lines_do_not_show():
    found = judged({"a": 5}, there({"a": 5}), subtotal=6)
    assert found.wrong == ("its lines add up to 6, not to 5",)


@pytest.mark.parametrize(
    ("grace", "restricted", "days"),
    [(0, 0, (0,)), (7, 0, (0, 2)), (7, 14, (0, 2, 7, 14)), (30, 30, (0, 2, 7, 14, 21)), (0, 3, (0, 2))],
)
def test_attempts_come_before_the_plan_suspends(grace, restricted, days):
    plan = msgspec.structs.replace(plans.pro(), grace_days=grace, restricted_days=restricted)
    assert dunning.schedule(plan) == days
    dues = [dunning.due(days, attempt, NOW) for attempt in range(1, len(days) + 2)]
    assert dues == [*(NOW + timedelta(days=day) for day in days), None]


def test_a_plan_that_says_when_to_try_is_taken_at_its_word():
    plan = msgspec.structs.replace(plans.pro(), grace_days=7, restricted_days=14, attempt_days=(3, 5, 30))
    assert dunning.schedule(plan) == (3, 5, 30)


def test_what_follows_a_decline():
    assert dunning.after("insufficient_funds", (0, 2), 1) == "again"
    assert dunning.after("insufficient_funds", (0, 2), 2) == "give up"
    assert dunning.after("stolen_card", (0, 2), 1) == "wait"
    assert dunning.after("authentication_required", (0, 2), 2) == "wait"


@given(st.integers(0, 10_000), st.text(max_size=8))
def test_waits_grow_and_end(tries, salt):
    assert 0.5 <= dunning.backoff_s(tries, salt) <= 300
    assert dunning.backoff_s(20, salt) >= 150
