"""How many requests a second does a server answer? `wrk` asks if it is there, else a client of our own."""

import asyncio
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from service import clock

CONNECTIONS: Final = 32
_RATE: Final = re.compile(r"Requests/sec:\s+([0-9.]+)")
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

    @property
    def head(self) -> bytes:
        """Request line and headers as they go out."""
        lines = [f"POST {self.path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, f"Content-Length: {len(self.body)}", "", ""]).encode()


def client_name() -> str:
    """Which client is used here."""
    wrk = shutil.which("wrk")
    return wrk or "the asyncio client of this script (no wrk on the PATH: a fast reference may wait for it)"


def rate(shot: Shot, seconds: int) -> float:
    """Good answers a second.

    Errors: LoadError.
    """
    wrk = shutil.which("wrk")
    if wrk is not None:
        return _by_wrk(wrk, shot, seconds)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_by_asyncio(shot, seconds))


def _by_wrk(wrk: str, shot: Shot, seconds: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "request.lua")
        headers = "".join(
            f"wrk.headers[{_lua(name)}] = {_lua(text)}\n" for name, text in shot.headers.items()
        )
        body = _lua(shot.body.decode())
        script.write_text(f'wrk.method = "POST"\n{headers}wrk.body = {body}\n')
        url = f"http://127.0.0.1:{shot.port}{shot.path}"
        argv = [wrk, "-t1", f"-c{shot.connections}", f"-d{seconds}s", "-s", str(script), url]
        try:
            done = subprocess.run(  # noqa: S603 - found on the PATH, and our own arguments
                argv, capture_output=True, text=True, timeout=seconds + _GRACE_S, check=True
            )
        except subprocess.SubprocessError as error:
            raise LoadError(f"wrk did not end well: {error}") from error
    bad, found = _BAD.search(done.stdout), _RATE.search(done.stdout)
    if bad or not found:
        raise LoadError(f"wrk says: {bad[0] if bad else done.stdout}")
    return float(found[1])


def _lua(text: str) -> str:
    """A text of Lua, byte by byte where that is needed."""
    plain = re.sub(rb"[^ -!#-\[\]-~]", lambda odd: b"\\%03d" % odd[0][0], text.encode())
    return f'"{plain.decode()}"'


async def _by_asyncio(shot: Shot, seconds: int) -> float:
    begun = clock.monotonic_s()
    deadline = begun + seconds
    async with asyncio.timeout(seconds + _GRACE_S):
        counts = await asyncio.gather(*(_connection(shot, deadline) for _ in range(shot.connections)))
    return sum(counts) / (clock.monotonic_s() - begun)


async def _connection(shot: Shot, deadline: float) -> int:
    """Sends one request after the other until the time is over; how many were answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", shot.port, limit=2**20)
    request = shot.head + shot.body
    count = 0
    try:
        while clock.monotonic_s() < deadline:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 2"):
                raise LoadError(f"The server says: {head.splitlines()[0].decode()}")
            length = re.search(rb"\r\ncontent-length: (\d+)", head)
            if length is None:
                raise LoadError("The server did not say how long its answer is.")
            await reader.readexactly(int(length[1]))
            count += 1
    finally:
        writer.close()
    return count
