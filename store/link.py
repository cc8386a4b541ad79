"""The way to Redis: one connection on which requests that arrive together travel together.

Whoever sends while a round trip is under way joins the next one, so that many small requests cost one
write, one fsync and one read. The library's retries are off: what was cut off is never sent again by itself.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

import msgspec
from redis import exceptions
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection

from policies import limits
from store import fitness, keyspace, scripts
from store.conversation import Command, Conversation, pack
from store.nodes import Membership, Node
from store.tips import Tips


class _RunId:
    """Stands in a command for the run_id of the server that the command will reach."""


RUN_ID: Final[Any] = _RunId()


class RedisAwayError(Exception):
    """No answer, or not one to build on: what was sent may or may not have happened."""


class UnfitServerError(RedisAwayError):
    """The server answers, but its version or settings would lose what is acknowledged."""


class _TooFewReplicasError(RedisAwayError):
    """The server itself is there."""


_HANGS: Final = (TimeoutError, exceptions.TimeoutError)


def is_elsewhere(reply: object) -> bool:
    """Whether a node of a cluster says by it that it has not, or not yet or no more, what was asked for."""
    words = ("MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN Hash slot not served")
    return isinstance(reply, exceptions.ResponseError) and str(reply).startswith(words)


class Replies(msgspec.Struct, frozen=True):
    """What came back, in order; an error of a single command stands in its place as a ResponseError."""

    run_id: str
    values: list[Any]
    run_ids: Sequence[str] = ()
    """Of each reply, where they are of several nodes."""

    def runs(self) -> Iterable[str]:
        """Of each reply the run of the server that gave it."""
        return self.run_ids or itertools.repeat(self.run_id, len(self.values))


class Errand(Protocol):
    """Something to be asked, as long as it waits for its round trip."""

    weight: int
    """The number of words in its commands."""
    durable: bool
    """Its replies wait for a disk: meanwhile another may be sent."""

    def pack(self, run_id: str) -> tuple[bytes, int]:
        """The commands for the server of this run, and how many; from now on nothing joins them."""
        ...

    def deliver(self, run_id: str, values: list[Any]) -> None:
        """Their replies, in order."""
        ...

    def fail(self, error: RedisAwayError) -> None:
        """There are none."""
        ...


class _Commands:
    """Commands that one caller waits for."""

    def __init__(self, commands: Sequence[Command], *, durable: bool) -> None:
        self.weight, self.durable = sum(map(len, commands)), durable
        self.future: asyncio.Future[Replies] = asyncio.get_running_loop().create_future()
        self._commands = commands

    def pack(self, run_id: str) -> tuple[bytes, int]:
        words = [tuple([run_id if part is RUN_ID else part for part in each]) for each in self._commands]
        return pack(*words), len(words)

    def deliver(self, run_id: str, values: list[Any]) -> None:
        if not self.future.done():
            self.future.set_result(Replies(run_id, values))

    def fail(self, error: RedisAwayError) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class Link:
    """One connection to one server: opened by its first use, closed by a failure, then opened again."""

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = limits.REDIS_TIMEOUT_S,
        verify: bool = True,
        lossy: bool = False,
        replicas: int = 0,
        membership: Membership | None = None,
    ) -> None:
        """`verify` False: the server's settings may not be read. `lossy`: they need not keep anything.

        `replicas`: what is durable is told only once so many of them have it, too. `membership`: the server
        is a node of a cluster.
        """
        self._pool = ConnectionPool.from_url(
            url, protocol=2, retry=None, socket_timeout=None, socket_connect_timeout=timeout_s
        )
        self._timeout_s = timeout_s
        self._verify = verify
        self._lossy = lossy
        self._membership = membership
        self.tips = membership.tips if membership else Tips()
        """How far the journals reach of which this process was told."""
        self._awaited = 0
        """How many replicas a round trip waits for."""
        self.first_shard = 0
        """One that the server has: where a word is written before replicas are waited for."""
        self._aside: Link | None = None
        """What waits for replicas has a connection of its own, which answers nothing else meanwhile."""
        if replicas:
            self._aside = Link(url, timeout_s=timeout_s, verify=verify, lossy=lossy, membership=membership)
            self._aside._awaited = replicas  # noqa: SLF001 - of the same class
            self._aside._refused = self._refused  # type: ignore[method-assign]  # noqa: SLF001 - as above
        self.out_of_memory = False
        """It has refused to write since somebody last set this to False."""
        self._connection: AbstractConnection | None = None
        self._conversation: Conversation | None = None
        self._waiting: deque[Errand] = deque()
        self._weight = 0
        self._trips: dict[asyncio.Task[None], bool] = {}
        """Those under way, and of each whether it waits for a disk."""
        self._advancing = False
        self._knocking: asyncio.Task[None] | None = None
        """While the server hangs nobody waits for it; this finds out when it does not any more."""
        self.run_id = ""
        self.version = ""

    def of(self, shard: int) -> "Link":
        """This one, which has every shard."""
        del shard
        return self

    def nodes(self) -> Sequence[Node]:
        """This one alone."""
        return (Node("", self, range(keyspace.SHARDS)),)

    def serve(self, shards: Sequence[int]) -> None:
        """Says which shards the server has, where it is not all of them."""
        for link in (self, self._aside):
            if link is not None:
                link.first_shard = shards[0]

    async def send(self, commands: Sequence[Command], *, durable: bool = False) -> Replies:
        """Sends the commands in one go, in order, and gives their replies; `durable` ones wait for a disk.

        Errors: RedisAwayError when the server is away, hangs, is loading or is unfit, or when more waits for
        it than it can do in time.
        """
        errand = _Commands(commands, durable=durable)
        self.enqueue(errand)
        return await errand.future

    def enqueue(self, errand: Errand) -> None:
        """Lets an errand wait for the next round trip that has room for it, behind those that wait already.

        Errors: RedisAwayError when more waits than the server can do in time.
        """
        if errand.durable and self._aside is not None:
            self._aside.enqueue(errand)
            return
        self._admit(errand.weight)
        self._waiting.append(errand)
        if not self._advancing:
            self._advancing = True  # with all that is asked for meanwhile
            asyncio.get_running_loop().call_soon(self._advance)

    def may_grow(self, errand: Errand, weight: int) -> bool:
        """Whether so many words may join an errand: it is the last that waits, and stays within one trip.

        Errors: RedisAwayError, as `enqueue`.
        """
        if errand.durable and self._aside is not None:
            return self._aside.may_grow(errand, weight)
        if not self._waiting or self._waiting[-1] is not errand:
            return False
        if weight == 0:
            return True
        if errand.weight + weight > limits.REDIS_TRIP_PARTS:
            return False
        self._admit(weight)
        errand.weight += weight
        return True

    def _admit(self, weight: int) -> None:
        if self._knocking is not None:
            raise RedisAwayError("it hangs")
        if self._weight + weight > limits.REDIS_WAITING_PARTS and self._waiting:
            raise RedisAwayError("too much waits for it already")
        self._weight += weight

    async def close(self) -> None:
        """Ends the connection; who still waits is told that Redis is away."""
        if self._aside is not None:
            await self._aside.close()
        if self._knocking is not None:
            self._knocking.cancel()
            await asyncio.gather(self._knocking, return_exceptions=True)
        trips = list(self._trips)
        for trip in trips:
            trip.cancel()
        await asyncio.gather(*trips, return_exceptions=True)
        await self._fail([], RedisAwayError("the connection was closed"), self._conversation)

    def _advance(self) -> None:
        """Begins what may begin: one round trip, and another while that waits for a disk."""
        self._advancing = False
        while self._waiting and self._may_begin():
            load = self._load()
            trip = asyncio.create_task(self._travel(load))
            self._trips[trip] = any(errand.durable for errand in load)
            trip.add_done_callback(self._arrived)

    def _may_begin(self) -> bool:
        if not self._trips:
            return True
        ahead = self._conversation is not None and len(self._trips) < limits.REDIS_TRIPS
        return ahead and all(self._trips.values())

    def _arrived(self, trip: "asyncio.Task[None]") -> None:
        del self._trips[trip]
        self._advance()

    async def _travel(self, load: Sequence[Errand]) -> None:
        """One round trip; whatever goes wrong is told to all who wait for it."""
        conversation = self._conversation
        try:
            # One that was sent behind another has as much time more; if that one is too late, all are told.
            async with asyncio.timeout(self._timeout_s * len(self._trips)):
                conversation = conversation or await self._connect()
                await self._round_trip(load, conversation)
        except _TooFewReplicasError as error:
            for errand in load:
                errand.fail(error)
        except RedisAwayError as error:
            await self._fail(load, error, conversation)
        except (exceptions.RedisError, OSError, TimeoutError) as error:
            await self._fail(load, RedisAwayError(str(error) or "no answer in time"), conversation)
            if isinstance(error, _HANGS) and self._knocking is None and self._conversation is None:
                self._knocking = asyncio.create_task(self._knock())
                waiting, self._waiting, self._weight = self._waiting, deque(), 0
                for errand in waiting:  # that came while the connection was taken down
                    errand.fail(RedisAwayError("it hangs"))
        except asyncio.CancelledError:
            await self._fail(load, RedisAwayError("the connection was closed"), conversation)
            raise
        except Exception as error:  # whoever waits must hear of it, whatever it is
            await self._fail(load, RedisAwayError(f"{type(error).__name__}: {error}"), conversation)
            raise

    async def _knock(self) -> None:
        """Until it shakes hands again, or is gone for good and tells so at once."""
        task = asyncio.current_task()
        try:
            while task is not None and not task.cancelling():
                try:
                    async with asyncio.timeout(self._timeout_s):
                        await self._connect()
                except _HANGS:
                    continue
                except (RedisAwayError, exceptions.RedisError, OSError):
                    pass  # the next errand hears of it
                return
        finally:
            self._knocking = None

    def _load(self) -> list[Errand]:
        """As much of what waits as one round trip can do in time, in order; at least one errand."""
        load = [self._waiting.popleft()]
        weight = load[0].weight
        while self._waiting and weight + self._waiting[0].weight <= limits.REDIS_TRIP_PARTS:
            load.append(self._waiting.popleft())
            weight += load[-1].weight
        self._weight -= weight
        return load

    async def _round_trip(self, load: Sequence[Errand], conversation: Conversation) -> None:
        packed = [errand.pack(self.run_id) for errand in load]
        data, count = b"".join([data for data, _ in packed]), sum([count for _, count in packed])
        if self._awaited:
            values = await self._ask_replicas(data, count, conversation)
        else:
            values = await conversation.ask(data, count)
        if len(load) == 1:
            load[0].deliver(self.run_id, values)
            return
        begin = 0
        for errand, (_, count) in zip(load, packed, strict=True):
            errand.deliver(self.run_id, values[begin : begin + count])
            begin += count

    async def _ask_replicas(self, data: bytes, count: int, conversation: Conversation) -> list[Any]:
        """The replies, once enough replicas have what they speak of.

        That may have been written over another connection (a duplicate), and a connection waits for its own
        writes alone: so a word is written behind it.
        Errors: RedisAwayError; it stands in the primary, which may lose it.
        """
        wait = ("WAIT", self._awaited, limits.REDIS_WAIT_MS)
        data += pack(("SET", keyspace.awaited(self.first_shard), self.run_id), wait)
        *values, written, reached = await conversation.ask(data, count + 2)
        if isinstance(written, Exception) or not isinstance(reached, int) or reached < self._awaited:
            raise _TooFewReplicasError(f"{reached} of {self._awaited} replicas have it")
        return values

    async def _connect(self) -> Conversation:
        """The handshake: who is it, is it fit, and does it know the scripts (R24)."""
        connection: AbstractConnection = self._pool.make_connection()
        await connection.connect()
        try:
            await self._shake_hands(connection)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._connection = connection
        self._conversation = Conversation(connection, refused=self._refused)
        return self._conversation

    def _refused(self, text: str) -> None:
        if text.startswith("OOM"):
            self.out_of_memory = True
        self._tell(text)

    def _tell(self, trouble: str) -> None:
        if self._membership is not None:
            self._membership.trouble(trouble)

    async def _shake_hands(self, connection: AbstractConnection) -> None:
        info = fitness.parse_info(await _ask(connection, "INFO", "server"))
        settings = await _settings(connection) if self._verify else None
        in_cluster = self._membership is not None
        if wrong := fitness.findings(info, settings, lossy=self._lossy, cluster=in_cluster):
            raise UnfitServerError("; ".join(wrong))
        for script in scripts.ALL:
            await _ask(connection, "SCRIPT", "LOAD", script.text)
        self.run_id, self.version = info["run_id"], info.get("valkey_version") or info["redis_version"]

    async def _fail(
        self, load: Sequence[Errand], error: RedisAwayError, conversation: Conversation | None
    ) -> None:
        """Tells those under way; and those who wait, unless there is a new connection to wait for already."""
        waiting: Sequence[Errand] = ()
        if conversation is self._conversation:
            waiting, self._waiting, self._weight = self._waiting, deque(), 0
            await self._disconnect()
            self._tell(str(error))
        for errand in (*load, *waiting):
            errand.fail(error)

    async def _disconnect(self) -> None:
        connection, self._connection, self._conversation = self._connection, None, None
        if connection is not None:
            await connection.disconnect(nowait=True)


async def _ask(connection: AbstractConnection, *command: str) -> str:
    await connection.send_command(*command, check_health=False)
    reply = await connection.read_response(disable_decoding=True)
    return reply.decode() if isinstance(reply, bytes) else str(reply)


async def _settings(connection: AbstractConnection) -> dict[str, str]:
    await connection.send_command("CONFIG", "GET", *fitness.SETTINGS, check_health=False)
    reply = await connection.read_response(disable_decoding=True)
    flat = [item.decode() for item in reply]
    return dict(zip(flat[::2], flat[1::2], strict=True))
