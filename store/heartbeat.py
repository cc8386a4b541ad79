"""Does Postgres answer at all? A pulse of its own tells a server that hangs from a statement that takes long.

Nothing else does in time: a stopped server is told by the operating system at once, a slow statement ends by
its own bound, but one that is paused, or behind a network that swallows, says nothing for minutes. Then all
who wait are let go by hanging up, without asking the server to cancel anything, which it would not hear.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final

import psycopg

log = logging.getLogger("metergate.postgres")

SLOW_S: Final = 0.05
"""The pulse begins with the first transaction that takes longer, so that who asks briefly pays for none."""
GRACE_S: Final = 0.02
"""An answer that came while this process was busy itself is still read."""
_ENDING: Final = ("starting up", "shutting down", "recovery mode", "not yet accepting", "not accepting")

Connection = psycopg.AsyncConnection[Any]


class Trip:
    """A transaction under way: first it waits for a connection, then on it."""

    __slots__ = ("acquiring", "connection")

    def __init__(self) -> None:
        self.acquiring = asyncio.timeout(None)
        self.connection: Connection | None = None

    def let_go(self) -> None:
        """Ends its wait; what it then meets is an error."""
        if self.connection is not None:
            _hang_up(self.connection)
        elif not self.acquiring.expired():
            with contextlib.suppress(RuntimeError):  # it has not begun to wait, or just ended
                self.acquiring.reschedule(asyncio.get_running_loop().time())


class Heartbeat:
    """The pulse of one pool. `returned` is waited for when the server answers again, before it is used."""

    def __init__(self, url: str, *, answer_s: float, returned: Callable[[], Awaitable[None]]) -> None:
        self.away = False
        """It did not answer when it was asked last: nobody need wait for it."""
        self._url = url
        self._answer_s = answer_s
        self._returned = returned
        self._trips: set[Trip] = set()
        self._heard = 0
        self._connection: Connection | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._ping: asyncio.Task[bool] | None = None

    def start(self) -> None:
        """Begins the pulse now: for a process that must know at once."""
        if self._task is None:
            self._task = asyncio.create_task(self._beat())

    def begin(self) -> Trip:
        """A transaction begins."""
        trip = Trip()
        self._trips.add(trip)
        if self._task is None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SLOW_S, self._look)
        return trip

    def end(self, trip: Trip, *, answered: bool) -> None:
        """It has ended, and so the server has answered, or it has failed."""
        self._trips.discard(trip)
        self._heard += answered

    async def close(self) -> None:
        """Ends the pulse."""
        if self._timer is not None:
            self._timer.cancel()
        for task in (self._task, self._ping):
            if task is not None:
                task.cancel()
        if self._connection is not None:
            _hang_up(self._connection)
        await asyncio.gather(*(t for t in (self._task, self._ping) if t is not None), return_exceptions=True)
        await self._drop()

    def _look(self) -> None:
        self._timer = None
        if self._trips:
            self.start()

    async def _beat(self) -> None:
        """Until it is cancelled, also where asyncio.wait_for inside the driver forgot that it was."""
        task = asyncio.current_task()
        while task is not None and not task.cancelling():
            heard = self._heard
            if await self._answers() or self._heard != heard:
                if self.away:
                    await self._returned()
                    self.away = False
                    log.info("Postgres answers again")
            else:
                self._let_all_go()
            await asyncio.sleep(self._answer_s / 2)

    async def _answers(self) -> bool:
        self._ping = asyncio.create_task(self._ask())
        for patience in (self._answer_s, GRACE_S):
            await asyncio.wait({self._ping}, timeout=patience)
        if self._ping.done():
            return self._ping.result()
        if self._connection is not None:
            _hang_up(self._connection)
        else:
            self._ping.cancel()
        await asyncio.wait({self._ping}, timeout=self._answer_s)
        return False

    async def _ask(self) -> bool:
        try:
            if self._connection is None:
                self._connection = await psycopg.AsyncConnection.connect(
                    self._url, autocommit=True, connect_timeout=10, application_name="metergate-pulse"
                )
            await self._connection.execute(b"select 1")
        except psycopg.Error as error:
            await self._drop()
            # A server that refuses one connection more is there for those that it has.
            return "FATAL" in str(error) and not any(word in str(error) for word in _ENDING)
        return True

    def _let_all_go(self) -> None:
        if not self.away:
            log.warning("Postgres does not answer within %s s; nobody waits for it", self._answer_s)
        self.away = True
        for trip in self._trips:
            trip.let_go()

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


def _hang_up(connection: Connection) -> None:
    """Whoever waits for an answer finds the connection closed."""
    with (
        contextlib.suppress(OSError, psycopg.Error),
        socket.socket(fileno=os.dup(connection.pgconn.socket)) as line,
    ):
        line.shutdown(socket.SHUT_RDWR)
