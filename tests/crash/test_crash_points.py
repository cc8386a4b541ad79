"""Are the crash points those that are listed, and nothing at all unless a test names one?"""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from scripts.crashing.nemesis import OF_API
from store import crash_points
from store.crash_points import POINTS

ROOT = Path(__file__).parents[2]
ROOMS = ("policies", "service", "store", "jobs", "integrations")
PASS = """
import sys
from store.crash_points import crash_point
for _ in range(3):
    crash_point("flush-read")
    print("passed", flush=True)
"""


def passing(**environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PASS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), **environment},
    )


def test_every_point_of_the_code_is_listed_and_every_one_of_the_list_is_in_the_code_once():
    """Acts of a kind (store/gathering.py) pass the point that their kind names; batches that of reports."""
    calls = [
        node
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    passed = Counter(_text(call.args[0]) for call in calls if call.func.id == "crash_point")
    kinds = [
        _text(word.value)
        for call in calls
        if call.func.id == "Kind"
        for word in call.keywords
        if word.arg == "sent"
    ]
    assert sorted(kinds) == ["consumed", "recorded"]
    assert passed.pop("") == 1, "the one that a kind names"
    assert passed | Counter(kinds) == Counter(POINTS)
    assert set(POINTS) > OF_API


def _text(node: ast.expr) -> str:
    """A text that stands in the code; nothing where something else does."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


@pytest.mark.parametrize("environment", [{}, {crash_points.VARIABLE: ""}], ids=["unset", "empty"])
def test_without_a_name_a_point_is_nothing(environment):
    with passing(**environment) as process:
        assert process.communicate() == ("passed\n" * 3, "")
    assert process.returncode == 0


def test_a_process_dies_at_the_pass_that_is_named():
    with passing(**{crash_points.VARIABLE: "flush-read:3"}) as process:
        assert process.communicate()[0] == "passed\n" * 2
    assert process.returncode == -9


def test_another_point_lets_it_pass():
    with passing(**{crash_points.VARIABLE: "trimmed"}) as process:
        assert process.communicate()[0] == "passed\n" * 3
    assert process.returncode == 0


@pytest.mark.parametrize("told", ["flush", "flush-read:x", "flush-read:1:run"])
def test_what_names_no_point_is_refused(told):
    with pytest.raises(ValueError, match="names no crash point"):
        crash_points.Armed(told)
