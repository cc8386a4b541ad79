"""The bundled catalog keeps what it promises: it shows what tests and invariants are for."""

from pathlib import Path

import pytest

from policies import proof
from policies.compiler.build import compile_catalog

CATALOG = Path(__file__).parents[2] / "policies" / "catalog"


@pytest.fixture(scope="module")
def proven():
    files = {path.relative_to(CATALOG).as_posix(): path.read_text("utf-8") for path in CATALOG.rglob("*.*")}
    return proof.prove(compile_catalog(files), files)


def test_all_its_tests_pass(proven):
    assert [result.sentence() for result in proven.tested.failed] == []
    assert len(proven.tested.results) > 50


def test_each_of_its_policies_clauses_and_guards_decides_some_test(proven):
    assert [rule.sentence() for rule in proven.tested.coverage.uncovered] == []


def test_nothing_is_found(proven):
    assert proven.findings == ()
