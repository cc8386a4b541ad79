"""The way of one client into the service: a connection, opened again to any of the processes that serve."""

import asyncio
import contextlib
import random
from collections.abc import Sequence
from typing import Any, Final

import msgspec

TIMEOUT_S: Final = 4.0
"""After that the client goes elsewhere with the same id, while the first request may still be under way."""
JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"


class Answer(msgspec.Struct, frozen=True):
    """What was answered."""

    status: int
    body: dict[str, Any]


class Door:
    """One client's; it asks one thing at a time."""

    def __init__(self, ports: Sequence[int], key: str, rnd: random.Random) -> None:
        self._ports = ports
        self._key = key
        self._rnd = rnd
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(
        self, method: str, path: str, body: bytes = b"", content_type: str = JSON, **headers: str
    ) -> Answer | None:
        """The answer; None if there is none, and then nobody knows what was done."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._ask(method, path, body, headers | {"Content-Type": content_type})
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError, msgspec.DecodeError):
            await self.close()
            return None

    async def close(self) -> None:
        """Hangs up."""
        writer, self._reader, self._writer = self._writer, None, None
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        if self._writer is None or self._reader is None or self._rnd.random() < 0.02:  # noqa: PLR2004 - some change
            await self.close()
            port = self._rnd.choice(self._ports)
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", port, limit=2**22)
        lines = [
            f"{method} {path} HTTP/1.1",
            "Host: metergate",
            f"Authorization: Bearer {self._key}",
            f"Content-Length: {len(body)}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        self._writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(head.partition("content-length:")[2].partition("\r\n")[0])
        content = await self._reader.readexactly(length)
        status = int(head.split(" ", 2)[1])
        return Answer(status, msgspec.json.decode(content, type=dict[str, Any]))
