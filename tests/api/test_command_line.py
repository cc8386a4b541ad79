"""The commands that speak to an instance: what they do to it, what they print, how they end."""

import asyncio
import contextlib
import json
import os
import pty
import pwd
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import psycopg
import pytest
import redis
from click.testing import CliRunner

from jobs.schedule import JOBS
from policies import errors
from policies.decision import Decision
from service import wiring
from service.cli.program import metergate
from service.usecases import keys, report
from store import keyspace
from tests.conftest import CATALOG

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-m", "service"]
ME = f"cli:{pwd.getpwuid(os.getuid()).pw_name}"


@pytest.fixture
def instance(config, monkeypatch):
    """The servers of a test, named by the environment; their database has a schema and nothing else."""
    monkeypatch.setenv("METERGATE_DATABASE_URL", config.database_url)
    monkeypatch.setenv("METERGATE_REDIS_URL", config.redis_url)
    return config


@pytest.fixture
def served(instance_after):
    """The example catalog is active, a worker has been there, and acme is on the free plan."""
    return instance_after(serve)


def serve():
    run("catalog", "publish", CATALOG, "--message", "example")
    run("job", "run", "flush")
    run("tenant", "put", "acme", "--name", "Acme")
    run("tenant", "subscribe", "acme", "free")


def run(*words, ends=0):
    done = CliRunner().invoke(metergate, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == ends, done.output
    return done


def told(*words, ends=0):
    return json.loads(run(*words, "--json", ends=ends).stdout)


def audit(instance):
    with psycopg.connect(instance.database_url) as connection:
        return connection.execute(
            "select action, subject, actor, request_id from audit order by seq"
        ).fetchall()


def lines_of(done, part):
    """Status and sentence of what the doctor said of a part."""
    split = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    return [(status, sentence) for status, name, sentence in split if name == part]


def test_a_tenant_from_its_making_to_its_end(served):
    run("tenant", "put", "globex", "--name", "Globex", "--email", "a@globex.test", "--metadata", "crm=17")
    assert told("tenant", "show", "globex")["subscription"] is None
    assert "No subscription." in run("tenant", "show", "globex").output

    assert told("tenant", "subscribe", "globex", "pro", "--trial")["planId"] == "pro"
    moved = told("tenant", "change", "globex", "starter", "--when", "renewal")
    assert [phase["planId"] for phase in moved["phases"]] == ["pro", "starter"]
    assert told("tenant", "cancel", "globex")["endsAt"] is not None
    assert told("tenant", "resume", "globex")["endsAt"] is None
    assert told("tenant", "cancel", "globex", "--when", "now")["state"] == "ended"

    shown = run("tenant", "show", "globex").output
    for part in ("Tenant globex", "a@globex.test", "crm=17", ": ended", "pro ("):
        assert part in shown
    assert [item["tenantId"] for item in told("tenant", "list", "--query", "GLOB")["items"]] == ["globex"]


def test_add_ons_and_the_billing_status_of_a_subscription(served):
    run("tenant", "put", "globex")
    made = told("tenant", "subscribe", "globex", "pro", "--addon", "token-pack=3")
    assert [(one["addonId"], one["quantity"]) for one in made["addons"]] == [("token-pack", 3)]
    assert told("tenant", "change", "globex", "starter", "--when", "now")["addons"] == made["addons"]
    more = told("tenant", "change", "globex", "--when", "now", "--addon", "token-pack")
    assert (more["addons"][0]["quantity"], more["planId"]) == (1, "starter")
    assert told("tenant", "change", "globex", "--when", "now", "--no-addons")["addons"] == []

    billed = told("tenant", "billing", "globex", "grace", "--reason", "payment failed", "--schedule")
    assert [fact["status"] for fact in billed["billing"]] == ["grace", "restricted", "suspended"]
    shown = run("tenant", "show", "globex").output
    for part in ("with 3 of token-pack", "billing status  grace", "restricted from ", "7 days of grace over"):
        assert part in shown
    good = ("good", "--reason", "by wire", "--until", "2099-01-01T00:00:00Z")
    assert told("tenant", "billing", "globex", *good)["billingStatus"] == "good"
    shown = run("tenant", "billing", "globex").output
    assert "Billing status of globex: good" in shown
    assert "said by hand until 2099-01-01" in shown
    assert told("tenant", "billing", "globex")["byHand"]["reason"] == "by wire"
    assert told("tenant", "billing", "globex", "--lift", "--reason", "bounced")["billingStatus"] == "good"
    for words, why in (
        (("good",), "Missing option '--reason'"),
        (("good", "--lift", "--reason", "r"), "exclude each other"),
        (("--until", "2099-01-01T00:00:00Z"), "need a STATUS"),
        (("good", "--reason", "r", "--until", "soon"), "until: An instant is a text as RFC 3339 has it"),
    ):
        assert why in run("tenant", "billing", "globex", *words, ends=2).stderr
    for words, why in (
        (("--addon", "token-pack=many"), "is no number from 1 to 100,000"),
        (("--addon", "token-pack", "--addon", "token-pack=2"), "given twice"),
        (("--addon", "token-pak"), 'Did you mean "token-pack"?'),
        (("--addon", "token-pack", "--no-addons"), "exclude each other"),
    ):
        assert why in run("tenant", "change", "globex", "--when", "now", *words, ends=2).stderr


def test_grants_are_given_listed_and_voided(served):
    made = told("tenant", "grant", "acme", "ai-tokens", "500", "--reason", "sorry", "--priority", "7")
    assert (made["quantity"], made["priority"], made["voidedAt"]) == (500, 7, None)
    run(
        "tenant",
        "grant",
        "acme",
        "api-calls",
        "20",
        "--reason",
        "beta",
        "--expires-at",
        "2099-01-01T00:00:00Z",
    )
    assert len(told("tenant", "grants", "acme")["items"]) == 2
    assert [
        one["grantId"] for one in told("tenant", "grants", "acme", "--feature", "ai-tokens")["items"]
    ] == [made["grantId"]]
    first = run("tenant", "grants", "acme", "--limit", "1")
    assert f"--after {made['grantId']}" in first.stderr
    assert "beta" in run("tenant", "grants", "acme", "--after", made["grantId"]).stdout
    assert "2099-01-01" in run("tenant", "grants", "acme").stdout
    ended = told("tenant", "void-grant", "acme", made["grantId"], "--reason", "by mistake")
    assert ended["voidedAt"] is not None
    for words, why in (
        (("grant", "acme", "ai-tokens", "1.5", "--reason", "r"), "at most 0 digits"),
        (("grant", "acme", "max-projects", "5", "--reason", "r"), "not metered"),
        (("grant", "acme", "ai-tokens", "5"), "--reason"),
        (("void-grant", "acme", "grt_0", "--reason", "r"), 'has no grant "grt_0"'),
    ):
        assert why in run("tenant", *words, ends=2).stderr


def test_terms_are_overridden_kept_and_lifted(served):
    def put(*words, ends=0):
        return told("tenant", "override", "acme", *words, "--reason", "agreed", ends=ends)

    assert put("ai-tokens", "--included", "unlimited")["included"] == "unlimited"
    kept = put("ai-tokens", "--ends-at", "2099-01-01T00:00:00Z")
    assert (kept["included"], kept["endsAt"]) == ("unlimited", "2099-01-01T00:00:00Z")
    assert put("ai-tokens", "--lift", "ends-at", "--included", "20000")["endsAt"] is None
    assert put("premium-voice-model", "--value", "true")["value"] is True
    assert put("max-projects", "--value", "70")["value"] == 70
    assert put("data-region", "--value", '"true"')["value"] == "true"
    table = run("tenant", "overrides", "acme").stdout
    assert [line.split()[:2] for line in table.splitlines()[1:]] == [
        ["ai-tokens", "20,000"], ["data-region", "true"], ["max-projects", "70"],
        ["premium-voice-model", "true"],
    ]  # fmt: skip
    assert told("tenant", "overrides", "acme", "--at", "2020-01-01T00:00:00Z")["items"] == []
    assert put("ai-tokens", "--lift", "included")["endsAt"] is not None
    assert told("tenant", "lift", "acme", "max-projects")["value"] == 70
    assert len(told("tenant", "overrides", "acme")["items"]) == 2
    for words, why in (
        (("override", "acme", "ai-tokens", "--reason", "r"), "Say what is overridden of ai-tokens"),
        (("override", "acme", "ai-tokens", "--value", "{", "--reason", "r"), "not JSON"),
        (("override", "acme", "data-region", "--value", "eu", "--lift", "value", "--reason", "r"), "at once"),
        (("lift", "acme", "ai-tokens"), "Nothing is overridden"),
    ):
        assert why in run("tenant", *words, ends=2).stderr


def test_every_change_is_audited_as_that_of_the_person_at_the_terminal(served):
    run("tenant", "put", "acme", "--name", "Acme Ltd")
    run("key", "create", "ci", "--scope", "check")
    lines = audit(served)
    assert [action for action, *_ in lines] == [
        "catalog.publish",
        "tenant.create",
        "subscription.start",
        "tenant.update",
        "key.create",
    ]
    assert {actor for _, _, actor, _ in lines} == {ME}
    requests = [request_id for *_, request_id in lines]
    assert len(set(requests)) == len(requests)
    assert all(each.startswith("cli_") for each in requests)


def test_what_cannot_be_done_says_why_and_changes_nothing(served):
    before = audit(served)
    for words, why in (
        (("tenant", "subscribe", "acme", "pro"), "The tenant has a subscription, which is active"),
        (("tenant", "subscribe", "nobody", "pro"), 'There is no tenant "nobody".'),
        (("tenant", "change", "acme", "prro", "--when", "now"), 'Did you mean "pro"?'),
        (("tenant", "resume", "acme"), "No end is scheduled"),
        (("tenant", "show", "nobody"), 'There is no tenant "nobody".'),
        (("key", "revoke", "key_0"), 'There is no key "key_0".'),
        (("key", "create", "ci", "--scope", "check", "--tenant", "nobody"), 'There is no tenant "nobody".'),
    ):
        done = run(*words, ends=2)
        assert why in done.stderr
        assert done.stdout == ""
    assert audit(served) == before


def test_a_list_says_that_there_is_more(served):
    run("tenant", "put", "globex")
    first = run("tenant", "list", "--limit", "1")
    assert first.stdout.splitlines()[1].startswith("acme")
    assert "--after acme" in first.stderr
    rest = run("tenant", "list", "--limit", "1", "--after", "acme")
    assert rest.stdout.splitlines()[1].startswith("globex")
    assert rest.stderr == ""


def test_the_secret_of_a_key_is_the_whole_output_and_is_shown_once(served):
    done = run("key", "create", "ci", "--scope", "check", "--scope", "report", "--tenant", "acme")
    secret = done.stdout.removesuffix("\n")
    assert keys.well_formed(secret)
    (item,) = told("key", "list")["items"]
    assert (item["scopes"], item["tenantId"]) == (["check", "report"], "acme")
    assert secret not in run("key", "list").output

    renewed = run("key", "rotate", item["keyId"], "--overlap-hours", "0").stdout.removesuffix("\n")
    assert keys.well_formed(renewed)
    assert renewed != secret
    (other,) = (each for each in told("key", "list")["items"] if each["keyId"] != item["keyId"])
    assert "was revoked" in run("key", "revoke", other["keyId"]).output
    assert told("key", "revoke", other["keyId"])["revokedAt"] is not None


CLAUSE = "principal.unlimited || context.drawn + context.requested <= 10000 + principal.extra"


def test_an_allowed_check_in_words_and_with_its_clauses(served):
    said = run("check", "acme", "ai-tokens", "--quantity", "150", "--explain").output
    assert said.startswith("allowed: 10,000 of 10,000 tokens left until ")
    assert "within_limit, by plan/free/ai-tokens/included at plans/free.yaml:" in said
    assert "used       0 of 10,000\n" in said
    assert f"  ✓ {CLAUSE}   (plans/free.yaml:" in said
    assert "      principal.unlimited = false, context.drawn = 0, context.requested = 150, " in said
    assert "✗" not in said


def test_a_denied_check_ends_with_1_and_shows_the_clause_that_fails(served):
    said = run("check", "acme", "ai-tokens", "--quantity", "10001", "--explain", ends=1).output
    assert said.startswith("denied: Limit reached: 10,001 asked, 10,000 of 10,000 tokens left; resets ")
    assert said.count("✗") == 1
    assert f"  ✗ {CLAUSE}" in said


def test_clauses_stand_under_the_permit_that_they_belong_to(served):
    run("tenant", "change", "acme", "pro", "--when", "now")
    said = run("check", "acme", "ai-tokens", "--explain").output
    included, overage = said.split("plan/pro/ai-tokens/overage permits")
    assert "plan/pro/ai-tokens/included permits" in included
    assert "!principal.trial" in overage
    assert "!principal.trial" not in included
    assert "+ 4000000 +" not in included


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("nobody", "ai-tokens"), "unknown_tenant"),
        (("acme", "nothing"), "unknown_feature"),
        (("acme", "premium-voice-model"), "feature_not_in_plan"),
    ],
)
def test_what_nothing_permits_is_denied_with_its_reason(served, words, reason):
    assert reason in run("check", *words, "--explain", ends=1).output


