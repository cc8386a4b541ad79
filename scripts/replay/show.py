"""How a replay looks: a bar while it runs, a table of the tenants, the sums beside those of the file."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from scripts.replay.proof import Sum, Witness
from scripts.replay.sending import Answer, Sent

PARTS: Final = 20
"""Lines of progress where there is no terminal."""
_UNBOUNDED: Final = 100_000
"""The width where no person looks: every row is one line."""


class Screen:
    """The output: plain lines, and above all of them the bar if it is a terminal."""

    def __init__(self) -> None:
        terminal = Console().is_terminal
        self._console = Console(width=None if terminal else _UNBOUNDED, highlight=False, emoji=False)

    def line(self, text: str = "") -> None:
        """One line, as it is."""
        if self._console.is_terminal:
            self._console.print(text, markup=False, soft_wrap=True)  # above the bar
        else:
            click.echo(text)

    @contextmanager
    def counting(self, total: int) -> Iterator["Meter"]:
        """Shows how many calls have been sent."""
        if not self._console.is_terminal:
            yield Meter(self, total)
            return
        columns = (TextColumn("Sending"), BarColumn(), MofNCompleteColumn(), TextColumn("calls"))
        with Progress(*columns, TimeElapsedColumn(), console=self._console) as progress:
            task = progress.add_task("", total=total)
            yield Meter(self, total, advance=lambda number: progress.advance(task, number))

    def table(self, sent: Sequence[Sent]) -> None:
        """One row for each tenant."""
        shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for name in ("tenant", "plan"):
            shown.add_column(name, no_wrap=True)
        for name in ("events", "tokens"):
            shown.add_column(name, justify="right", no_wrap=True)
        for name in ("before", "after", "refusals begin at (UTC)"):
            shown.add_column(name)
        for one in sent:
            shown.add_row(*_row(one))
        with self._console.capture() as captured:
            self._console.print(shown)
        for line in captured.get().splitlines():
            self.line(line.rstrip())

    def witnesses(self, wanted: Sum, witnesses: Sequence[Witness]) -> None:
        """The sums, one under the other, and what differs."""
        names = ["The file", *(witness.name for witness in witnesses)]
        sums = [wanted, *(witness.total for witness in witnesses)]
        width = max(map(len, names))
        for name, total in zip(names, sums, strict=True):
            events = "" if total.events is None else f"{total.events:,} events"
            self.line(f"{name.ljust(width)}  {events:>18}  {total.tokens:>16,} tokens")
        for witness in witnesses:
            for difference in witness.differences:
                self.line(f"  {witness.name} differs for {difference}")


class Meter:
    """Counts calls. Without a terminal it writes a line now and then."""

    def __init__(self, screen: Screen, total: int, *, advance: Callable[[int], None] | None = None) -> None:
        self._screen, self._total, self._advance = screen, total, advance
        self._done = 0

    def add(self, number: int) -> None:
        """So many more have been sent."""
        before, self._done = self._done, self._done + number
        if self._advance is not None:
            self._advance(number)
        elif before * PARTS // self._total != self._done * PARTS // self._total:
            self._screen.line(f"Sent {self._done:,} of {self._total:,} calls")


def instant(at: datetime) -> str:
    """An instant as `--end` takes it."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def statuses(sent: Sequence[Sent]) -> str:
    """How the events were answered."""
    counts: Counter[str] = sum((one.statuses for one in sent), Counter())
    return (
        f"{counts['accepted']:,} accepted, {counts['duplicate']:,} duplicates, "
        f"{counts['rejected']:,} rejected"
    )


def _row(one: Sent) -> tuple[str, ...]:
    tokens = sum(call.tokens for call in one.calls)
    begin = "none"
    if one.refusal is not None:
        refusal = one.refusal
        begin = f"call {refusal.number:,} at {refusal.call.at:%H:%M:%S} ({refusal.reason})"
    return (
        one.tenant.tenant_id,
        one.tenant.plan_id,
        f"{len(one.calls):,}",
        f"{tokens:,}",
        _decision(one.before),
        _decision(one.after),
        begin,
    )


def _decision(answer: Answer | None) -> str:
    if answer is None:
        return ""
    overage = f", {answer.overage:,} over" if answer.overage else ""
    return f"{answer.outcome}: {answer.reason}{overage}"
