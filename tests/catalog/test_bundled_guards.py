"""The guards of the bundled catalog and of its guide: they are accepted, and refuse whom they are for."""

import re
from pathlib import Path

import pytest

from policies.compiler.build import compile_catalog

CATALOG = Path(__file__).parents[2] / "policies" / "catalog"
FILES = {
    path.relative_to(CATALOG).as_posix(): path.read_text("utf-8")
    for path in CATALOG.rglob("*.*")
    if path.is_file()
}
GUIDE = FILES["README.md"]


def compiled(more=""):
    """The bundled catalog with one more file of guards."""
    done = compile_catalog(FILES | {"guards/more.cedar": more})
    assert [finding.render() for finding in done.findings] == []
    return done.catalog


def test_the_bundled_catalog_has_two_guards_over_all_features():
    found = {guard.id: guard for guard in compiled().guards}
    assert set(found) == {"region", "ai-agreement"}
    assert all(guard.features is None for guard in found.values())
    assert (found["region"].request_keys, found["region"].tags) == (("region",), ())
    assert (found["ai-agreement"].request_keys, found["ai-agreement"].tags) == ((), ("ai-agreement",))


def test_the_stricter_forms_in_their_comments_are_guards_too():
    for name in ("region", "ai-agreement"):
        text = FILES[f"guards/{name}.cedar"]
        (stricter,) = re.findall(r"^//   (unless .*;)$", text, re.MULTILINE)
        body = text[text.index("@id") : text.rindex("when")]
        assert "forbid" in body
        more = body.replace(f'@id("{name}")', '@id("stricter")') + stricter
        assert "stricter" in {guard.id for guard in compiled(more).guards}


def test_the_freeze_in_the_guide_is_a_guard():
    (block,) = re.findall(r"```cedar\n(.*?)```", GUIDE, re.DOTALL)
    assert "freeze" in {guard.id for guard in compiled(block).guards}


ASKED = re.findall(r"^\| [^|]*\| `((?:context|principal|\[)[^|]*?)` \|$", GUIDE, re.MULTILINE)


def test_the_guide_shows_what_can_be_asked():
    assert len(ASKED) >= 5


@pytest.mark.parametrize("text", ASKED)
def test_what_the_guide_says_that_a_guard_may_ask_it_may(text):
    for number, part in enumerate(text.split("`, `")):
        guard = (
            f'@id("asked-{number}") @reason("r") forbid (principal, action, resource == Feature::"ai-tokens")'
        )
        assert len(compiled(f"{guard} when {{ {part} }};").guards) == 3


SCOPES = re.findall(r"`(forbid \(principal, action, resource\) when \{ .*? \})`", GUIDE)


def test_several_features_are_named_as_the_guide_says():
    (scope,) = SCOPES
    found = {guard.id: guard for guard in compiled(f'@id("two") @reason("r") {scope};').guards}
    assert found["two"].features == ("ai-tokens", "api-calls")
