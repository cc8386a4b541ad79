"""Which login reaches the programs and the data folder: the weakest that does, found by trying."""

import re
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from service.embedded import privileges, process
from service.embedded.errors import EmbeddedError
from service.embedded.privileges import Account, Login

_VERSION: Final = re.compile(r"\d+(?:\.\d+)+")
_ANSWER_S: Final = 20.0


def choose(
    account: Account | None, folders: Mapping[Path, Path], environment: Mapping[str, str]
) -> tuple[Login, dict[Path, str]]:
    """The login, and the version of each program.

    Running each program for its version inside its folder asks the kernel itself, with the folders' modes,
    access lists and mount options as they are. A calculation from modes would know less.

    Shapes: folders by program: where that program will run.
    Errors: EmbeddedError when no login reaches them all.
    """
    for login in privileges.candidates(account):
        try:
            versions = {
                program: _version(program, folder, login, environment) for program, folder in folders.items()
            }
        except (OSError, subprocess.SubprocessError):
            continue
        return login, versions
    programs = " and ".join(str(program) for program in folders)
    who = f"The user {account.name!r}" if account is not None else "This user"
    raise EmbeddedError(
        f"{who} cannot run {programs} in {next(iter(folders.values())).parent}; put both where that user can"
        f" reach them, or name another user in {privileges.SERVER_USER}."
    )


def _version(program: Path, folder: Path, login: Login, environment: Mapping[str, str]) -> str:
    child = process.start(
        [program, "--version"],
        login=login,
        folder=folder,
        death_signal=signal.SIGKILL,
        output=subprocess.PIPE,
        environment=environment,
    )
    with child:
        try:
            said, _ = child.communicate(timeout=_ANSWER_S)
        except subprocess.TimeoutExpired:
            child.kill()
            raise
    if child.returncode != 0:
        raise subprocess.SubprocessError(said)
    found = _VERSION.search(said.decode(errors="replace"))
    return found[0] if found else "unknown"
