"""Two processes of the API and a worker beside them: what one changes holds in the other, soon and always.

Processes as `metergate api` starts them, on their own clock, spoken to over real connections.
"""

import asyncio
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from policies import limits
from service.context import Context
from store import keyspace
from tests.conftest import open_counters

ROOT = Path(__file__).parents[2]
ASK = {"tenantId": "acme", "featureId": "ai-tokens"}
PUSHED_S = 1.0
"""A change holds everywhere within this time,"""
POLLED_S = 5.0
"""and within this time where the word of it was lost."""


@contextmanager
def process(config, *words: str) -> Iterator[str]:
    """A process of ours, once it says that it runs; the address in what it says."""
    environment = os.environ | {
        "METERGATE_DATABASE_URL": config.database_url,
        "METERGATE_REDIS_URL": config.redis_url,
        "METERGATE_EMBEDDED": "1",
    }
    argv = [sys.executable, "-m", "service", *words]
    with subprocess.Popen(argv, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as running:
        try:
            assert running.stderr
            line = running.stderr.readline()
            assert "listens on" in line or "runs" in line, line
            found = re.search(r"http://\S+", line)
            yield found[0] if found else ""
        finally:
            running.terminate()
            running.wait(20)


class Side:
    """One process, and a client that keeps its connection."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def ask(self, **fields) -> dict:
        answer = await self.client.post("/v1/check", json=ASK | fields)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def sees(self, field: str, value: object, *, within_s: float) -> float:
        """Asks until the answer has this value; how long it took."""
        began = time.monotonic()
        while (answer := await self.ask())[field] != value:
            assert time.monotonic() - began < within_s, (field, answer[field], value)
            await asyncio.sleep(0.01)
        return time.monotonic() - began


@pytest.fixture
async def addresses(context: Context, config, catalog):
    """Two processes on an instance that a worker has made ready."""
    await open_counters(context)
    with process(config, "api", "--port", "0") as here, process(config, "api", "--port", "0") as there:
        yield here, there


@pytest.fixture
async def both(addresses, make_key):
    """A tenant on free, whom both have met."""
    headers = {"authorization": f"Bearer {await make_key()}"}
    here, there = addresses
    async with (
        httpx.AsyncClient(base_url=here, headers=headers, timeout=20) as one,
        httpx.AsyncClient(base_url=there, headers=headers, timeout=20) as other,
    ):
        (await one.put("/v1/tenants/acme", json={"name": "Acme"})).raise_for_status()
        (await one.post("/v1/tenants/acme/subscription", json={"planId": "free"})).raise_for_status()
        sides = Side(one), Side(other)
        for side in sides:
            await side.sees("planId", "free", within_s=POLLED_S)
        yield sides


async def change(side: Side, plan_id: str) -> None:
    body = {"planId": plan_id, "when": "now"}
    (await side.client.post("/v1/tenants/acme/subscription/change", json=body)).raise_for_status()


async def publish(side: Side, files: dict[str, str]) -> str:
    answer = await side.client.post("/v1/catalogs/publish", json={"files": files, "message": "m"})
    answer.raise_for_status()
    return answer.json()["hash"]


def renamed(files: dict[str, str], name: str) -> dict[str, str]:
    text = files["features.yaml"]
    assert "Premium voice model" in text
    return files | {"features.yaml": text.replace("Premium voice model", name)}


async def test_a_change_of_a_tenant_holds_in_the_next_check_everywhere(both):
    here, there = both
    for plan_id in ("pro", "starter", "pro", "free"):
        await change(here, plan_id)
        assert (await here.ask())["planId"] == plan_id
        assert (await there.ask())["planId"] == plan_id  # at once: within PUSHED_S is what is promised
        here, there = there, here


async def test_a_publish_holds_in_the_next_check_everywhere(both, example_files):
    here, there = both
    for name in ("Voice one", "Voice two"):
        published = await publish(here, renamed(example_files, name))
        assert (await here.ask())["catalog"] == published
        assert await there.sees("catalog", published, within_s=PUSHED_S) < PUSHED_S
        here, there = there, here


async def test_while_one_changes_the_other_never_goes_back(both):
    """Checks all the while: once the change is answered no check gives the old plan."""
    here, there = both
    stop = asyncio.Event()
    seen: list[tuple[float, str]] = []

    async def watch() -> None:
        while not stop.is_set():
            began = time.monotonic()
            seen.append((began, (await there.ask())["planId"]))

    watching = asyncio.create_task(watch())
    changed: list[tuple[float, str]] = []
    for plan_id in ("pro", "starter", "pro", "starter"):
        await change(here, plan_id)
        changed.append((time.monotonic(), plan_id))
        await asyncio.sleep(0.05)
    stop.set()
    await watching
    for (since, plan_id), until in zip(changed, [at for at, _ in changed[1:]] + [None], strict=True):
        spans = [plan for at, plan in seen if at > since and (until is None or at < until - 0.04)]
        assert set(spans) <= {plan_id}, (plan_id, spans)
    assert len(seen) > 20


async def test_a_word_that_was_lost_is_made_good(both, config, context: Context, example_files):
    """Version and catalog are deleted right after the change; a worker or the next look makes up for it."""
    here, there = both
    link = context.counters.link
    with process(config, "worker"):
        await change(here, "pro")
        await link.send([("DEL", keyspace.versions(keyspace.shard_of("acme")))])
        assert await there.sees("planId", "pro", within_s=POLLED_S) < POLLED_S
        published = await publish(here, renamed(example_files, "Voice three"))
        await link.send([("DEL", keyspace.catalog(shard)) for shard in range(keyspace.SHARDS)])
        assert (await here.ask())["catalog"] == published
        assert await there.sees("catalog", published, within_s=POLLED_S) < POLLED_S


# --- answers that leave in one piece ----------------------------------------------------------------


def request(secret: str, *headers: str, version: str = "1.1", body: bytes = b"") -> bytes:
    body = body or b'{"tenantId": "acme", "featureId": "ai-tokens"}'
    lines = [
        f"POST /v1/check HTTP/{version}", "host: x", f"authorization: Bearer {secret}",
        "content-type: application/json", f"content-length: {len(body)}", *headers, "", "",
    ]  # fmt: skip
    return "\r\n".join(lines).encode() + body


def spoken(address: str, *pieces: bytes, pause_s: float = 0) -> bytes:
    """What the server says to these bytes until it has been silent, or has hung up."""
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=1) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause_s)
        said = b""
        while True:
            try:
                got = connection.recv(65_536)
            except TimeoutError:
                return said + b"<silent>"
            if not got:
                return said
            said += got


async def test_answers_over_one_connection_are_those_of_http(both, addresses, make_key):
    secret = await make_key("check")
    address = addresses[0]
    one = await asyncio.to_thread(spoken, address, request(secret, "x-request-id: mine"))
    head, _, body = one.removesuffix(b"<silent>").partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 200 OK"
    assert {line.split(b":")[0] for line in lines[1:]} == {
        b"date",
        b"content-type",
        b"content-length",
        b"x-request-id",
    }
    assert b"content-length: %d" % len(body) in lines
    assert b"x-request-id: mine" in lines
    assert one.endswith(b"}<silent>")  # the connection is kept

    three = await asyncio.to_thread(spoken, address, request(secret) * 3)
    assert three.count(b"HTTP/1.1 200 OK") == three.count(b'"decisionId"') == 3
    assert three.endswith(b"<silent>")

    for closing in (request(secret, "connection: close"), request(secret, version="1.0")):
        last = await asyncio.to_thread(spoken, address, closing)
        assert last.endswith(b"}")
        assert b"connection: close\r\n" in last

    whole = request(secret, "expect: 100-continue")
    asked, _, rest = whole.partition(b"\r\n\r\n")
    told = await asyncio.to_thread(spoken, address, asked + b"\r\n\r\n", rest, pause_s=0.2)
    assert told.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")

    whole = request(secret)
    slow = await asyncio.to_thread(spoken, address, whole[:-20], whole[-20:], pause_s=0.05)
    assert slow.startswith(b"HTTP/1.1 200 OK")

    bad = await asyncio.to_thread(spoken, address, request(secret, body=b"{") + request(secret))
    assert bad.startswith(b"HTTP/1.1 400")
    assert bad.count(b"HTTP/1.1 200 OK") == 1
    large = await asyncio.to_thread(spoken, address, request(secret, body=b" " * (limits.BODY_BYTES + 1)))
    assert large.startswith(b"HTTP/1.1 413")
