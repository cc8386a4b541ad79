"""Shows what a start is doing: a spinner on a terminal, plain lines elsewhere, seconds in both."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text


class Progress:
    """Writes to one console. Text is not read as markup nor broken into lines: it has paths and commands."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def step(self, doing: str) -> Iterator[None]:
        """One step: announced while it lasts, and one line with its seconds when it has succeeded."""
        begun = time.monotonic()
        if self._console.is_terminal:
            with self._console.status(Text(doing)):
                yield
        else:
            yield
        self.line(f"{doing} ({time.monotonic() - begun:.1f} s)")

    def line(self, text: str = "") -> None:
        """One line, as it is."""
        self._console.print(text, soft_wrap=True, markup=False, highlight=False, emoji=False)
