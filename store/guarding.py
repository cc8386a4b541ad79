"""Who certifies a shard writes to it only as long as nobody else does, or has opened it.

The locks of Postgres are not enough for that: a process that hung may have lost them when it goes on, and
would drop and put back counters that have been in use since. So its name stands in the fence, and each of its
writes is made by a script that looks at it.
"""

import secrets
from collections.abc import Iterator, Sequence
from typing import Final

from redis import exceptions

from store import keyspace, scripts
from store.conversation import Command
from store.link import Link, RedisAwayError, Replies
from store.script_call import Keys

WORDS: Final = 6_000
"""Words of one script call, about: Lua takes 8,000 at a time off an array."""
_ONLY_KEYS: Final = frozenset({"UNLINK", "DEL"})


class Guard:
    """The writes of one who certifies, over a link."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.name = f"certifying {secrets.token_hex(8)}"

    async def close(self, shards: Sequence[int]) -> None:
        """Puts our name into fences. One that had been opened meanwhile is closed again, which loses nothing.

        Errors: RedisAwayError.
        """
        replies = await self.link.send([("SET", keyspace.fence(shard), self.name) for shard in shards])
        _refuse(replies)

    async def send(self, commands: Sequence[Command], *, durable: bool = False) -> Replies:
        """Sends writes, in order within each shard; the reply of each is None.

        Errors: RedisAwayError, also when somebody else has begun to certify one of the shards.
        """
        replies = await self.link.send([*self._calls(commands)], durable=durable)
        _refuse(replies)
        return Replies(replies.run_id, [None] * len(commands))

    def _calls(self, commands: Sequence[Command]) -> Iterator[Command]:
        by_shard: dict[int, list[Command]] = {}
        for command in commands:
            for one in _single(command):
                by_shard.setdefault(keyspace.shard_of_key(str(one[1])), []).append(one)
        for shard, own in by_shard.items():
            yield from self._of_shard(shard, own)

    def _of_shard(self, shard: int, commands: Sequence[Command]) -> Iterator[Command]:
        begin = words = 0
        for place, command in enumerate(commands):
            if words and words + len(command) > WORDS:
                yield self._call(shard, commands[begin:place])
                begin, words = place, 0
            words += len(command)
        yield self._call(shard, commands[begin:])

    def _call(self, shard: int, commands: Sequence[Command]) -> Command:
        keys = Keys(keyspace.fence(shard))
        said: list[str | bytes | int] = []
        for name, key, *rest in commands:
            said += (name, keys.place(str(key)), len(rest), *rest)
        return keys.call(scripts.GUARDED, self.name, *said)


def _single(command: Command) -> Iterator[Command]:
    """The command, or one for each of its keys; keys are text in what follows."""
    name, *words = command
    if name in _ONLY_KEYS:
        for key in words:
            yield (name, key.decode() if isinstance(key, bytes) else key)
    else:
        yield command


def _refuse(replies: Replies) -> None:
    for value in replies.values:
        if isinstance(value, exceptions.ResponseError):
            overtaken = "OVERTAKEN" in str(value)
            raise RedisAwayError("another process certifies it by now" if overtaken else str(value))
