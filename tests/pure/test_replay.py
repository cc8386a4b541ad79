"""A trace is read strictly, moved as a whole, and spread by a rule that is the same each time."""

import hashlib
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import limits
from scripts.replay import calls, replay, spread
from scripts.replay.calls import Call, TraceError

TRACE = Path(__file__).parents[1] / "data" / "azure-llm-trace-2023-code.csv"
HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
NOW = datetime(2026, 11, 22, 10, 0, 0, 123_457, tzinfo=UTC)

instants = st.timedeltas(timedelta(0), timedelta(days=1000)).map(lambda back: NOW - back)
traces = st.lists(st.tuples(instants, st.integers(0, 10**6)), min_size=1, max_size=40).map(
    lambda found: [Call(row, at, tokens) for row, (at, tokens) in enumerate(found, start=1)]
)
names = st.text(min_size=1, max_size=300).filter(lambda name: "/" not in name and "\0" not in name)


def test_the_bundled_trace_has_the_calls_and_tokens_that_it_is_known_for():
    found = calls.read(TRACE)
    assert (len(found), calls.total(found)) == (8_819, 18_305_870)
    assert found[0] == Call(1, datetime(2023, 11, 16, 18, 17, 3, 979_960, tzinfo=UTC), 4_818)
    assert max(call.at for call in found) == datetime(2023, 11, 16, 19, 14, 19, 928_016, tzinfo=UTC)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "line 1: the columns must be TIMESTAMP,ContextTokens,GeneratedTokens, not nothing"),
        ("TIMESTAMP,ContextTokens\n", "line 1: the columns"),
        (HEADER, "has no calls"),
        (
            HEADER + "2023-11-16 18:17:03,1,2\n2023-11-16 18:17:03,1\n",
            "line 3: there must be 3 fields, not 2",
        ),
        (HEADER + "2023-11-16 18:17:03,1,-2\n", 'line 2: GeneratedTokens is "-2"'),
        (HEADER + "2023-11-16 18:17:03,1.5,2\n", 'line 2: ContextTokens is "1.5"'),
        (HEADER + "2023-11-16 18:17:03,,2\n", 'line 2: ContextTokens is ""'),
        (HEADER + "2023-11-16 18:17:03,٣,2\n", 'line 2: ContextTokens is "٣"'),
        (HEADER + "2023-11-16 18:17:03,1,9999999999\n", "line 2: GeneratedTokens"),
        (HEADER + "2023-13-16 18:17:03,1,2\n", 'line 2: TIMESTAMP is "2023-13-16 18:17:03"'),
        (HEADER + "2023-11-16,1,2\n", "line 2: TIMESTAMP"),
        (HEADER + "2023-11-16 18:17:03+02:00,1,2\n", "line 2: TIMESTAMP"),
        (HEADER + '"2023-11-16 18:17:03,1,2\n', "is not a CSV file"),
    ],
)
def test_what_is_no_trace_is_refused_with_its_line(tmp_path: Path, content: str, told: str):
    file = tmp_path / "trace.csv"
    file.write_text(content)
    with pytest.raises(TraceError, match=re.escape(told)):
        calls.read(file)


def test_a_missing_file_and_one_that_is_no_text_are_refused(tmp_path: Path):
    with pytest.raises(TraceError, match="cannot be read: No such file"):
        calls.read(tmp_path / "none.csv")
    file = tmp_path / "picture.csv"
    file.write_bytes(b"\x89PNG\xff")
    with pytest.raises(TraceError, match="not a CSV file in UTF-8"):
        calls.read(file)


def test_decimals_of_a_second_are_kept_to_the_microsecond_and_a_blank_line_counts_for_nothing(tmp_path: Path):
    file = tmp_path / "trace.csv"
    file.write_text(f"\ufeff{HEADER}2023-11-16 18:17:03.0000019,1,2\n\n2023-11-16T18:17:04.5Z,3,4\r\n")
    second = datetime(2023, 11, 16, 18, 17, 3, tzinfo=UTC)
    assert calls.read(file) == [
        Call(1, second + timedelta(microseconds=1), 3),
        Call(2, second + timedelta(seconds=1.5), 7),
    ]


