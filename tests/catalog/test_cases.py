"""Each folder under cases/ is a catalog and, in expected.txt, every finding as a product manager sees it.

`METERGATE_ACCEPT=1 pytest tests/catalog` writes them anew; read the difference before you keep it.
"""

import os
from pathlib import Path

import pytest

from policies.compiler.build import compile_catalog
from policies.compiler.findings import visible

CASES = Path(__file__).parent / "cases"
EXPECTED = "expected.txt"


def files_of(folder: Path) -> dict[str, str]:
    found = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != EXPECTED)
    return {
        path.relative_to(folder).as_posix(): path.read_bytes().decode(errors="surrogateescape")
        for path in found
    }


@pytest.mark.parametrize("case", sorted(path.name for path in CASES.iterdir()))
def test_a_broken_catalog_gives_exactly_the_findings_that_were_read_and_agreed(case):
    compiled = compile_catalog(files_of(CASES / case))
    rendered = "".join(f"{finding.render()}\n" for finding in compiled.findings)
    expected = CASES / case / EXPECTED
    if os.environ.get("METERGATE_ACCEPT") == "1":
        expected.write_text(rendered, encoding="utf-8")
    assert rendered == expected.read_text(encoding="utf-8")
    assert (compiled.catalog is None) == any(found.severity == "error" for found in compiled.findings)


def test_ten_mistakes_over_three_files_are_told_at_once():
    found = compile_catalog(files_of(CASES / "many-broken-files")).findings
    assert len({finding.path for finding in found}) == 3
    assert sum(finding.severity == "error" for finding in found) >= 10


def test_every_finding_points_at_its_text():
    """Place, text, excerpt and caret agree, in every case that has a text to point at."""
    for folder in CASES.iterdir():
        files = files_of(folder)
        for finding in compile_catalog(files).findings:
            if not finding.excerpt:
                continue
            line = files[finding.path].split("\n")[finding.line - 1]
            pointed = visible(line[finding.column - 1 :])
            assert pointed.startswith(finding.text)
            shown = finding.excerpt[finding.caret :].rstrip()
            assert visible(line[finding.column - 1 :].replace("\t", " ")).startswith(shown)