def test_a_check_as_json_is_the_decision(served):
    decision = told("check", "acme", "ai-tokens", "--context", "region=eu", "--entity", "ann")
    fields = {field.encode_name for field in msgspec.structs.fields(Decision)}
    assert set(decision) | {"clauses", "derivation", "wouldAllow"} == fields
    assert (decision["allowed"], decision["entityId"]) == (True, "ann")
    assert "clauses" in told("check", "acme", "ai-tokens", "--quantity", "99999", "--explain", ends=1)


@pytest.mark.parametrize(
    "words", [("--quantity", "-5"), ("--quantity", "1.5"), ("--quantity", "x"), ("--context", "city=Rome")]
)
def test_a_question_that_makes_no_sense_is_refused(served, words):
    assert run("check", "acme", "ai-tokens", *words, ends=2).stdout == ""


def test_a_check_while_no_worker_has_been_there_says_that_it_is_degraded(instance):
    run("catalog", "publish", CATALOG, "--message", "example")
    run("tenant", "put", "acme")
    run("tenant", "subscribe", "acme", "free")
    said = run("check", "acme", "ai-tokens", ends=1).output
    assert "fallback" in said
    assert "degraded" in said


def test_a_catalog_is_published_once_and_told_in_the_history(instance):
    first = told("catalog", "publish", CATALOG, "--message", "one")
    changes = first["preview"]["comparison"]["changes"]
    assert (first["published"], {one["kind"] for one in changes if one["subject"] == "plan"}) == (
        True,
        {"new"},
    )
    again = told("catalog", "publish", CATALOG, "--message", "two")
    assert (again["published"], again["hash"]) == (False, first["hash"])
    assert "active already" in run("catalog", "publish", CATALOG, "--message", "two").output
    history = told("catalog", "history")
    assert history["active"] == first["hash"]
    assert [(item["message"], item["author"]) for item in history["items"]] == [("one", ME)]
    assert f"{first['hash']} (active)" in run("catalog", "history").output


