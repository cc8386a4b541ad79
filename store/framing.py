"""A script call of one act as it goes out, put together from what its account and caps always say.

Most calls are of one act: a shard is one of 256. What such a call shares with others of its account is packed
once; `tests/store/test_framing.py` holds it against the call as store/script_call.py makes it.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final, Protocol

import msgspec

from policies import limits
from store import keyspace, script_call
from store.accounts import Account, CapMove
from store.script_call import Argument
from store.scripts import Script

_MARK: Final = b"d:%s:%d:%d"


class Act(Protocol):
    """What an act says of itself, as store.consuming.Use and store.counters.Recording do."""

    @property
    def account(self) -> Account: ...  # noqa: D102 - as there, and so are the others
    @property
    def measured(self) -> int: ...  # noqa: D102
    @property
    def digest(self) -> bytes: ...  # noqa: D102
    @property
    def fingerprint(self) -> int: ...  # noqa: D102
    @property
    def payload(self) -> bytes: ...  # noqa: D102
    @property
    def value(self) -> str: ...  # noqa: D102


class Call(msgspec.Struct, frozen=True, gc=False):
    """What the calls of a script have in common."""

    script: Script
    first: tuple[Callable[[int], str], ...]
    """Its first keys, by shard."""
    before: int
    """How many words stand before the accounts."""
    ceilings: bool
    """Behind the payload stand ceilings: two numbers before the caps, and one for each cap."""


class Frame(msgspec.Struct, frozen=True, gc=False):
    """What calls of one act on an account, with the same caps, have in common."""

    head: bytes
    """Up to the keys of marks."""
    tag: bytes
    keys: bytes
    """Those behind the marks."""
    account: bytes
    """From the number of accounts to the place of the act's."""
    places: bytes
    """Of the marks."""
    caps: bytes


@lru_cache(maxsize=limits.ACCOUNTS_ALIVE)
def frame(call: Call, shard: int, account: Account, caps: tuple[CapMove, ...]) -> Frame:
    """Made once, since most are used again."""
    keys = script_call.Keys(*(key(shard) for key in call.first))
    said = script_call.account_of(shard, keys, account)
    early = keys.names()
    places = [keys.place(f"mark {age}") for age in range(3)]
    moved = script_call.caps(shard, keys, account.tenant_id, caps)
    late = keys.names()[len(early) + 3 :]
    act = 7 + (account.meter == "unique") + ((2 + len(caps)) if call.ceilings else 0)
    words = 3 + len(keys.names()) + call.before + 1 + len(said) + 2 + act + len(moved)
    return Frame(
        head=b"*%d\r\n" % words + _bulks(("EVALSHA", call.script.sha, len(keys.names()), *early)),
        tag=keyspace.tag(shard).encode(),
        keys=_bulks(late),
        account=_bulks((1, *said, 1, 1)),
        places=_bulks(places),
        caps=_bulks(moved),
    )


def packed(made: Frame, before: bytes, act: Act, today: int, ceilings: tuple[int, ...] = ()) -> bytes:
    """The call. `before` stands before the accounts; `ceilings` are two of the act, then one for each cap."""
    digest, payload, tag = act.digest, act.payload, made.tag
    bucket = keyspace.mark_bucket(digest)
    parts = [
        made.head,
        bulk(_MARK % (tag, today, bucket)),
        bulk(_MARK % (tag, today - 1, bucket)),
        bulk(_MARK % (tag, today - 2, bucket)),
        made.keys,
        before,
        made.account,
        number(act.measured),
        made.places,
        bulk(digest[:12]),
        number(act.fingerprint),
        bulk(payload),
    ]
    if act.account.meter == "unique":
        parts.append(bulk(act.value.encode()))
    if not ceilings:
        parts.append(made.caps)
    else:
        parts += (number(ceilings[0]), number(ceilings[1]), made.caps, *map(number, ceilings[2:]))
    return b"".join(parts)


def bulk(text: bytes) -> bytes:
    """A word."""
    return b"$%d\r\n%b\r\n" % (len(text), text)


def number(value: int) -> bytes:
    """A whole number as a word."""
    return bulk(b"%d" % value)


def _bulks(words: Iterable[Argument]) -> bytes:
    return b"".join([bulk(word if isinstance(word, bytes) else str(word).encode()) for word in words])


@lru_cache(maxsize=8)
def of_run(run_id: str, life_s: int) -> bytes:
    """The first words of a call: the server's run, and how long marks are kept."""
    return _bulks((run_id, life_s))
