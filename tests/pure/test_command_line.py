"""The commands that need no server: what they print, and how they end."""

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from policies.compiler import jsonschema
from service import config
from service.cli import diagnose_redis, show
from service.cli.program import COMMANDS, metergate

ROOT = Path(__file__).parents[2]
SERVERS = ("METERGATE_DATABASE_URL", "METERGATE_REDIS_URL")

FEATURES = """\
features:
  seats: {type: static, valueType: integer, name: Seats}
  tokens: {type: metered, name: Tokens, unit: token, context: [region]}
"""
PLAN = """\
plan: solo
name: Solo
currency: eur
price: "9.00"
interval: month
features:
  seats: 1
  tokens:
    included: 500
    caps:
      - {limit: 50, interval: day}
"""
POLICY = """\
@id("plan/solo/tokens/included")
@source("plans/solo.yaml:8")
@reason("within_limit")
permit (
  principal is Tenant,
  action == Action::"use",
  resource == Feature::"tokens"
)
when { [BillingStatus::"good", BillingStatus::"grace", BillingStatus::"restricted"].contains(principal.billingStatus) }
when { context.caps.c1 + context.requested <= 50 }
when { principal.unlimited || context.drawn + context.requested <= 500 + principal.extra };
"""  # noqa: E501 - a policy's lines are as long as they are
FOUND = """\
plans/solo.yaml:9:5: error: unknown field "incluled": did you mean "included"?
    9 |     incluled: 500
      |     ^~~~~~~~
"""


@pytest.fixture(autouse=True)
def without_servers(monkeypatch):
    for name in SERVERS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def folder(tmp_path):
    """A catalog of one plan."""
    (tmp_path / "plans").mkdir()
    (tmp_path / "features.yaml").write_text(FEATURES)
    (tmp_path / "plans" / "solo.yaml").write_text(PLAN)
    return tmp_path


def run(*words, ends=0):
    done = CliRunner().invoke(metergate, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == ends, done.output
    return done


def commands_under(command, words=()):
    """Every command with its words, those of groups included."""
    command = command.load() if hasattr(command, "load") else command
    yield words, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands_under(inner, (*words, name))


def test_alone_it_shows_its_help():
    assert run().output == run("--help").output
    assert run("catalog").output == run("catalog", "-h").output


def test_each_summary_of_the_table_is_the_first_sentence_of_its_command():
    """The table speaks for modules that are not loaded."""
    for entry in COMMANDS:
        assert entry.load().get_short_help_str(500) == entry.short_help


def test_every_command_and_option_is_explained():
    for words, command in commands_under(metergate):
        assert command.help, words
        for option in command.params:
            assert not isinstance(option, click.Option) or option.help, (words, option.name)
        assert run(*words, "--help").output.startswith("Usage: ")


def test_a_misspelt_command_is_guessed():
    assert "Did you mean 'catalog'?" in run("catalgo", ends=2).output


def test_a_good_catalog_is_summed_up_in_one_line(folder):
    said = run("catalog", "check", folder).output
    assert said.startswith("0 errors and 0 warnings in 2 files: 2 features, 1 plan, catalog sha256:")
    assert said.count("\n") == 1


def test_a_broken_catalog_is_told_whole_with_its_lines_and_ends_with_1(folder):
    plan = folder / "plans" / "solo.yaml"
    plan.write_text(PLAN.replace("included", "incluled").replace("eur", "florins"))
    said = run("catalog", "check", folder, ends=1).output
    assert FOUND in said
    assert "plans/solo.yaml:3:11: error: " in said
    assert said.endswith("errors and 0 warnings in 2 files.\n")


def test_a_catalog_with_warnings_is_good(folder):
    (folder / "features.yaml").write_text(FEATURES + "  spare: {type: boolean, name: Spare}\n")
    said = run("catalog", "check", folder).output
    assert "warning: " in said
    assert "0 errors and 1 warning in 2 files: 3 features" in said


def test_findings_as_json(folder):
    (folder / "features.yaml").write_text("features: {}\n")
    told = json.loads(run("catalog", "check", folder, "--json", ends=1).output)
    assert told["hash"] is None
    assert told["errors"] == sum(each["severity"] == "error" for each in told["findings"]) > 0
    assert {"path", "line", "column", "message"} <= told["findings"][0].keys()


def test_what_a_terminal_would_act_on_is_not_printed(folder):
    (folder / "plans" / "solo.yaml").write_text("plan: \x1b[31mred\n")
    assert "\x1b" not in run("catalog", "check", folder, ends=1).output


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_a_folder_that_is_no_catalog_cannot_be_checked(tmp_path, name):
    (tmp_path / "empty").mkdir()
    assert str(tmp_path / name) in run("catalog", "check", tmp_path / name, ends=2).output


def test_a_policy_is_printed_as_the_cedar_that_decides(folder):
    said = run("catalog", "show-policy", "solo", "tokens", "--catalog", folder).output
    comment, _, text = said.partition("\n")
    assert comment.startswith("// solo@")
    assert text == POLICY


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("solos", "tokens"), 'There is no plan "solos". Did you mean "solo"?'),
        (("solo", "token"), 'There is no feature "token". Did you mean "tokens"?'),
        (("solo", "x"), 'There is no feature "x". There are: seats, tokens.'),
    ],
)
def test_what_no_catalog_has_is_said_with_what_it_has(folder, words, sentence):
    assert sentence in run("catalog", "show-policy", *words, "--catalog", folder, ends=2).output


