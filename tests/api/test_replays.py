"""Replays over HTTP and on the command line: what an edited catalog would have answered."""

import json
import os
import pty
import subprocess
import sys
from datetime import datetime, timedelta

import pytest

from policies import limits
from service.usecases import replaying
from tests.api.test_command_line import ROOT, instance, run, served, told  # noqa: F401 - fixtures
from tests.conftest import CATALOG, NOW, open_counters

CHECK = {"tenantId": "acme", "featureId": "ai-tokens"}


@pytest.fixture
async def asked(api, context, catalog):
    """Acme on free (10,000 tokens) asked for 9,000 and for 20,000; idle never asked."""
    context.decisions._sample = 1
    await open_counters(context)
    for tenant_id in ("acme", "idle"):
        await api.put(
            f"/v1/tenants/{tenant_id}", json={"name": tenant_id, "metadata": {"ai-agreement": "signed"}}
        )
        await api.post(f"/v1/tenants/{tenant_id}/subscription", json={"planId": "free"})
    for quantity in (9_000, 20_000):
        assert (await api.post("/v1/check", json=CHECK | {"quantity": quantity})).status_code == 200
    await context.decisions.flush()
    return api


def edited(files, number):
    """The free plan with another number of tokens."""
    assert "included: 10_000\n" in files["plans/free.yaml"]
    return files | {"plans/free.yaml": files["plans/free.yaml"].replace("10_000\n", f"{number}\n")}


async def replayed(api, files, **said):
    answer = await api.post("/v1/catalogs/replay", json={"files": files} | said)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_an_edit_is_run_against_what_was_asked(asked, clock, example_files, context):
    clock.at = NOW.replace(hour=12)
    less = await replayed(asked, edited(example_files, 5_000))
    report = less["report"]
    assert (report["run"], report["same"], report["toDenied"], report["toAllowed"]) == (2, 1, 1, 0)
    assert report["changes"][0]["before"] == "within_limit"
    assert report["changes"][0]["after"] == "limit_reached"
    assert report["tenants"] == [{"tenantId": "acme", "denied": 1, "allowed": 0}]
    assert (less["unknownTenants"], less["unknownFirst"]) == (1, ["idle"])
    assert (less["from"], less["to"]) == ("2026-11-15T12:00:00Z", "2026-11-22T12:00:00Z")
    more = await replayed(asked, edited(example_files, 20_000))
    assert (more["report"]["toDenied"], more["report"]["toAllowed"]) == (0, 1)
    assert (await asked.get("/v1/catalog")).json()["hash"] == context.catalogs.active.hash


async def test_files_that_break_a_promise_of_theirs_can_be_tried(asked, clock, example_files):
    """Free would give more in a day than Starter: a publish refuses that, a replay shows what it does."""
    clock.at = NOW.replace(hour=12)
    refused = await asked.post("/v1/catalogs/check", json={"files": edited(example_files, 50_000)})
    assert refused.json()["publishable"] is False
    found = await replayed(asked, edited(example_files, 50_000))
    assert found["report"]["toAllowed"] == 1


async def test_the_time_and_the_tenant_are_chosen(asked, clock, example_files):
    clock.at = NOW.replace(hour=12)
    files = edited(example_files, 5_000)
    assert (await replayed(asked, files, last="1h"))["report"]["run"] == 0
    assert (await replayed(asked, files, last="3h"))["report"]["run"] == 2
    span = {"from": "2026-11-22T10:00:00Z", "to": "2026-11-22T10:00:01Z"}
    assert (await replayed(asked, files, **span))["report"]["run"] == 2
    assert (await replayed(asked, files, tenantId="idle"))["report"]["run"] == 0


@pytest.mark.parametrize(
    "said",
    [{"last": "7 days"}, {"last": "31d"}, {"last": "0d"}, {"last": "1d", "from": "2026-11-22T10:00:00Z"},
     {"from": "2026-11-22T10:00:00Z", "to": "2026-11-22T10:00:00Z"}, {"from": "2026-11-22T10:00:00"}],
    ids=str,
)  # fmt: skip
async def test_a_time_that_is_none_is_refused(asked, example_files, said):
    answer = await asked.post("/v1/catalogs/replay", json={"files": example_files} | said)
    assert answer.status_code == 422, answer.text


async def test_a_broken_catalog_and_a_key_of_a_tenant_are_refused(asked, example_files, make_key):
    broken = example_files | {"plans/free.yaml": "id: free\n"}
    answer = await asked.post("/v1/catalogs/replay", json={"files": broken})
    assert (answer.status_code, answer.json()["title"]) == (422, "The catalog has errors")
    meaning = {path: text.replace("type: metered", "type: boolean") for path, text in example_files.items()}
    assert (await asked.post("/v1/catalogs/replay", json={"files": meaning})).status_code in (409, 422)
    bound = {"authorization": f"Bearer {await make_key(tenant_id='acme')}"}
    answer = await asked.post("/v1/catalogs/replay", json={"files": example_files}, headers=bound)
    assert answer.status_code == 403


