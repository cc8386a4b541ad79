"""A catalog with guards is examined apart: what dies there is a finding, and the same answer comes back."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from policies.compiler.known import Known
from service.usecases import examine

CATALOG = Path(__file__).parents[2] / "policies" / "catalog"
FILES = {
    path.relative_to(CATALOG).as_posix(): path.read_text("utf-8")
    for path in CATALOG.rglob("*.yaml")
    if path.parent.name != "tests"  # they want the guards of the catalog
}
GUARD = '@id("a") @reason("r") @scope("all") forbid (principal, action, resource) when { context.facts.ai };'
KILLS = """
import cedarpy
nested = "(" * 100_000 + "true" + ")" * 100_000
cedarpy.policies_to_json_str(f"permit (principal, action, resource) when {{ {nested} }};")
"""


def python(program):
    return (sys.executable, "-c", program)


def test_apart_or_not_the_answer_is_the_same():
    guarded = FILES | {"guards/a.cedar": GUARD}
    assert examine.apart(guarded) == examine.compiled(guarded)
    catalog = examine.apart(guarded).catalog
    assert catalog is not None
    assert [guard.id for guard in catalog.guards] == ["a"]
    broken = FILES | {"plans/pro.yaml": "plan: pro\nnmae: Pro\n", "plans/\ud800.yaml": "\udcff"}
    assert examine.apart(broken) == examine.compiled(broken)
    assert examine.apart(broken).catalog is None


def test_what_kills_cedar_kills_the_child_and_is_a_finding():
    files = FILES | {"guards/b.cedar": "", "guards/a.cedar": ""}
    examined = examine.apart(files, argv=python(KILLS))
    assert examined.catalog is None
    (finding,) = examined.findings
    assert (finding.path, finding.slug, finding.severity) == ("guards/a.cedar", "check-failed", "error")
    assert "killed by SIG" in finding.message


@pytest.mark.parametrize(
    ("program", "said"),
    [("raise SystemExit(3)", "exit status 3"), ("print('ready')", "no answer"), ("while True: pass", "0 s")],
)
def test_a_child_that_gives_no_answer_is_a_finding(program, said):
    examined = examine.apart(FILES, argv=python(program), seconds=0.5 if "while" in program else None)
    assert examined.catalog is None
    assert said in examined.findings[0].message


def test_the_child_gets_no_secret(monkeypatch):
    monkeypatch.setenv("METERGATE_DATABASE_URL", "postgresql://secret")
    program = "import os; raise SystemExit(7 if any('METERGATE' in name for name in os.environ) else 8)"
    assert "exit status 8" in examine.apart(FILES, argv=python(program)).findings[0].message


@pytest.mark.parametrize("path", ["guards/a.cedar", "invariants.yaml", "tests/a.yaml"])
def test_only_a_catalog_that_asks_cedar_for_long_pays_for_a_process(path):
    """Seen by its parent: a child that was waited for has used processor time."""
    plain = {name: text for name, text in FILES.items() if name != "invariants.yaml"}

    def children():
        return os.times().children_user + os.times().children_system

    before = children()
    assert asyncio.run(examine.examine(plain)).catalog is not None
    assert children() == before
    asyncio.run(examine.examine(plain | {path: ""}))
    assert children() > before


@pytest.mark.parametrize("guarded", [True, False])
async def test_what_is_known_changes_no_answer(guarded):
    """One plan was edited since. With guards a child answers, which is told what is known too."""
    files = FILES | ({"guards/a.cedar": GUARD} if guarded else {})
    first = await examine.examine(files)
    assert first.catalog is not None, first.findings
    known = Known(files, first.catalog)
    edited = files | {"plans/pro.yaml": files["plans/pro.yaml"].replace("49.00", "59.00")}
    assert await examine.examine(edited, known) == await examine.examine(edited)
    broken = files | {"plans/pro.yaml": files["plans/pro.yaml"].replace("included:", "inclded:")}
    assert (await examine.examine(broken, known)).findings == (await examine.examine(broken)).findings
