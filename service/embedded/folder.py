"""The data folder: what lies where in it, who holds it, and where the sockets fit.

DATA/                 0700, or root:<server's group> 0710, so that only we write to its top
  instance.lock       held by the supervisor: one instance on one folder
  servers.lock        held by every server process: the folder is free when the last of them is gone
  postgres/ valkey/   0700, the server user's
  run/                0700, the server user's: the sockets, if their paths are short enough
  logs/ key           0700 and 0600, ours
"""

import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Final, Self

import msgspec

from service.embedded.errors import EmbeddedError
from service.embedded.privileges import Account

SOCKET_PATH_BYTES: Final = 103
"""The longest socket path that every system takes: `sun_path` has 104 bytes on macOS and 108 on Linux."""
POSTGRES_SOCKET: Final = ".s.PGSQL.5432"
VALKEY_SOCKET: Final = "valkey.sock"


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """The paths of one data folder."""

    root: Path

    @property
    def lock(self) -> Path:
        """Also the mark by which we know a folder as ours."""
        return self.root / "instance.lock"

    @property
    def servers_lock(self) -> Path:
        """Inherited by the servers and by all that they start."""
        return self.root / "servers.lock"

    @property
    def postgres(self) -> Path:
        """The cluster; it exists only once it is complete."""
        return self.root / "postgres"

    @property
    def unfinished(self) -> Path:
        """A cluster that is being made, or whose making was interrupted."""
        return self.root / "postgres.new"

    @property
    def valkey(self) -> Path:
        """The append-only files."""
        return self.root / "valkey"

    @property
    def key(self) -> Path:
        """The secret that `READY` prints, kept for the next start."""
        return self.root / "key"

    @property
    def demo(self) -> Path:
        """Marks that the example catalog and the demo tenants are in."""
        return self.root / "demo"

    def log(self, name: str) -> Path:
        """The log of one process."""
        return self.root / "logs" / f"{name}.log"


class Lock:
    """An advisory lock on a file; it ends with the last process that has it open."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    def take(self) -> bool:
        """Take it if nobody has it."""
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def sign(self, state: str) -> None:
        """Write our pid and state into it, for those who find it taken."""
        text = f"process {os.getpid()}, {state}".encode()
        os.ftruncate(self.fd, 0)
        os.pwrite(self.fd, text, 0)

    def signature(self) -> str:
        """What the process that signed it last wrote."""
        return os.pread(self.fd, 64, 0).decode(errors="replace")


def open_root(data: Path, account: Account | None) -> Layout:
    """Make the folder, or take one that is empty or ours.

    Errors: EmbeddedError for a folder with foreign content, or one that we may not use; it is left as it was.
    """
    layout = Layout(root=data.resolve())
    try:
        layout.root.mkdir(parents=True, exist_ok=True)
        if not layout.lock.exists() and any(layout.root.iterdir()):
            raise EmbeddedError(f"{layout.root} holds other files; name an empty folder or a new one.")
        if account is None:
            layout.root.chmod(0o700)
        else:
            os.chown(layout.root, -1, account.gid)
            layout.root.chmod(0o710)
    except OSError as error:
        raise EmbeddedError(f"The data folder {layout.root} cannot be used: {error.strerror}.") from error
    return layout


def furnish(layout: Layout, account: Account | None) -> None:
    """Make what stands inside; the caller holds `instance.lock`.

    Errors: EmbeddedError when the data belong to a user other than the one that the servers run as.
    """
    layout.log("").parent.mkdir(mode=0o700, exist_ok=True)
    owner = os.geteuid() if account is None else account.uid
    for path in (layout.postgres, layout.valkey):
        if path.exists() and path.stat().st_uid != owner:
            raise EmbeddedError(
                f"{path} belongs to the user with id {path.stat().st_uid}; start as that user,"
                " or as root with METERGATE_SERVER_USER naming it."
            )
    if not layout.valkey.exists():
        make_private(layout.valkey, account)


def make_private(path: Path, account: Account | None) -> None:
    """A new empty folder of mode 0700 for the server user; an old one of ours with that name is removed.

    Errors: EmbeddedError if what stands there is not ours to remove.
    """
    if os.path.lexists(path):
        found = path.lstat()
        ours = {os.geteuid()} if account is None else {os.geteuid(), account.uid}
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in ours:
            raise EmbeddedError(
                f"{path} is in the way and not ours; remove it, or set TMPDIR to another folder."
            )
        shutil.rmtree(path)
    path.mkdir(mode=0o700)
    if account is not None:
        os.chown(path, account.uid, account.gid)


def sockets(root: Path) -> Path:
    """Where the sockets go: `run` in the data folder if their paths fit, else a short folder of our own.

    The short one is in TMPDIR or /tmp, named by a hash of the data folder, so that a later start finds and
    clears what a killed one left. A comma also sends them there: to libpq it separates hosts.

    Errors: EmbeddedError if no place is short enough.
    """
    name = f"metergate-{hashlib.sha256(os.fsencode(root)).hexdigest()[:12]}"
    places = [root / "run", Path(tempfile.gettempdir()).resolve() / name, Path("/tmp").resolve() / name]  # noqa: S108 - made with 0700, refused if it is somebody else's
    for place in places:
        if len(os.fsencode(place / POSTGRES_SOCKET)) <= SOCKET_PATH_BYTES and "," not in str(place):
            return place
    raise EmbeddedError(
        f"No folder for sockets is short enough below {places[1].parent}; set TMPDIR to a short path."
    )


def remove(path: Path) -> None:
    """Remove a folder of sockets; what cannot be removed is cleared by the next start."""
    shutil.rmtree(path, ignore_errors=True)


def adopt(unfinished: Path, finished: Path) -> None:
    """Give a complete folder its name, for good: a power cut leaves either the old name or the new one."""
    unfinished.rename(finished)
    parent = os.open(finished.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)
