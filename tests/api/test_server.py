"""What a client may do to a real connection: too much, too slow, too odd, at the wrong moment."""

import asyncio
import contextlib
import gc
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from policies import errors, limits
from service.api import decode, server
from service.api.app import make_app
from tests.api import echo

ROOT = Path(__file__).parents[2]
HUGE = 100 * 1024 * 1024
CHUNK = 64 * 1024

Address = tuple[str, int]


class Running:
    """A server in a process of its own, whose memory is its own."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.api.echo"], cwd=ROOT, stdout=subprocess.PIPE
        )
        assert self.process.stdout
        self.address = ("127.0.0.1", int(self.process.stdout.readline()))

    def most_memory(self) -> int:
        """The most that was resident at any time, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line) * 1024

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    started = Running()
    yield started
    assert started.process.stdout
    with started.process.stdout:
        started.stop()


class Connection:
    """Bytes to the server, and answers back."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> tuple[int, bytes]:
        """The next answer: its status and its body."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
        return int(head.split()[1]), await self.reader.readexactly(int(length.split(b":")[1]))


@contextlib.asynccontextmanager
async def connected(address: Address) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection(*address)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


def head(request: str, *headers: str) -> bytes:
    return "\r\n".join([f"{request} HTTP/1.1", "host: metergate", *headers, "", ""]).encode("latin-1")


JSON = "content-type: application/json"
CHUNKED = "transfer-encoding: chunked"


async def test_100_mb_that_are_announced_are_refused_unread(running: Running):
    async with connected(running.address) as connection:
        await connection.send(head("POST /echo", JSON, f"content-length: {HUGE}"))
        status, told = await connection.answer()
    assert (status, b"problems/too-large" in told) == (413, True)


@pytest.mark.parametrize("length", [HUGE * 10**9, 10**30])
async def test_an_absurd_length_is_refused(running: Running, length: int):
    async with connected(running.address) as connection:
        await connection.send(head("POST /echo", JSON, f"content-length: {length}"))
        assert (await connection.answer())[0] in (400, 413)


