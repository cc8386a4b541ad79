"""The program `metergate`, also as `python -m service`."""

import signal
import sys
from importlib import import_module
from typing import Final

INTERRUPTED: Final = 130
"""As a shell reports a program that Ctrl-C ended: none of our own exit codes, which scripts act on."""


def main() -> None:
    """Runs the command line and ends the process; Ctrl-C shows no traceback, be it while modules load.

    Who presses it again while the process ends already changes nothing.
    """
    try:
        import_module("service.cli.program").main()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
