"""What a reviewer would otherwise have to look for: layers, sizes, names, places."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("policies", "service", "store", "jobs", "integrations")
MODULES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
TRACKED = subprocess.run(  # what would be committed, new files included
    ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
).stdout.split()
FORBIDDEN_NAMES = {"utils", "helpers", "common", "manager", "base", "misc"}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_the_rooms_import_only_what_is_below_them():
    linter = str(Path(sys.executable).with_name("lint-imports"))
    done = subprocess.run([linter], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_module_tells_one_story(path):
    """At most 400 lines, functions of at most 50, a sentence at the top, and a name that says something."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "what does this module answer?"
    assert path.stem not in FORBIDDEN_NAMES
    assert text.count("\n") <= 400
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 50, f"{node.name} is too long"


def test_the_catalog_holds_data_alone_and_nothing_else_holds_plan_data():
    inside = {path.suffix for path in (ROOT / "policies" / "catalog").rglob("*") if path.is_file()}
    assert inside <= {".yaml", ".cedar", ".md"}
    outside = [
        relative(path)
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.suffix in (".yaml", ".cedar") and "catalog" not in path.parts
    ]
    assert outside == []


def test_nothing_else_stands_at_the_top():
    allowed = {
        *ROOMS, "tests", "scripts", "docs", "deploy", ".ci", ".gitignore", "pyproject.toml",
        "constraints.txt", "constraints-dev.txt", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE",
        "Makefile",
    }  # fmt: skip
    assert {path.split("/", 1)[0] for path in TRACKED} <= allowed


def test_no_file_names_a_place_of_one_machine_or_a_package_registry():
    wrong = re.compile(
        r"https?://[a-z0-9.-]*(pypi|pythonhosted|npmjs|debian)\b|/(home|root|Users|work)/[a-z]"
    )
    found = [
        name
        for name in TRACKED
        if (ROOT / name).suffix in (".py", ".md", ".toml", ".txt", ".sql", ".lua", ".yaml", "")
        and (ROOT / name).is_file()
        and name != relative(Path(__file__))
        and wrong.search((ROOT / name).read_text(encoding="utf-8", errors="replace"))
    ]
    assert found == []


def test_the_rooms_come_from_this_tree():
    """Other distributions have packages of these names; an import that finds theirs would go unnoticed."""
    for room in ROOMS:
        module = __import__(room)
        assert Path(str(module.__file__)).parent == ROOT / room


@pytest.mark.parametrize("path", sorted((ROOT / "store" / "lua").glob("*.lua")), ids=relative)
def test_a_script_says_what_it_does_and_names_no_key_itself(path):
    """Every key comes in KEYS: one that a script makes up would land outside its slot."""
    text = path.read_text(encoding="utf-8")
    for word in ("KEYS", "ARGV", "Reply", "Cost"):
        assert re.search(rf"^-- .*{word}", text, re.MULTILINE), f"the header does not speak of {word}"
    for arguments in re.findall(r"redis\.call\(([^)]*)", text):
        key = arguments.split(",")[1].strip()
        assert re.fullmatch(r"KEYS\[\d\]|key|days\[d\]|mark\[1\]", key), f"{key} is no key that was handed in"