@pytest.mark.parametrize("path", ["/echo", "/lines", "/closed/acme"])
async def test_100_mb_in_chunks_are_refused_and_never_held(running: Running, path: str):
    """The answer comes before the end; what still comes is dropped, and the connection is good for more."""
    kind = "content-type: application/x-ndjson" if path == "/lines" else JSON
    method = "PUT" if path == "/closed/acme" else "POST"
    async with connected(running.address) as connection:
        await connection.send(head("GET /healthz"))
        assert await connection.answer() == (200, b"ok")
        before = running.most_memory()
        await connection.send(head(f"{method} {path}", kind, CHUNKED))
        for _ in range(HUGE // CHUNK):
            await connection.send(b"%x\r\n%s\r\n" % (CHUNK, b" " * CHUNK))
        await connection.send(b"0\r\n\r\n")
        status, _ = await connection.answer()
        assert status == (401 if path == "/closed/acme" else 413)
        await connection.send(head("GET /healthz"))
        assert await connection.answer() == (200, b"ok")
    assert running.most_memory() - before < 3 * limits.BODY_BYTES


async def test_a_head_without_end_is_cut_off(running: Running):
    async with connected(running.address) as connection:
        await connection.send(b"GET /healthz HTTP/1.1\r\n")
        with contextlib.suppress(ConnectionError):
            for number in range(limits.HEAD_BYTES):
                await connection.send(b"x-%d: y\r\n" % number)
        with contextlib.suppress(ConnectionError):
            assert (await connection.reader.read())[:12] in (b"HTTP/1.1 400", b"")


async def test_a_long_head_that_ends_is_served(running: Running):
    async with connected(running.address) as connection:
        long = "x: " + "y" * (limits.HEAD_BYTES - 200)
        await connection.send(head("GET /healthz", long))
        assert await connection.answer() == (200, b"ok")
        await connection.send(head("GET /healthz", long))
        assert await connection.answer() == (200, b"ok")


@pytest.mark.parametrize(
    ("raw", "statuses"),
    [
        (head("GET /%ff%00%22"), {404}),
        (head("PUT /closed/%22%00%ff"), {401}),
        (head("GET /page?cursor=\xe4"), {400, 422}),
        (head("GET /page?cursor=%00%22"), {200}),
        (head("GET //healthz"), {200}),
        (head("GET /healthz/../metrics"), {404}),
        (b"GET /healthz HTTP/1.1\r\nhost: a b\r\n\r\n", {200, 400}),
        (b"GET /healthz HTTP/1.0\r\n\r\n", {200}),
        (head("BREW /healthz"), {400, 405}),
        (head("POST /echo", JSON, "content-length: 1", "content-length: 2") + b"{}", {400}),
        (head("POST /echo", JSON, "content-length: -1"), {400}),
        (head("POST /echo", JSON, "content-length: 2", CHUNKED) + b"0\r\n\r\n", {400}),
        (b"\x16\x03\x01\x02\x00\x01", {400}),
    ],
)
async def test_odd_requests_get_an_answer_that_blames_them(running: Running, raw: bytes, statuses: set[int]):
    async with connected(running.address) as connection:
        await connection.send(raw)
        assert (await connection.answer())[0] in statuses


async def test_a_client_that_hangs_up_in_its_body_leaves_no_trace(running: Running):
    async with connected(running.address) as connection:
        await connection.send(head("POST /echo", JSON, "content-length: 20") + b'{"tenantId"')
    async with connected(running.address) as connection:
        await connection.send(head("GET /metrics"))
        status, told = await connection.answer()
    assert (status, b'status="500"' in told) == (200, False)


async def test_an_end_of_the_process_waits_for_the_request_under_way():
    ending = Running()
    assert ending.process.stdout
    body = b'{"tenantId":"acme"}'
    with ending.process.stdout:
        async with connected(ending.address) as connection:
            await connection.send(head("GET /healthz"))
            await connection.answer()
            await connection.send(head("POST /echo", JSON, f"content-length: {len(body)}") + body[:5])
            ending.process.send_signal(signal.SIGTERM)
            await connection.send(body[5:])
            assert (await connection.answer())[0] == 200
            assert await connection.reader.read() == b""
        assert await asyncio.to_thread(ending.process.wait, 20) in (0, -signal.SIGTERM)


async def test_a_head_that_trickles_is_hung_up_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "HEAD_SECONDS", 0.05)
    listening = server.listen("127.0.0.1", 0)
    serving = server.make_server(make_app(echo.NOWHERE))
    task = asyncio.create_task(serving.serve(sockets=[listening]))
    async with connected(listening.getsockname()) as silent, connected(listening.getsockname()) as slow:
        await slow.send(head("GET /healthz") + b"GET /healthz HTTP/1.1\r\nhost:")
        assert await slow.answer() == (200, b"ok")
        assert await slow.reader.read() == b""
        assert await silent.reader.read() == b""
    serving.should_exit = True
    await task


async def test_a_request_that_was_served_waits_for_no_collector():
    listening = server.listen("127.0.0.1", 0)
    serving = server.make_server(make_app(echo.NOWHERE))
    task = asyncio.create_task(serving.serve(sockets=[listening]))
    gc.collect()
    gc.disable()
    try:
        async with connected(listening.getsockname()) as connection:
            for _ in range(10):
                await connection.send(head("GET /healthz"))
                assert await connection.answer() == (200, b"ok")
            left = [one for one in gc.get_objects() if isinstance(one, RequestResponseCycle)]
            assert len(left) <= 1  # the connection's own
    finally:
        gc.enable()
        serving.should_exit = True
        await task


async def test_a_body_that_trickles_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.01)
    parts = [{"type": "http.request", "body": b"{", "more_body": True}]

    async def receive() -> dict[str, object]:
        if not parts:
            await asyncio.get_running_loop().create_future()
        return parts.pop()

    with pytest.raises(errors.MalformedError, match="did not arrive within"):
        await decode.read({"state": {"head": {}}}, receive)


def test_a_taken_port_is_told_in_one_sentence():
    with server.listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            server.AddressError, match=rf"^Port {port} on 127.0.0.1 is taken; choose another.$"
        ):
            server.listen("127.0.0.1", port)


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 70_000), ("no.such.host.invalid", 80), ("::z", 1)])
def test_an_address_that_is_none_is_told_too(host: str, port: int):
    with pytest.raises(server.AddressError, match=r"Cannot listen on|from 0 to 65535"):
        server.listen(host, port)