def test_a_catalog_with_errors_is_not_published(instance, tmp_path):
    (tmp_path / "features.yaml").write_text("features: {}\n")
    done = run("catalog", "publish", tmp_path, "--message", "broken", ends=1)
    assert "error: the catalog has no plan" in done.output
    assert done.output.endswith("Nothing was published.\n")
    assert told("catalog", "publish", tmp_path, "--message", "broken", ends=1)["errors"] > 0
    assert told("catalog", "history")["items"] == []


def test_at_a_terminal_a_publish_only_says_what_it_would_do(instance):
    words = ["catalog", "publish", str(CATALOG), "--message", "first"]
    status, said = at_a_terminal(*words)
    assert (status, "4 plans (enterprise, free, pro, starter)" in said, "--message first --yes" in said) == (
        0,
        True,
        True,
    )
    assert told("catalog", "history")["items"] == []
    status, said = at_a_terminal(*words, "--yes")
    assert (status, "is published and active" in said) == (0, True)
    assert len(told("catalog", "history")["items"]) == 1


def at_a_terminal(*words):
    ours, theirs = pty.openpty()
    process = subprocess.Popen([*PROGRAM, *words], cwd=ROOT, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = b""
    while chunk := read(ours):
        said += chunk
    os.close(ours)
    return process.wait(), said.decode()


def read(terminal):
    try:
        return os.read(terminal, 4096)
    except OSError:  # how Linux says that nobody writes any more
        return b""


def test_policies_are_those_of_the_active_catalog(served):
    said = run("catalog", "show-policy", "free", "ai-tokens").output
    assert f"from the active catalog {told('catalog', 'history')['active']}" in said
    assert 'resource == Feature::"ai-tokens"' in said
    assert '"ai-tokens"' in run("catalog", "schema", "--cedar").output


def test_where_no_catalog_is_active_there_is_no_policy_to_show(instance):
    assert "--catalog" in run("catalog", "show-policy", "pro", "ai-tokens", ends=2).stderr


def test_a_job_is_listed_and_run(instance):
    assert [job["name"] for job in told("job", "list")] == [one.name for one in JOBS]
    assert run("job", "run", "flush").output == "flush: opened 256 shards\n"
    assert told("job", "run", "flush") == {"name": "flush", "done": ""}
    assert run("job", "run", "flush").output == "flush: nothing to do\n"


def test_the_books_are_right_until_somebody_touches_a_counter(served):
    run("check", "acme", "ai-tokens")  # a counter of acme is still to come
    assert told("books", "check") == {"tenants": 1, "open": [], "unsure": {}}
    assert "Looked at 1 tenant: nothing differs." in run("books", "check", "--tenant", "acme").output
    assert run("books", "list").output == "All books were gone through: not once yet.\n"
    tenant = keyspace.shard_of("acme")
    with redis.Redis.from_url(served.redis_url) as client:
        client.hset(keyspace.counters(tenant, "acme", "n.0"), "ai-tokens:i", 7)
    (found,) = told("books", "check", "--pause", "0", ends=1)["open"]
    assert (found["class"], found["tenantId"], found["expected"], found["actual"]) == (
        "counter_foreign",
        "acme",
        0,
        7,
    )
    (line,) = [each for each in run("books", "list", ends=1).output.splitlines() if "drf_" in each]
    assert line.split()[:5] == [found["driftId"], "counter_foreign", "acme", "n.0", "ai-tokens:i"]
    assert told("books", "list", "--class", "hold_missing") == {"items": [], "lookedThrough": None}
    shown = run("books", "show", found["driftId"], ends=1).output
    assert "why safe" in shown
    assert "evidence: counter" in shown
    assert "no drift" in run("books", "show", "drf_0", ends=2).stderr
    with redis.Redis.from_url(served.redis_url) as client:
        client.delete(keyspace.counters(tenant, "acme", "n.0"))
    assert told("books", "check", "--tenant", "acme")["open"] == []
    assert told("books", "list")["items"] == []
    assert [one["state"] for one in told("books", "list", "--all")["items"]] == ["gone"]
    with redis.Redis.from_url(served.redis_url) as client:
        client.delete(keyspace.fence(tenant))
    assert "is closed" in run("books", "check", "--tenant", "acme", "--pause", "0", ends=2).stderr
    assert "no tenant" in run("books", "check", "--tenant", "nobody", ends=2).stderr


def test_the_doctor_says_what_a_new_database_lacks(instance):
    done = run("doctor", ends=1)
    assert [status for status, _ in lines_of(done, "schema")] == ["ok"]
    assert lines_of(done, "catalog") == [
        ("wrong", "No catalog is active; run `metergate catalog publish`."),
    ]
    ((status, sentence),) = lines_of(done, "worker")
    assert (status, sentence.startswith("0 of 256 shards are open")) == ("wrong", True)


def test_the_doctor_finds_what_is_wrong_and_nothing_else(served):
    """The database of the tests does not wait for its disk; that is all that is wrong with it."""
    checks = told("doctor", ends=1)["checks"]
    assert [each["detail"] for each in checks if each["status"] == "wrong"] == [
        "fsync is off: a power cut can destroy the database. Switch it on."
    ]
    assert not [each for each in checks if each["status"] == "warning"]
    assert "256 of 256 shards are open" in checks[-2]["detail"]
    assert checks[-1]["detail"].startswith("METERGATE_STRIPE_KEY is not set: nothing is charged")


def test_the_doctor_names_every_setting_of_redis_that_loses_usage(served):
    with redis.Redis.from_url(served.redis_url) as client:
        client.config_set("appendfsync", "everysec")
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            done = run("doctor", ends=1)
        finally:
            client.config_set("appendfsync", "always")
            client.config_set("maxmemory-policy", "noeviction")
    wrong = [sentence for status, sentence in lines_of(done, "redis") if status == "wrong"]
    assert len(wrong) == 2
    assert wrong[0].startswith("`appendfsync` is `everysec`")
    assert wrong[1].startswith("`maxmemory-policy` is `allkeys-lru`")


def test_the_doctor_knows_a_database_without_schema(servers, instance, monkeypatch):
    monkeypatch.setenv("METERGATE_DATABASE_URL", servers.database_url.replace("/metergate?", "/postgres?"))
    ((status, sentence),) = lines_of(run("doctor", ends=1), "schema")
    assert status == "wrong"
    assert sentence.endswith("run `metergate migrate`.")
    assert "run `metergate migrate`" in run("tenant", "list", ends=2).stderr


def test_a_database_that_does_not_exist_is_no_server_that_is_away(servers, instance, monkeypatch):
    monkeypatch.setenv("METERGATE_DATABASE_URL", servers.database_url.replace("/metergate?", "/nowhere?"))
    ((status, sentence),) = lines_of(run("doctor", ends=1), "postgres")
    assert status == "wrong"
    assert sentence.startswith("It answers at ")
    assert 'and refuses: database "nowhere" does not exist.' in sentence
    assert "Is it running" not in sentence
    assert 'refuses: database "nowhere" does not exist' in run("tenant", "list", ends=2).stderr


def test_a_report_on_nobody_is_refused_and_one_on_a_tenant_without_usage_is_empty(served):
    async def asked(tenant_id):
        async with wiring.open_context(served) as context:
            return await report.usage(context, report.Question(tenant_id=tenant_id, feature_id="ai-tokens"))

    assert asyncio.run(asked("acme")).total == 0
    with pytest.raises(errors.InvalidError) as refused:
        asyncio.run(asked("nobody"))
    (field,) = refused.value.errors
    assert (field.pointer, field.message) == ("?tenantId", "There is no tenant nobody.")


def listening_line(*words):
    """What the process says first of all by its own logger, once it works; then it is asked to stop."""
    process = subprocess.Popen([*PROGRAM, *words], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    said = next((line for line in process.stderr if " INFO metergate " in line), "")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    return said


def test_the_api_says_where_it_listens_and_the_worker_that_it_runs(instance):
    assert re.search(
        r"The API listens on http://127\.0\.0\.1:[1-9]\d+$", listening_line("api", "--port", "0")
    )
    assert "The worker runs; its jobs: flush, inbox" in listening_line("worker")


def test_servers_that_are_away_are_told_without_their_passwords(instance, monkeypatch):
    with socket.socket() as taken:  # bound, not listening: every connection is refused
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        monkeypatch.setenv("METERGATE_DATABASE_URL", f"postgresql://me:secret@127.0.0.1:{port}/x")
        monkeypatch.setenv("METERGATE_REDIS_URL", f"redis://:secret@127.0.0.1:{port}")
        done = run("doctor", ends=1)
        for part in ("postgres", "redis"):
            ((status, sentence),) = lines_of(done, part)
            assert status == "wrong"
            assert sentence.startswith("It does not answer at ")
        assert "secret" not in done.output
        for words in (("tenant", "list"), ("check", "a", "b"), ("job", "run", "flush"), ("migrate",)):
            assert "Traceback" not in run(*words, ends=2).output


def test_a_running_instance_is_found_by_its_data_folder(servers, monkeypatch):
    for name in ("METERGATE_DATABASE_URL_FILE", "METERGATE_REDIS_URL"):
        monkeypatch.setenv(name, "/nowhere")
    done = run("doctor", "--data", servers.data, ends=1)
    ((status, sentence),) = lines_of(done, "variables")
    assert (status, "the instance that runs on this machine" in sentence) == ("ok", True)
    assert lines_of(done, "postgres")[0][0] == "ok"
    assert lines_of(done, "redis")[0][0] == "ok"


def _interrupted(process: subprocess.Popen[bytes]) -> bytes:
    """Its error output after Ctrl-C, pressed until it ends: a driver may take one for a network fault."""
    for patience_s in (0.02, 0.02, *(0.1 for _ in range(200))):
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=patience_s)[1]
    raise AssertionError("it goes on")


def test_ctrl_c_ends_a_command_that_waits_without_a_traceback(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and says nothing
        port = silent.getsockname()[1]
        monkeypatch.setenv("METERGATE_DATABASE_URL", f"postgresql://127.0.0.1:{port}/x")
        monkeypatch.setenv("METERGATE_REDIS_URL", f"redis://127.0.0.1:{port}")
        process = subprocess.Popen(
            [*PROGRAM, "doctor"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        connection, _ = silent.accept()
        with connection:
            complaint = _interrupted(process)
    assert process.returncode == 130, complaint
    assert b"Traceback" not in complaint


def test_what_differs_is_planned_shown_tried_and_applied(served):
    run("tenant", "billing", "acme", "good", "--reason", "by wire")
    run("tenant", "billing", "acme", "--lift", "--reason", "over")
    assert "Nothing differs." in run("reconcile", "plan", "--once").output
    with psycopg.connect(served.database_url) as connection:
        connection.execute(
            "insert into billing_statuses (tenant_id, subscription_id, since, status, reason)"
            " select tenant_id, subscription_id, now(), 'suspended', 'by mistake' from subscriptions"
        )
    assert "1          " in run("reconcile", "plan", "--once", ends=1).output, "suspected"
    with psycopg.connect(served.database_url) as connection:  # a minute passes
        connection.execute(
            "update reconcile_findings set first_seen_at = first_seen_at - interval '2 minutes'"
        )
    plan = told("reconcile", "plan", "--once", ends=1)
    assert [one["finding"]["class"] for one in plan["proposals"]] == ["status_stale"]
    shown = run("reconcile", "show", plan["planId"], ends=1).output
    for part in (
        "status_stale acme of acme",
        "expected good, found suspended",
        "lay: lay it anew. It follows",
        "At risk: no money; the oldest is open since 20",
    ):
        assert part in shown
    tried = run("reconcile", "apply", plan["planId"], ends=1).output
    assert "Nothing was done" in tried
    assert told("tenant", "billing", "acme")["status"] == "suspended"
    assert (
        "done: the billing status was laid anew"
        in run("reconcile", "apply", plan["planId"], "--execute").output
    )
    assert told("tenant", "billing", "acme")["status"] == "good"
    run("reconcile", "plan", "--once")
    assert "There is no plan" in run("reconcile", "show", "pln_0", ends=2).stderr
