"""Ids that are made at every request: unique and cheap, told to callers and found again in logs.

A prefix at random for each process, then a count. They are names, not secrets: whoever knows one can guess
its neighbours, and none of them opens anything.
"""

import itertools
import os
import secrets


class Ids:
    """The ids of one kind."""

    def __init__(self, kind: str, *, prefix_bytes: int, digits: int) -> None:
        """`digits` of hexadecimal count; they hold for as long as a process can live."""
        self._kind, self._prefix_bytes, self._digits = kind, prefix_bytes, digits
        self.renew()

    def renew(self) -> None:
        """Begins anew: in a child of this process, which would give the same ids."""
        self._head = f"{self._kind}_{secrets.token_hex(self._prefix_bytes)}"
        self._count = itertools.count()

    def new(self) -> str:
        """One that nobody was given before."""
        return f"{self._head}{next(self._count):0{self._digits}x}"


DECISIONS = Ids("dec", prefix_bytes=6, digits=8)
REQUESTS = Ids("req", prefix_bytes=8, digits=8)
EVENTS = Ids("evt", prefix_bytes=9, digits=8)

for _ids in (DECISIONS, REQUESTS, EVENTS):
    os.register_at_fork(after_in_child=_ids.renew)
