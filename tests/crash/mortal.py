"""Runs jobs in processes that are to die at a crash point: reads orders line by line, says how each ended.

One process reads the code; each job then runs in a child of it, in which the point is armed. So a death costs
next to nothing, and is one all the same: nothing of the child is left but what it had written.
"""

import asyncio
import os
import sys
import traceback
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import msgspec

from integrations.file_billing.gateway import FilePayments
from jobs import close, look, notices, push, reconcile, worker
from jobs.context import JobContext
from policies import limits
from service import config
from service.clock import FixedClock
from service.usecases import reconcile_apply
from store import crash_points
from tests.conftest import ROOT

JOBS = {"close": close, "push": push, "notices": notices, "look": look, "reconcile": reconcile}


class Order(msgspec.Struct, frozen=True):
    """A job at an instant, and where it is to die; empty: nowhere."""

    job: str
    at: datetime
    point: str = ""
    plan: str = ""
    """Of `apply`: by which plan."""
    folder: str = ""
    """Of the provider; empty: none."""


async def run(order: Order) -> None:
    present = FixedClock(order.at)
    async with worker.open_context(config.read(), present) as opened:
        context = opened
        if order.folder:
            payments = FilePayments(Path(order.folder), now=present.now)
            context = replace(opened, uses=replace(opened.uses, payments=payments))
        await _run(context, order)


async def _run(context: JobContext, order: Order) -> None:
    await context.uses.catalogs.refresh()
    if order.job == "apply":
        await reconcile_apply.apply(context.uses, ROOT, order.plan)
    else:
        await JOBS[order.job].run(context, order.at)


def child(order: Order) -> int:
    limits.CLOSE_BATCH = 2
    if order.point:
        crash_points._armed = crash_points.Armed(order.point)
    asyncio.run(run(order))
    return 0


def main() -> None:
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = child(msgspec.json.decode(line, type=Order))
            except BaseException:  # noqa: BLE001 - whatever it was, this is the end of a child
                traceback.print_exc()
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
