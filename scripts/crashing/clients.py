"""The clients of a run: a process that is never killed, with a ledger of its own.

It reads its order, one line of JSON, and sends until its input says anything more or ends; then each client
finishes what it has under way, and the ledger is written. A client is a small loop that sends, believes only
answers, and comes again with the same id where there was none.
"""

import asyncio
import sys
from pathlib import Path
from typing import Final

import msgspec

from scripts.crashing import limit_clients, usage_clients
from scripts.crashing.client import Crowd
from scripts.crashing.ledger import Ledger
from scripts.crashing.world import World
from service import clock

TOLD_EVERY_S: Final = 1.0
FINISH_S: Final = 60.0
"""How long clients may take to finish once everything is up again."""


class Kinds(msgspec.Struct, frozen=True, kw_only=True):
    """How many clients there are of each kind."""

    batches: int = 3
    batch: int = 800
    """Events of one batch, at most."""
    singles: int = 2
    consumers: int = 6
    holders: int = 3
    revisers: int = 1


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done, and where the ledger goes."""

    world: World
    ports: tuple[int, ...]
    seed: int
    ledger: str
    kinds: Kinds


class Progress(msgspec.Struct, frozen=True):
    """A line of output: how many acknowledgements there were."""

    acknowledged: int


async def run(order: Order) -> Ledger:
    """Sends until the input says something; the ledger."""
    ledger, stop = Ledger(), asyncio.Event()
    crowd = Crowd(order.world, order.ports, order.seed, order.kinds.batch, ledger, stop)
    clients = [
        kind(crowd, number)
        for kind, count in (
            (usage_clients.Batches, order.kinds.batches),
            (usage_clients.Singles, order.kinds.singles),
            (usage_clients.Revisers, order.kinds.revisers),
            (limit_clients.Consumers, order.kinds.consumers),
            (limit_clients.Holders, order.kinds.holders),
        )
        for number in range(count)
    ]
    tasks = [asyncio.create_task(client.run()) for client in clients]
    telling = asyncio.create_task(_tell(ledger))
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    stop.set()
    done, late = await asyncio.wait(tasks, timeout=FINISH_S)
    telling.cancel()
    for task in late:
        task.cancel()
        ledger.wonder("a client could not finish", str(task.get_coro()))
    for task in done:
        task.result()
    return ledger


async def _tell(ledger: Ledger) -> None:
    while True:
        await asyncio.sleep(TOLD_EVERY_S)
        sys.stdout.write(msgspec.json.encode(Progress(ledger.acknowledgements)).decode() + "\n")
        sys.stdout.flush()


def main() -> None:
    """Run as a program."""
    order = msgspec.json.decode(sys.stdin.readline(), type=Order)
    begun = clock.monotonic_s()
    ledger = asyncio.run(run(order))
    ledger.write(Path(order.ledger))
    sys.stderr.write(f"clients: {clock.monotonic_s() - begun:.1f} s, {ledger.answers}\n")


if __name__ == "__main__":
    main()