@given(traces, instants)
def test_shifting_puts_the_last_call_at_the_end_and_keeps_all_distances(trace: list[Call], end: datetime):
    moved = calls.shifted(trace, end)
    assert max(call.at for call in moved) == end
    by = {after.at - before.at for before, after in zip(trace, moved, strict=True)}
    assert len(by) == 1
    assert [(call.row, call.tokens) for call in moved] == [(call.row, call.tokens) for call in trace]


@given(traces, st.integers(1, 30))
def test_every_call_goes_to_one_tenant_by_its_row_alone_and_in_the_order_of_time(
    trace: list[Call], count: int
):
    tenants = spread.tenants(count)
    shares = spread.spread(trace, tenants)
    assert sorted(call.row for own in shares.values() for call in own) == [call.row for call in trace]
    assert list(shares) == list(tenants)
    for own in shares.values():
        assert own == sorted(own, key=lambda call: (call.at, call.row))
    again = spread.spread(calls.shifted(trace, NOW), tenants)
    assert {t: {c.row for c in own} for t, own in again.items()} == {
        t: {c.row for c in own} for t, own in shares.items()
    }


def test_the_rule_is_the_one_that_is_printed():
    """With 4 tenants the shares add up to 16: free 1, starter 2, pro 5, enterprise 8."""
    plans = ["free"] + ["starter"] * 2 + ["pro"] * 5 + ["enterprise"] * 8
    trace = [Call(row, NOW, 1) for row in range(1, 200)]
    wanted: dict[str, list[int]] = {plan: [] for plan in spread.SHARES}
    for call in trace:
        digest = hashlib.sha256(str(call.row).encode()).hexdigest()
        wanted[plans[int(digest[:16], 16) % 16]].append(call.row)
    shares = spread.spread(trace, spread.tenants(4))
    assert {t.plan_id: [c.row for c in own] for t, own in shares.items()} == wanted
    assert "first 8 bytes of sha256 of its row number" in spread.RULE


@given(names, names, st.integers(1, calls.ROWS_MAX), st.integers(1, spread.TENANTS_MAX))
def test_ids_are_legal_the_same_each_time_and_of_one_file_only(one: str, other: str, row: int, count: int):
    ids = [spread.event_id(one, row), spread.service_id(one, count)]
    assert all(re.fullmatch(limits.ID_PATTERN, found) and len(found) <= limits.ID_LENGTH for found in ids)
    assert ids == [spread.event_id(one, row), spread.service_id(one, count)]
    assert (spread.event_id(one, row) == spread.event_id(other, row)) == (one == other)


def test_a_plain_file_name_stands_in_its_ids_as_it_is():
    assert spread.event_id("trace.csv", 17) == "trace.csv:17"
    assert spread.service_id("trace.csv", 8) == "trace.csv@8"


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (NOW + timedelta(minutes=6), "more than 300 s ahead"),
        (NOW - timedelta(days=35), "events count from"),
        (NOW - timedelta(days=34, hours=23), "events count from"),
    ],
)
def test_times_that_no_instance_takes_are_refused_before_anything_is_sent(end: datetime, told: str):
    trace = [Call(1, NOW, 1), Call(2, NOW + timedelta(hours=1), 1)]
    with pytest.raises(replay.TimesError, match=told):
        replay.plan("trace.csv", trace, end=end, now=NOW)


def test_the_oldest_and_the_latest_times_that_count_are_taken():
    trace = [Call(1, NOW, 1), Call(2, NOW + timedelta(hours=1), 1)]
    for end in (NOW + timedelta(minutes=5), NOW - timedelta(days=34, hours=22, minutes=50)):
        assert replay.plan("trace.csv", trace, end=end, now=NOW).calls[-1].at == end
