"""Does a catalog that compiles keep what it promises itself: its table tests and its invariants?"""

from collections.abc import Mapping

import msgspec

from policies import case_runner
from policies.case_runner import Tested
from policies.compiler.build import Compiled
from policies.compiler.findings import Finding, Findings


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What came of all tests, and what is wrong as findings."""

    tested: Tested
    findings: tuple[Finding, ...]


def prove(done: Compiled, files: Mapping[str, str]) -> Proof:
    """Runs the tests of a compiled catalog; each that fails is an error at its place."""
    assert done.catalog is not None
    found = Findings(files)
    tested = case_runner.run(done.catalog, done.cases)
    for result in tested.failed:
        message = f"the test fails: {result.sentence()}"
        found.error(found.place(result.source), "test-failed", message, name=result.name)
    return Proof(tested=tested, findings=found.sorted())
