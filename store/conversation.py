"""An open connection to Redis: what is asked goes out in one write, and its replies come back in order."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import hiredis
from redis import exceptions
from redis.asyncio.connection import AbstractConnection

Command = tuple[str | bytes | int, ...]

_USELESS: Final = {
    "LOADING": "it is loading",
    "MASTERDOWN": "it has lost its primary",
    "NOSCRIPT": "it forgot its scripts",
    "READONLY": "it is a replica now",
}
"""Errors that say nothing of one command, but that this connection is of no use now."""


class Conversation(asyncio.Protocol):
    """Takes over a connection that redis-py has opened, greeted and authenticated.

    redis-py reads reply by reply, each with a coroutine of its own; a round trip here has hundreds of
    replies, and all of them are parsed as their bytes arrive.
    """

    def __init__(
        self, connection: AbstractConnection, *, refused: Callable[[str], None] = lambda _: None
    ) -> None:
        """`refused` is told the text of each command's error."""
        self._refused = refused
        writer = connection._writer  # noqa: SLF001 - redis-py offers no other way to its transport
        assert writer is not None, "the connection is open"
        self._transport = writer.transport
        self._reader = hiredis.Reader(replyError=self._refusal)
        self._replies: list[Any] = []
        self._asked: deque[tuple[int, asyncio.Future[list[Any]]]] = deque()
        """How many replies each question waits for, in the order in which they were asked."""
        self._lost: ConnectionError | None = None
        self._transport.set_protocol(self)

    async def ask(self, packed: bytes, count: int) -> list[Any]:
        """Sends packed commands, of which there are `count`, and gives as many replies.

        More may be asked before they come; it is answered in order. An error of a single command stands in
        its place as a ResponseError.
        Errors: ConnectionError; the conversation is over then.
        """
        if self._lost is not None:
            raise self._lost
        if count == 0:
            return []
        answered: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._asked.append((count, answered))
        self._transport.write(packed)
        return await answered

    def data_received(self, data: bytes) -> None:
        """Some of the replies, or a part of one."""
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                self._replies.append(reply)
        except hiredis.ProtocolError as error:
            self._end(ConnectionError(f"this is no Redis: {error}"))
            return
        while self._asked and len(self._replies) >= self._asked[0][0] and self._lost is None:
            self._answer()
        if self._replies and not self._asked:
            self._end(ConnectionError("more replies than questions"))

    def connection_lost(self, exc: Exception | None) -> None:
        """The server has gone, or we have hung up."""
        self._end(ConnectionError(str(exc or "the server closed the connection")))

    def _answer(self) -> None:
        count, answered = self._asked.popleft()
        if len(self._replies) == count:
            replies, self._replies = self._replies, []
        else:
            replies, self._replies = self._replies[:count], self._replies[count:]
        if not answered.done():
            answered.set_result(replies)

    def _end(self, error: ConnectionError) -> None:
        self._lost = self._lost or error
        self._transport.close()
        for _, answered in self._asked:
            if not answered.done():
                answered.set_exception(self._lost)
        self._asked.clear()

    def _refusal(self, text: str) -> Exception:
        """An error reply as an exception; one that is about more than its command ends the conversation."""
        if (useless := _USELESS.get(text.partition(" ")[0])) is not None:
            self._end(ConnectionError(useless))
        self._refused(text)
        return exceptions.ResponseError(text)


def pack(*commands: Command) -> bytes:
    """Commands as they go out."""
    return b"".join([hiredis.pack_command(command) for command in commands])  # type: ignore[arg-type]  # its annotation knows commands of one word only
