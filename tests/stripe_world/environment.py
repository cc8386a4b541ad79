"""Stripe World's own environment: it needs a later Python than we do; the suite finds it and keeps it."""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LOCKED = HERE / "constraints.txt"
FOLDER = ROOT / ".venv" / "stripe-world"
LEAST = (3, 13)
MISSING = (
    "STRIPE WORLD IS NOT RUN: it needs Python 3.13 or later with venv, and none was found on the PATH or "
    "under PYENV_ROOT. Charging is not tested here. Install one and run the suite again."
)


def interpreter() -> Path:
    """The Python of the environment, which is made where there is none for these locked versions.

    Without a Python that can run it the suite fails in CI, and elsewhere skips, and says so.
    """
    FOLDER.parent.mkdir(exist_ok=True)
    lock = Path(tempfile.gettempdir(), f"stripe-world-{os.getuid()}.lock")
    with lock.open("w") as held:  # several test processes make it once
        fcntl.flock(held, fcntl.LOCK_EX)
        python = FOLDER / "bin" / "python"
        stamp = FOLDER / "stamp"
        if not stamp.exists() or stamp.read_text() != LOCKED.read_text() or not _answers(str(python)):
            _make(stamp)
        return python


def find() -> str | None:
    """The first Python that is late enough. A name may be an empty promise, so each is asked."""
    home = os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv"))
    named = [shutil.which(f"python3.{minor}") for minor in (14, 13)] + [
        shutil.which("python3"),
        sys.executable,
    ]
    kept = sorted(map(str, Path(home).glob("versions/3.1[3-9]*/bin/python")), reverse=True)
    return next((each for each in (*named, *kept) if each is not None and _answers(each)), None)


def in_ci() -> bool:
    """Whether a lack is a failure."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false")


def _answers(python: str) -> bool:
    asks = f"import sys, venv, ensurepip; sys.exit(sys.version_info < {LEAST})"
    try:
        asked = subprocess.run([python, "-c", asks], capture_output=True, timeout=30, check=False)
    except OSError:
        return False
    return asked.returncode == 0


def _make(stamp: Path) -> None:
    python = find()
    if python is None:
        if in_ci():
            pytest.fail(MISSING, pytrace=False)
        pytest.skip(MISSING)
    shutil.rmtree(FOLDER, ignore_errors=True)
    subprocess.run([python, "-m", "venv", str(FOLDER)], check=True, capture_output=True)
    pip = [str(FOLDER / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-input"]
    # Its wheels say that they need 3.14; server/older_python.py is what 3.13 needs.
    done = subprocess.run(
        [
            *pip,
            "--disable-pip-version-check",
            "--ignore-requires-python",
            "--require-hashes",
            "-r",
            str(LOCKED),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"Stripe World could not be installed:\n{done.stderr[-2000:]}"
    stamp.write_text(LOCKED.read_text())
