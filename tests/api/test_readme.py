"""A new user types what the README says; it must do what the README promises."""

import re
import shlex
from pathlib import Path

import httpx
import msgspec
import pytest

from service import bootstrap
from tests.conftest import open_counters

README = Path(__file__).parents[2] / "README.md"
JSON = {"content-type": "application/json"}


@pytest.fixture
async def demo(api, context, catalog):
    """An instance as `scripts/run` leaves it: a tenant on each plan, the shards open."""
    await open_counters(context)
    for plan_id in bootstrap.DEMO_PLANS:
        await bootstrap.demo_tenant(context, plan_id)
    return api


def commands() -> list[list[str]]:
    """The curl commands of the README, as words."""
    text = README.read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    joined = "\n".join(blocks).replace("\\\n", " ")
    return [shlex.split(line) for line in joined.splitlines() if line.startswith("curl")]


async def test_the_commands_of_the_readme_do_what_it_says(demo):
    """Asked, reported, asked again: the last answer is the denial that is shown."""
    answers = []
    for words in commands():
        url = next(word for word in words if word.startswith("http"))
        body = words[words.index("-d") + 1]
        answer = await demo.post(httpx.URL(url).path, content=body, headers=JSON)
        assert answer.is_success, answer.text
        answers.append(msgspec.json.decode(answer.content))
    before, told, after, used = answers
    assert (before["allowed"], told["accepted"], after["allowed"]) == (True, 1, False)
    assert (after["reason"], after["remaining"]) == ("limit_reached", 100)
    assert after["reasons"][0]["policyId"] == "plan/free/ai-tokens/included"
    assert (used["consumed"], used["eventId"], used["remaining"]) == (True, "call-1", 100)
