"""Breaks each law in a copy of the tree, one edit at a time, and looks whether the tests notice."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from scripts.lawbreaking import laws
from scripts.lawbreaking.laws import Edit

ROOT: Final = Path(__file__).parents[2]
PASSED, FAILED = 0, 1
"""What pytest ends with; anything else says that the tests could not be run, which notices nothing."""
LONGEST_S: Final = 300


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if every edit was noticed and nothing failed without one."""
    parser = argparse.ArgumentParser(prog="scripts/laws", description=__doc__)
    parser.add_argument("--law", type=int, metavar="N", help="only this one")
    given = parser.parse_args(arguments)
    numbered = [one for one in enumerate(laws.read(ROOT), start=1) if given.law in (None, one[0])]
    with tempfile.TemporaryDirectory(prefix="mg-laws-") as folder:
        copy = Path(folder)
        _copied(copy)
        tests = sorted({test for _, law in numbered for edit in law.edits for test in edit.noticed_by})
        if _run(copy, tests) != PASSED:
            print("These tests fail without any edit; nothing can be learned from them:", *tests)
            return 1
        unnoticed = 0
        for number, law in numbered:
            print(f"{number}. {law.law}")
            unnoticed += sum(not _noticed(copy, edit) for edit in law.edits)
    print("Every edit was noticed." if not unnoticed else f"{unnoticed} edits were not noticed.")
    return 1 if unnoticed else 0


def _copied(copy: Path) -> None:
    """What is in the tree or would be, as it is now; the environment is shared."""
    listed = ["git", "ls-files", "-z", "-co", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    subprocess.run(["git", "init", "--quiet"], cwd=copy, check=True)


def _noticed(copy: Path, edit: Edit) -> bool:
    began, path = time.monotonic(), copy / edit.file
    try:
        path.write_text(edit.made(copy), encoding="utf-8")
        # Compiled modules are recognised by second and size: no two of a file may have the same.
        os.utime(path, (began, began))
        ended = _run(copy, [*edit.noticed_by, "--exitfirst"])
    finally:
        shutil.copy2(ROOT / edit.file, path)
    word = {FAILED: "noticed", PASSED: "NOT NOTICED"}.get(ended, "NOT NOTICED: the tests could not be run")
    print(f"   {word}, {time.monotonic() - began:.0f} s: {edit.breaks}", flush=True)
    return ended == FAILED


def _run(copy: Path, arguments: Sequence[str]) -> int:
    """-P, and the copy as the place of the rooms: else the tree itself would be what is tried."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(copy)},
        capture_output=True,
        check=False,
        timeout=LONGEST_S,
    )
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
