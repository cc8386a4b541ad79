"""Every law has edits that break it and can still be made; `scripts/laws` shows that tests notice."""

import re
from pathlib import Path

import pytest

from scripts.lawbreaking import laws

ROOT = Path(__file__).parents[2]
LAWS = laws.read(ROOT)
EDITS = [edit for law in LAWS for edit in law.edits]


def test_every_law_of_the_page_has_edits_that_break_it():
    headings = re.findall(r"^## (\d+)\. (.+)$", (ROOT / "docs" / "laws.md").read_text(), re.MULTILINE)
    assert headings == [(str(number), law.law) for number, law in enumerate(LAWS, start=1)]
    assert all(law.edits for law in LAWS)


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.breaks)
def test_an_edit_can_be_made_and_its_tests_are_there(edit):
    assert edit.made(ROOT) != (ROOT / edit.file).read_text()
    for named in edit.noticed_by:
        assert (ROOT / named.partition("::")[0]).is_file()
