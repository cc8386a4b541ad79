"""Named instants at which a test may end or stop this process: between steps that must hold by themselves.

They do nothing unless the environment names one of them, which only `scripts/crash` and the tests do:
`METERGATE_CRASH_POINT=flush-committed` kills the process when it passes there, `flush-committed:3` when it
does so for the third time, and `flush-committed:3:stop` stops it there, until it is told to go on.
"""

import os
import signal
from typing import Final, Literal, get_args

Point = Literal[
    # the flush (store/flush.py)
    "flush-read",  # journals were read, nothing is locked
    "flush-locked",  # the cursors are ours
    "flush-kept",  # events are written, nothing is committed, the cursors stand
    "flush-advanced",  # the cursors are moved, nothing is committed
    "flush-committed",  # all of it is committed
    "trim-noted",  # what may go is noted, nothing is gone
    "trimmed",  # it is gone
    # duplicates that Redis had counted (store/corrections.py)
    "correction-waiting",  # the cursor is ours, the corrections are read
    "correction-sent",  # the counters came down, Postgres still has the correction
    # a server that is new (store/certify.py)
    "certify-locked",  # one certifier, nothing done
    "certify-rewritten",  # the file is rewritten, nothing says so
    "certify-continued",  # streams give ids past their cursors
    "certify-flushed",  # journals are in Postgres
    "certify-forgotten",  # corrections are gone, counters as they were
    "certify-drained",  # the cursors are ours, and nothing waits past them
    "certify-dropped",  # counters are gone
    "certify-put-back",  # they are back, the fences closed
    "certify-opened",  # the fences are open, nothing is committed
    # acts of a request (store/counters.py, consuming.py, holds.py, revising.py)
    "recorded",  # the journal has it, nobody was told
    "consumed",
    "reserved",
    "ended",
    "revised",
    # usage that waits in Postgres (service/usecases/inbox.py, catching_up.py)
    "inbox-kept",  # written, not committed
    "inbox-committed",  # committed, nobody was told
    "inbox-sent",  # the scripts have it, its row is as it was
    # the close of billing periods (service/usecases/closing.py, issuing.py)
    "close-locked",  # the shard and its accounts are ours
    "close-weighed",  # what is owed is known, nothing is written
    "close-moved",  # periods and accounts are written
    "close-numbered",  # invoices have their numbers, and are not there
    "close-issued",  # all of it is written, not committed
    "close-committed",  # committed; other shards are as they were
    # the push of invoices to a payment provider (jobs/push.py, jobs/charging)
    "push-planned",  # charges are planned, nobody works on them
    "push-sending",  # an order may have been sent, and was not
    "push-answered",  # it was carried out, and we do not know
    "push-kept",  # we know
    "push-bound",  # the invoice binds, and we do not know
    "push-paying",  # an attempt may have been made, and was not
    "push-paid",  # it was made, and we do not know what came of it
    # what a provider tells (jobs/notices.py, jobs/look.py)
    "notices-asked",  # what has happened was heard, nothing is kept
    "notices-kept",  # it is kept, and will be asked for again
    "look-claimed",  # a thing is ours to look at
    "look-fetched",  # it was fetched, nothing follows from it
    "look-kept",  # what follows is committed, decisions go by what they had
    # putting right what differs (service/usecases/reconcile.py, reconcile_apply.py)
    "reconcile-made",  # a plan is written
    "reconcile-acted",  # the provider has done it, and we do not know
    "reconcile-noted",  # it is noted, not committed
    "reconcile-done",  # committed; the rest of the plan is as it was
]
POINTS: Final[tuple[Point, ...]] = get_args(Point)
BILLING: Final = frozenset(
    point for point in POINTS if point.partition("-")[0] in {"close", "push", "notices", "look", "reconcile"}
)
"""Those of jobs about money. Usage alone never leads to them; tests kill at each, one after the other."""
VARIABLE: Final = "METERGATE_CRASH_POINT"


class Armed:
    """The point that this process is to end or stop at, and at which pass."""

    def __init__(self, told: str) -> None:
        name, _, rest = told.partition(":")
        passes, _, act = rest.partition(":")
        if name not in POINTS or not (passes or "1").isdecimal() or act not in ("", "stop"):
            raise ValueError(f"{VARIABLE} names no crash point: {told}")
        self.name = name
        self.signal = signal.SIGSTOP if act == "stop" else signal.SIGKILL
        self._left = int(passes or "1")

    def passed(self, name: Point) -> None:
        """One pass of a point."""
        if name == self.name:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), self.signal)


_armed: Final = Armed(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None


def crash_point(name: Point) -> None:
    """Nothing, unless the environment named this point when the process began."""
    if _armed is not None:
        _armed.passed(name)
