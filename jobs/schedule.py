"""The table of jobs. APScheduler only ticks: each is right whenever, wherever and however often it runs."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

import msgspec

from jobs import (
    announce,
    books,
    close,
    expire,
    flush,
    housekeep,
    inbox,
    look,
    notices,
    overdue,
    push,
    reconcile,
)
from jobs.context import JobContext
from policies import limits


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job and how often it is begun, in seconds. It answers what it did, in words, or nothing."""

    name: str
    every_s: float
    run: Callable[[JobContext, datetime], Awaitable[str]]


JOBS: Final = (
    Job(name="flush", every_s=limits.FLUSH_INTERVAL_S, run=flush.run),
    Job(name="inbox", every_s=1.0, run=inbox.run),
    Job(name="announce", every_s=1.0, run=announce.run),
    Job(name="expire", every_s=1.0, run=expire.run),
    Job(name="close", every_s=60.0, run=close.run),
    Job(name="overdue", every_s=60.0, run=overdue.run),
    Job(name="push", every_s=5.0, run=push.run),
    Job(name="look", every_s=1.0, run=look.run),
    Job(name="notices", every_s=60.0, run=notices.run),
    Job(name="books", every_s=limits.BOOKS_INTERVAL_S, run=books.run),
    Job(name="reconcile", every_s=30.0, run=reconcile.run),
    Job(name="housekeep", every_s=60.0, run=housekeep.run),
)
