"""What the documents say is so: limits, files, links."""

import re
from pathlib import Path

import pytest

from policies import limits

ROOT = Path(__file__).parents[2]
ROOMS = "policies|service|store|jobs|integrations|tests|scripts|docs"
DOCUMENTS = sorted(
    path
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/README.md")]
    if path.is_file()
)


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_the_limits_in_the_operations_page_are_those_of_the_code():
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    page = page[page.index("## Limits") :]
    told = dict(re.findall(r"^\| ([A-Z_]+) \| `(.*?)` \|", page, re.MULTILINE))
    code = {name: getattr(limits, name) for name in vars(limits) if name.isupper()}
    assert {name: text.replace("\\|", "|") for name, text in told.items()} == {
        name: f"{value:,}" if isinstance(value, int) else str(value) for name, value in code.items()
    }


@pytest.mark.parametrize("path", DOCUMENTS, ids=relative)
def test_every_link_to_a_file_leads_somewhere(path):
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (path.parent / target).exists(), f"{relative(path)} links to {target}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=relative)
def test_every_file_that_is_named_exists(path):
    """`policies/limits.py` in a sentence is a promise too."""
    text = path.read_text(encoding="utf-8")
    for named in re.findall(rf"`((?:{ROOMS})/[\w./-]+)`", text):
        assert (ROOT / named).exists() or "{" in named, f"{relative(path)} names {named}"