def test_a_policy_of_plans_with_errors_cannot_be_shown(folder):
    (folder / "features.yaml").write_text("features: {}\n")
    assert "catalog check" in run("catalog", "show-policy", "a", "b", "--catalog", folder, ends=2).output


def test_the_schemas_of_the_files_and_of_the_policies(folder):
    for kind in jsonschema.KINDS:
        assert json.loads(run("catalog", "schema", kind).output)["$schema"].startswith(
            "https://json-schema.org"
        )
    told = run("catalog", "schema", "--cedar", "--catalog", folder).output
    assert 'entity Feature enum ["seats", "tokens"];' in told
    assert "facts: Facts, request: Request" in told  # what guards read, not what permits do
    run("catalog", "schema", ends=2)
    run("catalog", "schema", "plan", "--cedar", ends=2)


@pytest.mark.parametrize(
    "words",
    [
        ("check", "acme", "tokens"),
        ("tenant", "list"),
        ("key", "list"),
        ("job", "run", "flush"),
        ("catalog", "history"),
        ("migrate",),
        ("doctor",),
    ],
)
def test_without_servers_one_sentence_says_how_to_get_some(tmp_path, words):
    said = run(*words, "--data", tmp_path, ends=2).output
    assert f"No instance runs on {tmp_path}. Start one with `metergate run" in said


@pytest.mark.parametrize("words", [("api",), ("worker",), ("tenant", "list")])
def test_a_wrong_configuration_is_told_whole(monkeypatch, words):
    monkeypatch.setenv("METERGATE_REDIS_URL", "http://127.0.0.1")
    monkeypatch.setenv("METERGATE_POSTGRES_CONNECTIONS", "many")
    said = run(*words, ends=2).output
    for name in (*SERVERS, "METERGATE_POSTGRES_CONNECTIONS"):
        assert name in said


@pytest.mark.parametrize(
    ("database", "redis"),
    [
        ("postgresql://u:se cret@[h/x", "redis://:secret@h:x"),
        ("host=h password='secret", "redis://:se/cret@h"),
    ],
)
def test_no_password_is_told_of_an_address_that_cannot_be_read(monkeypatch, database, redis):
    monkeypatch.setenv("METERGATE_DATABASE_URL", database)
    monkeypatch.setenv("METERGATE_REDIS_URL", redis)
    for words, ends in ((("doctor",), 1), (("tenant", "list"), 2)):
        said = run(*words, ends=ends).output
        assert "METERGATE_DATABASE_URL cannot be read" in said
        assert "cret" not in said


def test_a_misspelt_variable_is_noticed(monkeypatch):
    monkeypatch.setenv("METERGATE_REDIS_ULR", "redis://h")
    monkeypatch.setenv("METERGATE_REDIS_URL", "redis://h")
    said = run("doctor", ends=1).output
    assert "METERGATE_REDIS_ULR means nothing to this version. Did you mean METERGATE_REDIS_URL?" in said
    assert "METERGATE_DATABASE_URL is not set" in said


