"""How many requests a second does a server answer? `wrk` asks if it is there, else a client of our own."""

import asyncio
import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from service import clock

CONNECTIONS: Final = 32
_RATE: Final = re.compile(r"Requests/sec:\s+([0-9.]+)")
_P99: Final = re.compile(r"99%\s+([0-9.]+)(us|ms|s|m)\s")
_MICROSECONDS: Final = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 6e7}
_BAD: Final = re.compile(r"Non-2xx or 3xx responses: (\d+)|Socket errors: (.+)")
_GRACE_S: Final = 30.0
"""What a client may take beyond its time before it is taken for hung."""


class LoadError(Exception):
    """The server gave something other than good answers; the text says what."""


class Shot(msgspec.Struct, frozen=True, kw_only=True):
    """The one request that is sent again and again."""

    port: int
    path: str
    headers: dict[str, str]
    body: bytes
    connections: int = CONNECTIONS
    """How many are kept alive, with one request under way on each."""
    below: int = 0
    """If not 0: each `{n}` in the body stands for one random number below this, another in each request."""

    @property
    def head(self) -> bytes:
        """Request line and headers as they go out."""
        lines = [f"POST {self.path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, f"Content-Length: {len(self.body)}", "", ""]).encode()

    def request(self) -> bytes:
        """The bytes of one request."""
        if not self.below:
            return self.head + self.body
        number = str(random.randrange(self.below)).encode()  # noqa: S311 - no secret
        drawn = msgspec.structs.replace(self, body=self.body.replace(b"{n}", number), below=0)
        return drawn.request()


class Measured(msgspec.Struct, frozen=True):
    """What came of a time of asking."""

    rate: float
    """Good answers a second."""
    p99_us: float
    """The time within which 99 of 100 answers came, in microseconds."""


def client_name() -> str:
    """Which client is used here."""
    wrk = shutil.which("wrk")
    return wrk or "the asyncio client of this script (no wrk on the PATH: a fast reference may wait for it)"


def rate(shot: Shot, seconds: int) -> float:
    """Good answers a second.

    Errors: LoadError.
    """
    return measured([shot], seconds).rate


def measured(shots: Sequence[Shot], seconds: int) -> Measured:
    """Asks all of them at once, each with a client of its own; the rates add up, the slowest p99 counts.

    Errors: LoadError.
    """
    wrk = shutil.which("wrk")
    with ThreadPoolExecutor(len(shots)) as clients:
        asking = [
            clients.submit(_by_wrk, wrk, s, seconds) if wrk else clients.submit(_by_us, s, seconds)
            for s in shots
        ]
        found = [each.result() for each in asking]
    return Measured(sum(each.rate for each in found), max(each.p99_us for each in found))


def _by_us(shot: Shot, seconds: int) -> Measured:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_by_asyncio(shot, seconds))


def _by_wrk(wrk: str, shot: Shot, seconds: int) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "request.lua")
        script.write_text(_script(shot))
        url = f"http://127.0.0.1:{shot.port}{shot.path}"
        argv = [wrk, "-t1", "--latency", f"-c{shot.connections}", f"-d{seconds}s", "-s", str(script), url]
        try:
            done = subprocess.run(  # noqa: S603 - found on the PATH, and our own arguments
                argv, capture_output=True, text=True, timeout=seconds + _GRACE_S, check=True
            )
        except subprocess.SubprocessError as error:
            raise LoadError(f"wrk did not end well: {error}") from error
    bad, found, slow = _BAD.search(done.stdout), _RATE.search(done.stdout), _P99.search(done.stdout)
    if bad or not found or not slow:
        raise LoadError(f"wrk says: {bad[0] if bad else done.stdout}")
    return Measured(float(found[1]), float(slow[1]) * _MICROSECONDS[slow[2]])


def _script(shot: Shot) -> str:
    """What wrk is to send, in Lua."""
    headers = "".join(f"wrk.headers[{_lua(name)}] = {_lua(text)}\n" for name, text in shot.headers.items())
    body = _lua(shot.body.decode())
    fixed = f'wrk.method = "POST"\n{headers}wrk.body = {body}\n'
    if not shot.below:
        return fixed
    drawn = f'(string.gsub(wrk.body, "{{n}}", tostring(math.random(0, {shot.below - 1}))))'
    seed = random.randrange(2**31)  # noqa: S311 - else every run would draw the same numbers
    return (
        f"{fixed}math.randomseed({seed})\nfunction request() return wrk.format(nil, nil, nil, {drawn}) end\n"
    )


def _lua(text: str) -> str:
    """A text of Lua, byte by byte where that is needed."""
    plain = re.sub(rb"[^ -!#-\[\]-~]", lambda odd: b"\\%03d" % odd[0][0], text.encode())
    return f'"{plain.decode()}"'


async def _by_asyncio(shot: Shot, seconds: int) -> Measured:
    begun = clock.monotonic_s()
    deadline = begun + seconds
    async with asyncio.timeout(seconds + _GRACE_S):
        waits = await asyncio.gather(*(_connection(shot, deadline) for _ in range(shot.connections)))
    all_waits = sorted(wait for each in waits for wait in each)
    p99 = all_waits[len(all_waits) * 99 // 100] if all_waits else 0.0
    return Measured(len(all_waits) / (clock.monotonic_s() - begun), p99 * 1e6)


async def _connection(shot: Shot, deadline: float) -> list[float]:
    """Sends one request after the other until the time is over; how long each answer took, in seconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", shot.port, limit=2**20)
    waits = []
    try:
        while (began := clock.monotonic_s()) < deadline:
            writer.write(shot.request())
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 2"):
                raise LoadError(f"The server says: {head.splitlines()[0].decode()}")
            length = re.search(rb"\r\ncontent-length: (\d+)", head)
            if length is None:
                raise LoadError("The server did not say how long its answer is.")
            await reader.readexactly(int(length[1]))
            waits.append(clock.monotonic_s() - began)
    finally:
        writer.close()
    return waits
