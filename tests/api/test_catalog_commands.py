"""The product manager's day on the command line: a repository, a diff, a publish with moves, the way back."""

import json
import os
import pty
import shlex
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest

from policies.compiler import jsonschema
from service.cli import catalog_init
from tests.api.test_catalog_bad_input import PRO, until, write
from tests.api.test_catalog_moves import LESS, edited
from tests.api.test_command_line import ME, PROGRAM, ROOT, instance, run, told  # noqa: F401 - a fixture
from tests.conftest import CATALOG


@pytest.fixture
def repository(tmp_path):
    """What `catalog init` makes."""
    run("catalog", "init", tmp_path / "our plans")
    return tmp_path / "our plans"


@pytest.fixture
def sold(instance_after):
    """The hash of that catalog, which is active, and two tenants are on pro."""
    instance_after(sell)
    return told("catalog", "history")["active"]


def sell():
    with tempfile.TemporaryDirectory() as folder:
        run("catalog", "init", Path(folder, "plans"))
        run("catalog", "publish", Path(folder, "plans"), "--message", "The first")
    run("job", "run", "flush")
    for tenant_id in ("acme", "globex"):
        run("tenant", "put", tenant_id, "--name", tenant_id.title())
        run("tenant", "subscribe", tenant_id, "pro")


def cheaper(repository):
    edit(repository, (PRO, "49.00", "39.00"))


def edit(repository, *edits):
    for path, old, new in edits:
        text = (repository / path).read_text()
        assert old in text
        (repository / path).write_text(text.replace(old, new))


def less(repository):
    shutil.rmtree(repository / "tests")  # they say what Pro gave before
    edit(repository, *LESS)


def version_of(tenant_id):
    return told("tenant", "show", tenant_id)["subscription"]["planVersion"]


def test_a_new_repository_is_whole_and_right(repository, instance):  # noqa: F811
    assert "0 errors and 0 warnings" in run("catalog", "check", repository).output
    assert run("catalog", "test", repository).exit_code == 0
    assert told("catalog", "publish", repository, "--message", "first")["published"] is True
    theirs = {path.relative_to(CATALOG) for path in CATALOG.rglob("*.*") if path.suffix != ".md"}
    assert {path for path in theirs if not (repository / path).is_file()} == set()
    assert "metergate catalog diff ." in (repository / "README.md").read_text()