def test_only_a_name_that_is_close_is_guessed_and_a_file_is_said_to_win(monkeypatch, tmp_path):
    (tmp_path / "url").write_text("redis://h")
    monkeypatch.setenv("METERGATE_COLOUR", "x")
    monkeypatch.setenv("METERGATE_REDIS_URL", "redis://other")
    monkeypatch.setenv("METERGATE_REDIS_URL_FILE", str(tmp_path / "url"))
    said = run("doctor", ends=1).output
    assert "METERGATE_COLOUR means nothing to this version.\n" in said
    assert "METERGATE_REDIS_URL and METERGATE_REDIS_URL_FILE are both set; the file wins." in said


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("POSTGRES_CONNECTIONS", "many", "is to be a whole number from 1 to 9999, not `many`"),
        ("POSTGRES_CONNECTIONS", "0", "is to be a whole number from 1 to 9999, not `0`"),
        ("LOG_LEVEL", "loud", "is to be one of debug, info, warning, error, not `loud`"),
        ("DURABILITY", "eventual", "is to be one of standard, strict, lossy, not `eventual`"),
        (
            "DURABILITY",
            "lossy",
            (
                "is lossy, which loses acknowledged usage when a process is killed; it is for tests, and "
                "starts with METERGATE_ACCEPT_LOST_USAGE=1 alone"
            ),
        ),
        ("EMBEDDED", "maybe", "is to be 1 or 0, not `maybe`"),
        ("LOG_LEVEL_FILE", "/nowhere", "names /nowhere, which cannot be read: No such file or directory"),
    ],
)
def test_a_value_that_cannot_be_is_refused_in_plain_words(name, value, sentence):
    servers = dict(zip(SERVERS, ("postgresql://h/x", "redis://h"), strict=True))
    with pytest.raises(config.ConfigError) as refused:
        config.read(servers | {f"METERGATE_{name}": value})
    assert refused.value.findings == [f"METERGATE_{name} {sentence}"]


def test_of_a_variable_and_its_file_the_file_wins(tmp_path):
    (tmp_path / "url").write_text("redis://file\n")
    servers = dict(zip(SERVERS, ("postgresql://h/x", "redis://variable"), strict=True))
    found = config.read(servers | {"METERGATE_REDIS_URL_FILE": str(tmp_path / "url")})
    assert found.redis_url == "redis://file"


def test_an_empty_variable_is_one_that_is_not_set(monkeypatch):
    monkeypatch.setenv("METERGATE_DATABASE_URL", "postgresql://h/x")
    monkeypatch.setenv("METERGATE_REDIS_URL", "")
    assert "METERGATE_REDIS_URL is not set" in run("worker", ends=2).output


@pytest.mark.parametrize(
    "words",
    [
        ("check", "a b", "tokens"),
        ("check", "acme", "Tokens"),
        ("check", "acme", "tokens", "--entity", "x" * 129),
        ("check", "acme", "tokens", "--context", "region"),
        ("check", "acme", "tokens", "--context", "region=a", "--context", "region=b"),
        ("check", "acme", "tokens", "--context", "__entity=a"),
        ("tenant", "put", "acme", "--email", "not an address"),
        ("tenant", "put", "acme", "--name", "a\nb"),
        ("tenant", "subscribe", "acme", "solo", "--start-at", "2026-12-01T00:00:00"),
        ("tenant", "change", "acme", "solo"),
        ("tenant", "list", "--limit", "0"),
        ("key", "create", "ci"),
        ("key", "create", "ci", "--scope", "all"),
        ("key", "rotate", "k", "--overlap-hours", "-1"),
        ("job", "run", "nothing"),
        ("api", "--port", "65536"),
        ("catalog", "publish", "x", "--message", ""),
    ],
    ids=" ".join,
)
def test_arguments_out_of_bounds_are_refused_before_anything_is_opened(words):
    assert "Usage: metergate" in run(*words, ends=2).output


@pytest.mark.parametrize(
    ("number", "shown"), [(0, "0"), (1234567, "1,234,567"), ("1234.5", "1,234.5"), (None, "")]
)
def test_numbers_have_their_thousands_set_apart(number, shown):
    assert show.number(number) == shown


def test_a_table_that_is_no_terminals_has_one_line_a_row(capsys):
    show.table(["A", "B"], [("x" * 300, "[bold]y[/bold]\x1b[1m"), ("", ":smile:")])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[1] == "x" * 300 + "  [bold]y[/bold]\N{REPLACEMENT CHARACTER}[1m"


def test_a_reader_that_leaves_early_is_no_error_of_ours():
    reading, writing = os.pipe()
    os.close(reading)
    words = [sys.executable, "-m", "service", "catalog", "schema", "plan"]
    done = subprocess.run(words, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize(
    ("durability", "named", "there", "statuses"),
    [
        ("standard", 0, 0, []),
        ("standard", 0, 1, ["warning"]),
        ("standard", 1, 1, []),
        ("standard", 1, 0, ["wrong"]),
        ("strict", 1, 0, []),
    ],
)
def test_a_replica_that_nobody_waits_for_is_worth_a_word(durability, named, there, statuses):
    instance = config.Config(
        database_url="postgresql://h/x", redis_url="redis://h", durability=durability, redis_replicas=named
    )
    found = list(diagnose_redis._replicas(there, instance))
    assert [one.status for one in found] == statuses
