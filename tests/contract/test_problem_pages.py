"""Every type of problem has a page that explains it, and no page explains what does not exist."""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from policies.errors import ProblemError
from service.api import problems
from service.api.app import make_app  # noqa: F401  # loads every module that could define an error

PAGES = Path(__file__).parents[2] / "docs" / "problems"


def classes(root: type[ProblemError] = ProblemError) -> Iterator[type[ProblemError]]:
    yield root
    for child in root.__subclasses__():
        yield from classes(child)


ALL = sorted(classes(), key=lambda each: each.slug)


def test_pages_and_types_are_the_same_set():
    assert {page.stem for page in PAGES.glob("*.md")} - {"README"} == {each.slug for each in ALL}


def test_a_type_is_named_once():
    slugs = [each.slug for each in ALL]
    assert sorted(set(slugs)) == slugs
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", slug) for slug in slugs)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.slug)
def test_a_page_says_what_the_answer_says(kind: type[ProblemError]):
    """Title, status and the example are those of the class."""
    page = (PAGES / f"{kind.slug}.md").read_text()
    assert page.startswith(f"# {kind.title}\n\n`{kind.slug}`, status {kind.status}.\n")
    assert [line for line in page.splitlines() if line.startswith("## ")] == [
        "## What it means",
        "## What to do",
        "## Example",
    ]
    example = page.split("```json\n")[1].split("```")[0]
    shown = msgspec.json.decode(example, type=problems.Problem)
    assert (shown.type, shown.title, shown.status) == (problems.BASE + kind.slug, kind.title, kind.status)
    told = problems.problem(kind(shown.detail, errors=shown.errors), shown.request_id)
    assert msgspec.json.decode(msgspec.json.encode(told)) == msgspec.json.decode(example)


def test_the_index_lists_every_page():
    index = (PAGES / "README.md").read_text()
    for kind in ALL:
        assert f"| [{kind.slug}]({kind.slug}.md) | {kind.status} | {kind.title} |" in index