def test_the_commands_of_the_readme_run_as_they_stand(instance, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    block = text.partition("## Change the plans")[2].partition("```sh\n")[2].partition("```")[0]
    commands = [shlex.split(line) for line in block.splitlines()]
    assert {words[2] for words in commands} >= {"init", "check", "test", "diff", "replay", "publish"}
    for program, *words in commands:
        assert program == ".venv/bin/metergate"
        assert run(*words).exit_code == 0
    assert "Why" in run("catalog", "history").output


def test_an_editor_finds_a_schema_for_each_kind_of_file(repository):
    settings = json.loads((repository / ".vscode" / "settings.json").read_text())
    bound = settings["yaml.schemas"]
    assert len(bound) == len(jsonschema.KINDS)
    for schema, glob in bound.items():
        kind = Path(schema).stem
        assert json.loads((repository / schema).read_text()) == jsonschema.schema_for(kind)
        assert glob == jsonschema.schema_for(kind)["title"].removeprefix("Metergate: ")
        assert list(repository.glob(glob))


def test_the_check_for_every_change_runs(repository, sold, monkeypatch):
    program = repository / "ci" / "check"
    assert program.stat().st_mode & stat.S_IXUSR
    assert "ci/check" in (repository / ".github" / "workflows" / "plans.yml").read_text()
    path = f"{Path(PROGRAM[0]).parent}{os.pathsep}{os.environ['PATH']}"
    said = subprocess.run(
        [program], check=False, env=os.environ | {"PATH": path}, capture_output=True, text=True
    )
    assert (said.returncode, "They say the same" in said.stdout) == (0, True), said
    cheaper(repository)
    edit(repository, ("plans/pro.yaml", "premium-voice-model: true", ""))
    alone = {name: value for name, value in os.environ.items() if not name.startswith("METERGATE_")}
    said = subprocess.run([program], check=False, env=alone | {"PATH": path}, capture_output=True, text=True)
    assert said.returncode == 1  # the tests of the example ask for that model
    assert "No servers" not in said.stdout


@pytest.mark.parametrize("there", ["README.md", ".git"])
def test_a_folder_that_has_something_is_left_alone(tmp_path, there):
    (tmp_path / there).write_text("ours")
    assert "is not empty" in run("catalog", "init", tmp_path, ends=2).stderr
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "ours"


def test_nothing_that_is_no_folder_is_touched(tmp_path):
    (tmp_path / "file").write_text("ours")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        run("catalog", "init", place, ends=2)
    assert (tmp_path / "file").read_text() == "ours"


def test_every_file_of_the_template_is_used():
    template = Path(catalog_init.__file__).parents[1] / "repository"
    assert {path.name for path in template.iterdir()} == set(catalog_init._FILES)


def test_a_diff_is_in_words_and_ends_with_1_if_it_is_worse_for_somebody(sold, repository):
    same = run("catalog", "diff", repository)
    assert "They say the same" in same.output
    cheaper(repository)
    better = run("catalog", "diff", repository).output
    assert "Pro (pro), 2 tenants\n  + better   price 49.00 USD a month → 39.00 USD a month\n" in better
    less(repository)
    worse = run("catalog", "diff", repository, ends=1).output
    assert (
        "- worse    ai-tokens included 1,000,000 → 800,000; 0 tenants are above the new number today" in worse
    )
    assert told("catalog", "diff", repository, ends=1)["worse"] is True
    assert told("catalog", "history")["active"] == sold


def test_a_diff_against_a_folder_needs_no_servers(repository, tmp_path, monkeypatch):
    shutil.copytree(repository, tmp_path / "before")
    cheaper(repository)
    said = run("catalog", "diff", repository, "--against", tmp_path / "before").output
    assert f"Compared with the plan files in {tmp_path / 'before'}." in said
    assert "Pro (pro)\n  + better   price" in said
    run("catalog", "diff", tmp_path / "before", "--against", repository, ends=1)


def test_a_diff_may_be_against_the_beginning_of_a_hash(sold, repository):
    cheaper(repository)
    run("catalog", "publish", repository, "--message", "cheaper")
    assert "They say the same" in run("catalog", "diff", repository).output
    said = run("catalog", "diff", repository, "--against", sold[:15]).output
    assert f"Compared with the catalog {sold[:19]}." in said
    assert "begins with" in run("catalog", "diff", repository, "--against", "beef", ends=2).stderr


def test_a_publish_from_a_program_moves_whom_it_is_told_to_and_asks_nothing(sold, repository):
    before = version_of("acme")
    cheaper(repository)
    said = run("catalog", "publish", repository, "--message", "cheaper").output
    assert "pro: 2 tenants are on another version; they keep it (keep)" in said
    assert version_of("acme") == before
    said = run("catalog", "publish", repository, "--message", "cheaper", "--move", "pro=now").output
    assert "is active already." in said
    assert "2 tenants moved." in said
    assert version_of("acme") != before
    assert run("catalog", "publish", repository, "--message", "x", "--move", "pro=soon", ends=2)
    assert (
        "no plan" in run("catalog", "publish", repository, "--message", "x", "--move", "x=now", ends=2).stderr
    )


def test_move_all_is_for_every_plan_that_changes(sold, repository):
    cheaper(repository)
    run("tenant", "cancel", "globex")
    done = told("catalog", "publish", repository, "--message", "cheaper", "--move-all", "renewal")
    moves = done["publication"]["moves"]
    assert (moves["moved"], moves["left"], moves["reasons"][0]["tenantId"]) == (1, 1, "globex")
    assert told("catalog", "history")["items"][0]["moves"] == {"pro": "renewal"}
    again = run("catalog", "publish", repository, "--message", "cheaper", "--move", "pro=renewal").output
    assert "globex: The subscription ends on " in again


def answer(*words, lines):
    """What a person sees at a terminal who gives these answers."""
    terminal, end = pty.openpty()
    process = subprocess.Popen([*PROGRAM, *map(str, words)], cwd=ROOT, stdin=end, stdout=end, stderr=end)
    os.close(end)
    said = b""
    for question, line in lines:
        said += until(terminal, question)
        os.write(terminal, line)
    try:
        while chunk := os.read(terminal, 4096):
            said += chunk.replace(b"\r\n", b"\n")
    except OSError:  # how Linux says that nobody writes any more
        os.close(terminal)
    return process.wait(), said.decode()


def test_at_a_terminal_it_asks_for_each_plan_and_then_whether_to_do_it(sold, repository):
    before = version_of("acme")
    less(repository)
    words = ("catalog", "publish", repository, "--message", "Less for all")
    asked = b"pro, 2 tenants (keep, now, renewal) [keep]: "
    status, said = answer(*words, lines=[(asked, b"renewal\n"), (b"Publish it now? [y/N]: ", b"\n")])
    assert (status, "would lose      premium-voice-model (2)" in said) == (0, True)
    assert "they move when their billing period is over (renewal)" in said
    assert f"'{repository}' --message 'Less for all' --move pro=renewal --yes" in said
    assert told("catalog", "history")["active"] == sold
    status, said = answer(*words, lines=[(asked, b"now\n"), (b"Publish it now? [y/N]: ", b"y\n")])
    assert (status, "is published and active" in said, "2 tenants moved." in said) == (0, True, True)
    assert version_of("acme") != before


def test_the_way_back_and_the_history(sold, repository):
    cheaper(repository)
    second = told("catalog", "publish", repository, "--message", "cheaper", "--move", "pro=now")["hash"]
    said = run("catalog", "activate", sold[7:17], "--message", "Back", "--move", "pro=now").output
    assert f"Catalog {sold} is published and active." in said
    items = told("catalog", "history")["items"]
    assert [(one["hash"], one["message"], one["author"]) for one in items] == [
        (sold, "Back", ME), (second, "cheaper", ME), (sold, "The first", ME),
    ]  # fmt: skip
    table = run("catalog", "history").output.splitlines()
    assert table[1].startswith(f"{sold} (active)")
    assert "(active)" not in "".join(table[2:])
    assert "begins with" in run("catalog", "activate", "beef", "--message", "x", ends=2).stderr


def test_the_files_of_a_catalog_come_back(sold, repository, tmp_path):
    cheaper(repository)
    run("catalog", "publish", repository, "--message", "cheaper")
    run("catalog", "show", sold, "--files", tmp_path / "back")
    assert "49.00" in (tmp_path / "back" / PRO).read_text()
    assert run("catalog", "check", tmp_path / "back").output.rstrip(".\n").endswith(sold)
    assert "is not empty" in run("catalog", "show", sold, "--files", tmp_path / "back", ends=2).stderr
    assert PRO in run("catalog", "show", sold[:12]).output


def test_a_plan_that_is_taken_away_is_told_before_it_is_done(sold, tmp_path, example_files):
    files = edited(
        example_files,
        ("features.yaml", "starter, pro, enterprise", "starter, enterprise"),
        ("addons/token-pack.yaml", "[starter, pro]", "[starter]"),
    )
    del files[PRO]
    write(tmp_path / "without", files)
    said = run("catalog", "publish", tmp_path / "without", "--message", "No more Pro").output
    assert 'plans/pro.yaml:1:1: warning: the plan "pro" is taken away, and 2 tenants have it' in said
    assert version_of("acme").startswith("pro@")
