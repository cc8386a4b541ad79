"""Bad plan files, over HTTP and on the command line: told at their place, the active catalog untouched."""

import asyncio
import os
import pty
import subprocess

import pytest

from tests.api.test_catalog_moves import PUBLISH, edited, published
from tests.api.test_command_line import PROGRAM, ROOT, read, run, told
from tests.conftest import CATALOG

PRO = "plans/pro.yaml"
BOMB = "\n".join(
    ["a: &a [x, x]", *(f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]" for n in range(20))]
)
TIERS = 'tiers: [{upTo: 1_000, unitAmount: "1"}, {upTo: %s, unitAmount: "2"}, {unitAmount: "3"}]'
SHORT = 'tiers: [{upTo: 1_000, unitAmount: "1"}]'
OVERAGE = "ai-tokens: {included: 5, overage: {model: graduated, %s}}\n"
BAD = {
    "a bomb of aliases": ({PRO: BOMB}, PRO, 1, "yaml-feature"),
    "a file of 10 MB": ({PRO: "# " + "x" * 10_000_000}, PRO, 1, "too-large"),
    "a key that stands twice": ({PRO: "plan: pro\nplan: pro\n"}, PRO, 2, "duplicate-key"),
    "a tab": ({PRO: "plan: pro\nfeatures:\n\tmax-projects: 1\n"}, PRO, 3, "tab"),
    "a misspelt field": ({PRO: "plan: pro\ncurency: usd\n"}, PRO, 2, "unknown-field"),
    "a unit of time that is none": ({PRO: "plan: pro\ninterval: fortnight\n"}, PRO, 2, "wrong-type"),
    "tiers that overlap": ({PRO: f"plan: pro\nfeatures:\n  {OVERAGE % (TIERS % 900)}"}, PRO, 3, "tiers"),
    "tiers that end too soon": ({PRO: f"plan: pro\nfeatures:\n  {OVERAGE % SHORT}"}, PRO, 3, "tiers"),
    "a guard that does not parse": (
        {"guards/region.cedar": '@id("x")\n@reason("y")\nforbid (principal, action resource);\n'},
        "guards/region.cedar", 3, "syntax",
    ),
}  # fmt: skip
"""What is put in place of which files, and where the finding stands."""


def spoilt(files: dict[str, str], name: str) -> dict[str, str]:
    return files | BAD[name][0]


async def test_over_http_each_is_told_at_its_place_and_changes_nothing(api, catalog, example_files):
    for name, (_, path, line, slug) in BAD.items():
        files = spoilt(example_files, name)
        refused = await api.post(PUBLISH, json={"files": files, "message": "x", "moves": {"pro": "now"}})
        if name == "a file of 10 MB":
            assert refused.status_code == 413, name
            continue
        assert refused.status_code == 422, (name, refused.text)
        assert any(one["pointer"].startswith(f"{path}:{line}:") for one in refused.json()["errors"]), (
            name, refused.json()["errors"],
        )  # fmt: skip
        checked = (await api.post("/v1/catalogs/check", json={"files": files})).json()
        assert (path, line, slug) in {
            (one["path"], one["line"], one["slug"]) for one in checked["findings"]
        }, (name, checked)
        assert (await api.post("/v1/catalogs/diff", json={"files": files})).status_code == 422, name
        assert (await api.get("/v1/catalog")).json()["hash"] == catalog.hash, name
    assert len((await api.get("/v1/catalogs")).json()["items"]) == 1


@pytest.fixture
def active(instance_after):
    """The hash of the example catalog, which is active."""
    instance_after(publish)
    return told("catalog", "history")["active"]


def publish():
    run("catalog", "publish", CATALOG, "--message", "example")


def write(folder, files):
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8", errors="surrogateescape")


def test_on_the_command_line_each_is_told_at_its_place_and_changes_nothing(active, tmp_path, example_files):
    for name, (_, path, line, slug) in BAD.items():
        folder = tmp_path / name.replace(" ", "-")
        write(folder, spoilt(example_files, name))
        checked = told("catalog", "check", folder, ends=1)
        assert (path, line, slug) in {
            (one["path"], one["line"], one["slug"]) for one in checked["findings"]
        }, (name, checked["findings"])
        said = run("catalog", "publish", folder, "--message", "x", "--move", "pro=now", ends=1).output
        assert f"{path}:{line}:" in said, name
        assert said.endswith("Nothing was published.\n")
        assert "catalog check" in run("catalog", "diff", folder, ends=1).output
    assert [one["hash"] for one in told("catalog", "history")["items"]] == [active]


def test_a_file_that_is_no_text_is_named_with_its_place(active, tmp_path, example_files):
    write(tmp_path, example_files | {PRO: "plan: pro\n\udcff"})
    for words in (("check", tmp_path), ("diff", tmp_path), ("publish", tmp_path, "--message", "x")):
        assert "is not UTF-8 (byte 10)" in run("catalog", *words, ends=2).stderr
    assert told("catalog", "history")["active"] == active


def test_a_folder_that_does_not_exist_is_said_to_be_missing(active, tmp_path):
    nowhere = tmp_path / "nowhere"
    for command in (("check", nowhere), ("diff", nowhere), ("publish", nowhere, "--message", "x")):
        assert f"There is no folder {nowhere}." in run("catalog", *command, ends=2).stderr
    assert told("catalog", "history")["active"] == active


async def test_a_feature_that_no_plan_has_is_a_warning(api, catalog, example_files):
    files = edited(
        example_files,
        ("features.yaml", "features:\n", "features:\n  spare: {type: boolean, name: Spare}\n"),
    )
    done = await published(api, files)
    assert [(one["slug"], one["severity"]) for one in done["findings"]] == [("unused-feature", "warning")]


async def test_of_two_who_publish_at_the_very_same_time_one_wins(api, catalog, example_files):
    bodies = [
        {
            "files": edited(example_files, (PRO, "49.00", price)),
            "message": price,
            "basedOn": catalog.hash,
        }
        for price in ("51.00", "52.00")
    ]
    answers = await asyncio.gather(*(api.post(PUBLISH, json=body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    (won,) = [answer.json()["hash"] for answer in answers if answer.status_code == 200]
    (lost,) = [answer.json() for answer in answers if answer.status_code == 409]
    assert won[:19] in lost["detail"]
    assert (await api.get("/v1/catalog")).json()["hash"] == won
    assert len((await api.get("/v1/catalogs")).json()["items"]) == 2


def test_who_thinks_too_long_at_the_terminal_is_told_of_the_other(active, tmp_path, example_files):
    """The question at the end stands for as long as the person likes; meanwhile somebody else publishes."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    write(ours, edited(example_files, (PRO, "49.00", "51.00")))
    write(theirs, edited(example_files, (PRO, "49.00", "52.00")))
    terminal, end = pty.openpty()
    words = [*PROGRAM, "catalog", "publish", str(ours), "--message", "slow"]
    process = subprocess.Popen(words, cwd=ROOT, stdin=end, stdout=end, stderr=end)
    os.close(end)
    said = until(terminal, b"Publish it now?")
    won = told("catalog", "publish", theirs, "--message", "quick")
    os.write(terminal, b"y\n")
    said += until(terminal, b"publish again.")
    assert process.wait() == 2
    assert b'"quick"' in said
    assert won["hash"][:19].encode() in said
    os.close(terminal)
    assert [one["message"] for one in told("catalog", "history")["items"]] == ["quick", "example"]


def until(terminal, sign):
    said = b""
    while sign not in said:
        chunk = read(terminal)
        assert chunk, said.decode()
        said += chunk.replace(b"\r\n", b"\n")
    return said
