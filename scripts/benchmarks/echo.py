"""A bare ASGI program that reads each request and gives one kept answer: what the server alone costs.

`python -m scripts.benchmarks.echo PORT FILE`: on the server of the API, with the same settings.
"""

import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from service.api import server
from service.api.app import Metergate

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Answer(msgspec.Struct, frozen=True):
    """An answer as it was given once; the date is the server's to add."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Echo:
    """The program."""

    def __init__(self, answer: Answer) -> None:
        headers = [(name.encode(), text.encode()) for name, text in answer.headers if name != "date"]
        self._start = {"type": "http.response.start", "status": answer.status, "headers": headers}
        self._body = {"type": "http.response.body", "body": answer.body}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] == "lifespan":
            for stage in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{stage}.complete"})
            return
        while (await receive()).get("more_body"):
            pass
        await send(self._start)
        await send(self._body)


def main() -> None:
    """Serves until it is told to end."""
    answer = msgspec.json.decode(Path(sys.argv[2]).read_bytes(), type=Answer)
    with server.listen("127.0.0.1", int(sys.argv[1])) as listening:
        server.make_server(cast("Metergate", Echo(answer))).run(sockets=[listening])


if __name__ == "__main__":
    main()
