"""A bare ASGI program that reads what a check of a tenant reads, and decides nothing: what no check can beat.

`python -m scripts.benchmarks.bare_reads PORT FILE REDIS_URL`: on the server of the API, over our own link to
Redis; to every request it gives one kept answer, once snapshot and counters of its tenant are here.
"""

import sys
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from scripts.benchmarks.echo import Answer, Echo, Message, Receive, Send
from service.api import server
from service.api.app import Metergate
from service.embedded import samples
from store import snapshot_source
from store.counters import Counters
from store.link import Link
from store.reading import Fields, Want

_FIELDS: Final[Fields] = (
    *(("m.1764547200", f"{samples.FEATURE}:{bucket}") for bucket in "ioxr"),
    ("d.1764547200", f"{samples.FEATURE}:c"),
)
"""As many counters in as many windows as a check of the feature reads."""


class _Body(msgspec.Struct, rename="camel"):
    tenant_id: str


class Reading(Echo):
    """The program."""

    def __init__(self, answer: Answer, counters: Counters) -> None:
        super().__init__(answer)
        self._counters = counters
        self._decode = msgspec.json.Decoder(_Body).decode

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] == "lifespan":
            await super().__call__(scope, receive, send)
            return
        message = await receive()
        met = await self._counters.meet(Want(self._decode(message["body"]).tenant_id, _FIELDS))
        snapshot = snapshot_source.read_copy(met.copy, met.levels.snapshot_version)
        assert snapshot is not None, "its copy is in Redis"
        await send(self._start)
        await send(self._body)


def main() -> None:
    """Serves until it is told to end."""
    port, kept, redis_url = sys.argv[1:]
    answer = msgspec.json.decode(Path(kept).read_bytes(), type=Answer)
    program: Any = Reading(answer, Counters(Link(redis_url)))
    with server.listen("127.0.0.1", int(port)) as listening:
        server.make_server(cast("Metergate", program)).run(sockets=[listening])


if __name__ == "__main__":
    main()
