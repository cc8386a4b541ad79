"""A figure is the median of runs in which both sides took turns, and its request is sent as it was given."""

import msgspec
import pytest

from scripts.benchmarks import figure, load
from scripts.benchmarks.figure import Settings
from scripts.benchmarks.load import Shot


def test_sides_take_turns_and_the_medians_are_told(capsys: pytest.CaptureFixture[str]):
    order: list[str] = []

    def side(name: str, rates: list[float]) -> figure.Side:
        left = iter(rates)

        def once() -> float:
            order.append(name)
            return next(left)

        return once

    settings = Settings(runs=3, seconds=1, as_json=True)
    found = figure.measure(
        "check",
        unit="requests/s",
        ours=side("ours", [10.0, 30.0, 20.0]),
        reference=side("reference", [100.0, 100.0, 50.0]),
        settings=settings,
    )
    assert order == ["ours", "reference", "reference", "ours", "ours", "reference"]
    figure.show([found], settings)
    said = capsys.readouterr()
    assert msgspec.json.decode(said.out) == {
        "name": "check",
        "ours": 20.0,
        "reference": 100.0,
        "ratio": 0.3,
        "unit": "requests/s",
        "runs": [
            {"ours": 10.0, "reference": 100.0, "ratio": 0.1},
            {"ours": 30.0, "reference": 100.0, "ratio": 0.3},
            {"ours": 20.0, "reference": 50.0, "ratio": 0.4},
        ],
    }
    assert "run 1" in said.err


def test_a_table_for_people_has_minimum_median_and_maximum(capsys: pytest.CaptureFixture[str]):
    runs = [figure.Run(1_000.0, 4_000.0, 0.25), figure.Run(3_000.0, 4_000.0, 0.75)]
    found = figure.Figure(
        name="check", ours=2_000.0, reference=4_000.0, ratio=0.5, unit="requests/s", runs=runs
    )
    figure.show([found], Settings(runs=2, seconds=1, as_json=False))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1:] == [
        ["minimum", "median", "maximum"],
        ["ours", "1,000", "2,000", "3,000"],
        ["reference", "4,000", "4,000", "4,000"],
        ["ratio", "0.250", "0.500", "0.750"],
    ]


def test_a_body_with_quotes_lines_and_other_alphabets_is_a_text_of_lua():
    assert load._lua('{"a": "b\\c"}\né') == r'"{\034a\034: \034b\092c\034}\010\195\169"'


def test_the_head_of_a_request_says_how_long_its_body_is():
    shot = Shot(port=80, path="/v1/check", headers={"X": "y"}, body="é".encode())
    assert shot.head == b"POST /v1/check HTTP/1.1\r\nHost: 127.0.0.1:80\r\nX: y\r\nContent-Length: 2\r\n\r\n"


def test_a_shot_may_vary():
    """Each request has another number in it, in our client and in what wrk is told."""
    shot = Shot(port=80, path="/", headers={}, body=b'{"a": {n}, "b": "t{n}"}', below=1_000_000)
    bodies = {shot.request().partition(b"\r\n\r\n")[2] for _ in range(20)}
    assert len(bodies) > 1
    for body in bodies:
        told = msgspec.json.decode(body)
        assert told["b"] == f"t{told['a']}"
        assert 0 <= told["a"] < 1_000_000
    lua = load._script(shot)
    assert 'string.gsub(wrk.body, "{n}", tostring(math.random(0, 999999)))' in lua
    assert load._script(shot) != lua  # another seed
    assert "function request" not in load._script(msgspec.structs.replace(shot, below=0))


def test_the_slowest_of_a_hundred_is_read_in_any_unit():
    for said, microseconds in (
        ("99%  812.00us", 812),
        ("99%    3.40ms", 3_400),
        ("99%    1.20s ", 1_200_000),
    ):
        found = load._P99.search(f"     {said}\n")
        assert found
        assert float(found[1]) * load._MICROSECONDS[found[2]] == microseconds
