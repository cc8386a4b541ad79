"""Does a catalog that compiles keep what it promises itself: its table tests and its invariants?"""

from collections.abc import Mapping

import msgspec

from policies import case_runner
from policies.case_runner import Tested
from policies.compiler.build import Compiled
from policies.compiler.findings import Finding, Findings
from policies.model import Catalog
from policies.verify import verify, violation


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What came of all tests, and what is wrong as findings."""

    tested: Tested
    findings: tuple[Finding, ...]


def prove(done: Compiled, files: Mapping[str, str], known: Catalog | None = None) -> Proof:
    """Runs the tests and verifies the invariants of a compiled catalog; each finding names what it is about.

    Invariants are verified of what is not the same in a `known` catalog.
    """
    assert done.catalog is not None
    tested = case_runner.run(done.catalog, done.cases)
    broken = violation.findings(verify.verify(done.catalog, known=known), files)
    return Proof(tested=tested, findings=(*_failed(tested, files), *broken))


def _failed(tested: Tested, files: Mapping[str, str]) -> tuple[Finding, ...]:
    found = Findings(files)
    for result in tested.failed:
        message = f"the test fails: {result.sentence()}"
        found.error(found.place(result.source), "test-failed", message, name=result.name)
    return found.sorted()