async def test_only_so_many_are_run_for_a_caller_who_waits(asked, clock, example_files, monkeypatch):
    clock.at = NOW.replace(hour=12)
    monkeypatch.setattr(limits, "REPLAY_HTTP_DECISIONS", 1)
    found = await replayed(asked, example_files)
    assert (found["report"]["run"], found["leftOut"]) == (1, 1)


async def test_a_replay_that_dies_is_told(asked, clock, example_files, monkeypatch):
    clock.at = NOW.replace(hour=12)
    monkeypatch.setattr(replaying, "CHILD", (sys.executable, "-c", "raise SystemExit(3)"))
    answer = await asked.post("/v1/catalogs/replay", json={"files": example_files})
    assert answer.status_code == 503
    assert "died" in answer.json()["detail"]


@pytest.fixture
def folder(tmp_path):
    """A function that writes the bundled catalog with another number of tokens in the free plan."""

    def write(number):
        for path in CATALOG.rglob("*"):
            if path.is_file() and "tests" not in path.parts:
                target = tmp_path / path.relative_to(CATALOG)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(path.read_text().replace("included: 10_000\n", f"included: {number}\n"))
        return tmp_path

    return write


@pytest.fixture
def denied(served, monkeypatch):  # noqa: F811 - the fixture
    """Acme was allowed 9,000 tokens; every allow is kept."""
    monkeypatch.setenv("METERGATE_DECISION_LOG_SAMPLE", "1")
    run("tenant", "put", "acme", "--metadata", "ai-agreement=signed")
    run("check", "acme", "ai-tokens", "--quantity", "9000")
    return served


def test_the_command_says_what_flips_and_ends_with_it(denied, folder):
    same = run("catalog", "replay", folder("10_000"))
    assert "1 logged decisions" in same.output
    less = run("catalog", "replay", folder("5_000"), "--last", "1d", ends=1)
    assert "ai-tokens on free: within_limit becomes limit_reached, 1 answers (1 logged)" in less.output
    assert told("catalog", "replay", folder("5_000"), "--tenant", "other")["report"]["run"] == 0
    run("catalog", "replay", folder("no number"), ends=2)
    run("catalog", "replay", folder("10_000"), "--last", "soon", ends=2)


def test_a_question_may_be_asked_of_an_instant(denied):
    """A minute ahead, with nothing scheduled, is as now; before the first catalog nothing can be said."""
    plain = told("check", "acme", "ai-tokens")
    soon = datetime.fromisoformat(plain["asOf"]).replace(microsecond=0) + timedelta(minutes=1)
    again = told("check", "acme", "ai-tokens", "--at", soon.strftime("%Y-%m-%dT%H:%M:%S"))
    assert datetime.fromisoformat(again["asOf"]) == soon
    assert again | {"asOf": "", "decisionId": ""} == plain | {"asOf": "", "decisionId": ""}
    run("check", "acme", "ai-tokens", "--at", "2020-01-01", ends=2)


def test_decisions_are_listed_shown_and_run_again(denied):
    run("check", "acme", "ai-tokens", "--quantity", "20000", ends=1)
    items = told("decisions", "list", "--tenant", "acme", "--outcome", "denied")["items"]
    assert [one["reason"] for one in items] == ["limit_reached"]
    decision_id = items[0]["decisionId"]
    assert decision_id in run("decisions", "list").output
    shown = run("decisions", "show", decision_id).output
    assert "denied: limit_reached" in shown
    assert "0 included, 0 overage" in shown
    assert "the same" in run("decisions", "rerun", decision_id).output
    assert told("decisions", "rerun", decision_id)["same"] is True
    run("decisions", "show", "dec_nothing", ends=2)


def test_a_person_at_a_terminal_sees_how_far_it_is(denied, folder):
    controller, terminal = pty.openpty()
    words = [sys.executable, "-m", "service", "catalog", "replay", str(folder("10_000")), "--json"]
    with os.fdopen(controller, "rb", buffering=0) as seen:
        done = subprocess.run(
            words, cwd=ROOT, stdout=subprocess.PIPE, stderr=terminal, check=True,
            env=os.environ | {"TERM": "xterm"},
        )  # fmt: skip
        os.close(terminal)
        said = b""
        try:
            while part := seen.read(4096):
                said += part
        except OSError:
            pass  # the terminal's other end is closed
    assert b"replay" in said
    assert json.loads(done.stdout)["report"]["run"] == 1
