"""The way to Redis: one connection on which requests that arrive together travel together.

Whoever sends while a round trip is under way joins the next one, so that many small requests cost one
write, one fsync and one read. The library's retries are off: what was cut off is never sent again by itself.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from redis import exceptions
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection

from policies import limits
from store import fitness, scripts

Command = tuple[str | bytes | int, ...]


class _RunId:
    """Stands in a command for the run_id of the server that the command will reach."""


RUN_ID: Final[Any] = _RunId()


class RedisAwayError(Exception):
    """No answer, or not one to build on: what was sent may or may not have happened."""


class UnfitServerError(RedisAwayError):
    """The server answers, but its version or settings would lose what is acknowledged."""


class Replies(msgspec.Struct, frozen=True):
    """What came back, in order; an error of a single command stands in its place as a ResponseError."""

    run_id: str
    values: list[Any]


class Link:
    """One connection to one server: opened by its first use, closed by a failure, then opened again."""

    def __init__(self, url: str, *, timeout_s: float = limits.REDIS_TIMEOUT_S, verify: bool = True) -> None:
        self._pool = ConnectionPool.from_url(
            url, protocol=2, retry=None, socket_timeout=None, socket_connect_timeout=timeout_s
        )
        self._timeout_s = timeout_s
        self._verify = verify
        self._connection: AbstractConnection | None = None
        self._waiting: deque[tuple[Sequence[Command], asyncio.Future[Replies]]] = deque()
        self._pump: asyncio.Task[None] | None = None
        self.run_id = ""
        self.version = ""

    async def send(self, commands: Sequence[Command]) -> Replies:
        """Sends the commands in one go, in order, and gives their replies.

        Errors: RedisAwayError when the server is away, hangs, is loading or is unfit.
        """
        future: asyncio.Future[Replies] = asyncio.get_running_loop().create_future()
        self._waiting.append((commands, future))
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._run())
        return await future

    async def close(self) -> None:
        """Ends the connection; who still waits is told that Redis is away."""
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        _fail(self._waiting, RedisAwayError("the connection was closed"))
        await self._disconnect()

    async def _run(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, deque()
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._round_trip(batch)
            except RedisAwayError as error:
                await self._fail_batch(batch, error)
            except (exceptions.RedisError, OSError, TimeoutError) as error:
                reason = str(error) or "no answer in time"
                await self._fail_batch(batch, RedisAwayError(reason))
            except asyncio.CancelledError:
                await self._fail_batch(batch, RedisAwayError("the connection was closed"))
                raise

    async def _round_trip(self, batch: deque[tuple[Sequence[Command], asyncio.Future[Replies]]]) -> None:
        connection = self._connection or await self._connect()
        packed = connection.pack_commands(
            [
                tuple(self.run_id if part is RUN_ID else part for part in command)
                for commands, _ in batch
                for command in commands
            ]
        )
        await connection.send_packed_command(packed, check_health=False)
        for commands, future in batch:
            values = [await _read(connection) for _ in commands]
            if not future.done():
                future.set_result(Replies(self.run_id, values))

    async def _connect(self) -> AbstractConnection:
        """The handshake: who is it, is it fit, and does it know the scripts (R24)."""
        connection: AbstractConnection = self._pool.make_connection()
        await connection.connect()
        try:
            await self._shake_hands(connection)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._connection = connection
        return connection

    async def _shake_hands(self, connection: AbstractConnection) -> None:
        info = fitness.parse_info(await _ask(connection, "INFO", "server"))
        settings = await _settings(connection) if self._verify else None
        if wrong := fitness.findings(info, settings):
            raise UnfitServerError("; ".join(wrong))
        for script in scripts.ALL:
            await _ask(connection, "SCRIPT", "LOAD", script.text)
        self.run_id, self.version = info["run_id"], info.get("valkey_version") or info["redis_version"]

    async def _fail_batch(
        self, batch: deque[tuple[Sequence[Command], asyncio.Future[Replies]]], error: RedisAwayError
    ) -> None:
        await self._disconnect()
        _fail(batch, error)

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)


def _fail(batch: deque[tuple[Sequence[Command], asyncio.Future[Replies]]], error: RedisAwayError) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)


async def _read(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response(disable_decoding=True)
    except exceptions.NoScriptError as error:
        raise RedisAwayError("the server forgot its scripts") from error
    except exceptions.ResponseError as error:
        return error


async def _ask(connection: AbstractConnection, *command: str) -> str:
    await connection.send_command(*command, check_health=False)
    reply = await connection.read_response(disable_decoding=True)
    return reply.decode() if isinstance(reply, bytes) else str(reply)


async def _settings(connection: AbstractConnection) -> dict[str, str]:
    await connection.send_command("CONFIG", "GET", *fitness.SETTINGS, check_health=False)
    reply = await connection.read_response(disable_decoding=True)
    flat = [item.decode() for item in reply]
    return dict(zip(flat[::2], flat[1::2], strict=True))
