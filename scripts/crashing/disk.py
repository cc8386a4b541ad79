"""A server on a disk whose power can be cut: what no fsync had completed for is gone then.

A process of its own, and the server's parent. The kernel hands every fsync and fdatasync of the server to it
(a seccomp filter with a listener; no compiler, no preloaded library); it does them in the server's stead, and
remembers how long each file was when one had completed. On its input it takes lines: `cut` kills the server
and cuts every file in its folder to that length; `slow MS` makes each fsync take so much longer; `fail` lets
the next one fail; each is confirmed. Its output begins with the server's pid, or says why none of this can be
had here.
"""

import argparse
import contextlib
import ctypes
import fcntl
import os
import platform
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from service.embedded import privileges
from service.embedded.privileges import Login

_SYNCS: Final = {"x86_64": (0xC000003E, 317, (74, 75)), "aarch64": (0xC00000B7, 277, (82, 83))}
"""By machine: its AUDIT_ARCH, the numbers of seccomp(2), and of fsync(2) and fdatasync(2)."""
_LOAD, _JUMP_IF, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _NOTIFY = 0x7FFF0000, 0x7FC00000
_SET_FILTER, _NEW_LISTENER = 1, 8
_NO_NEW_PRIVILEGES = 38
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_NOTICE: Final = struct.Struct("=QIIiIQ6Q")
_ANSWER: Final = struct.Struct("=QqiI")
_EIO: Final = 5
_WORKERS: Final = 3
"""One for the server's main thread, for its thread in the background, and for a rewrite."""
_LOOK_MS: Final = 50


class Told(msgspec.Struct, frozen=True):
    """The first line of the output."""

    pid: int = 0
    wrong: str = ""


class Filter(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("program", ctypes.c_void_p))


def listen() -> int:
    """From now on the kernel asks whoever reads this descriptor before it lets this process sync a file.

    Errors: OSError where the kernel, or the container around us, does not offer it.
    """
    known = _SYNCS.get(platform.machine())
    if known is None or sys.platform != "linux":
        raise OSError(0, f"fsync cannot be watched on {platform.machine()} under {sys.platform}")
    arch, seccomp, numbers = known
    steps = [
        (_LOAD, 0, 0, 4),
        (_JUMP_IF, 0, 3, arch),
        (_LOAD, 0, 0, 0),
        (_JUMP_IF, 2, 0, numbers[0]),
        (_JUMP_IF, 1, 0, numbers[1]),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _NOTIFY),
    ]
    program = b"".join(struct.pack("=HBBI", *step) for step in steps)
    buffer = ctypes.create_string_buffer(program, len(program))
    wanted = Filter(len(steps), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    listener = libc.syscall(seccomp, _SET_FILTER, _NEW_LISTENER, ctypes.byref(wanted))
    if listener < 0:
        raise OSError(ctypes.get_errno(), "the kernel lets nobody watch fsync (seccomp listener)")
    return int(listener)


class Disk:
    """What is on the disk for good, file by file."""

    def __init__(self, record: Path, folder: Path) -> None:
        self.failing = False
        self._slow_s = 0.0
        self._quick = 0
        self._changed = threading.Condition()
        self._record = record
        self._folder = folder
        self._over = False
        self._lock = threading.Lock()
        self._held: dict[int, int] = {}
        """Files that were synced, open: none that is made later gets the number of one that was deleted."""
        # What was there before anybody watched counts as synced.
        self._lengths = {}
        for path in (each for each in folder.rglob("*") if each.is_file()):
            found = path.stat()
            self._lengths[found.st_ino] = found.st_size
            self._held[found.st_ino] = os.open(path, os.O_RDONLY)
        if record.exists():
            self._lengths = msgspec.json.decode(record.read_bytes(), type=dict[int, int])

    def serve(self, listener: int) -> None:
        """Does the syncs that the listener asks for, one after the other, until nobody is left to ask."""
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        while True:
            ready = poll.poll(_LOOK_MS)
            if ready and not ready[0][1] & select.POLLIN:
                return
            if ready:
                self._do_next(listener)

    def _do_next(self, listener: int) -> None:
        notice = bytearray(_NOTICE.size)
        try:
            fcntl.ioctl(listener, _RECEIVE, notice, True)
        except OSError:
            return  # whoever asked is gone
        asked, pid, _, _, _, _, descriptor, *_ = _NOTICE.unpack(notice)
        error = self._sync(f"/proc/{pid}/fd/{descriptor}")
        with contextlib.suppress(OSError):
            fcntl.ioctl(listener, _SEND, bytearray(_ANSWER.pack(asked, 0, -error, 0)), True)

    def slow(self, seconds: float) -> None:
        """From now on each sync takes so much longer; those that began before are over."""
        with self._changed:
            self._slow_s = seconds
            self._changed.wait_for(lambda: self._quick == 0)

    def _sync(self, path: str) -> int:
        """One sync of a file that another process has open; 0, or the number of the error."""
        with self._changed:
            slow_s = self._slow_s
            self._quick += not slow_s
        try:
            return self._sync_in(path, slow_s)
        finally:
            with self._changed:
                self._quick -= not slow_s
                self._changed.notify_all()

    def _sync_in(self, path: str, slow_s: float) -> int:
        if self.failing:
            self.failing = False
            return _EIO
        try:
            file = os.open(path, os.O_RDONLY)
        except OSError as error:
            return error.errno or _EIO
        try:
            before = os.fstat(file)
            time.sleep(slow_s)
            os.fsync(file)
        except OSError as error:
            return error.errno or _EIO
        finally:
            with self._lock:
                kept = self._held.setdefault(os.fstat(file).st_ino, file)
            if kept != file:
                os.close(file)
        with self._lock:
            if not self._over:
                self._lengths[before.st_ino] = before.st_size
        return 0

    def end(self, *, cut: bool) -> None:
        """The server is gone. Cut: what was not synced is gone too, and a file that never was is empty.

        Whatever is there is remembered for the next run on these files.
        """
        with self._lock:
            self._over = True
            left = {}
            for path in (each for each in self._folder.rglob("*") if each.is_file()):
                found = path.stat()
                length = left[found.st_ino] = self._lengths.get(found.st_ino, 0)
                if cut and length < found.st_size:
                    os.truncate(path, length)
            self._record.write_bytes(msgspec.json.encode(left))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a program; ends when the server has."""
    parser = argparse.ArgumentParser(prog="scripts.crashing.disk", description=__doc__)
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--login", required=True, help="as JSON: whom the server runs as")
    parser.add_argument("server", nargs="+")
    given = parser.parse_args(arguments)
    try:
        pid, listener = start(given.server, msgspec.json.decode(given.login, type=Login), given.folder)
    except OSError as error:
        _say(Told(wrong=error.strerror or str(error)))
        return 1
    machine = Machine(Disk(given.record, given.folder), pid)
    machine.run(listener)
    return 0


def start(argv: Sequence[str], login: Login, folder: Path) -> tuple[int, int]:
    """Starts the server, its output on our error output; its pid, and the descriptor to serve it by.

    Errors: OSError.
    """
    ours, theirs = socket.socketpair()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            socket.send_fds(theirs, [b"l"], [listen()])
            privileges.become(login)
            os.chdir(folder)
            os.umask(0o077)
            os.dup2(2, 1)
            privileges.die_with(parent, signal.SIGKILL)
            os.execv(argv[0], list(argv))  # noqa: S606 - no shell is wanted
        except OSError as error:
            with contextlib.suppress(OSError):
                theirs.send(f"{error.strerror or error}".encode())
        os._exit(1)
    theirs.close()
    said, listeners, _, _ = socket.recv_fds(ours, 400, 1)
    if not listeners:
        os.waitpid(pid, 0)
        raise OSError(0, said.decode())
    return pid, listeners[0]


class Machine:
    """The server and its disk, as they are ordered about."""

    def __init__(self, disk: Disk, pid: int) -> None:
        self._disk = disk
        self._pid = pid
        self._cut = False

    def run(self, listener: int) -> None:
        """Serves and obeys until the server is gone."""
        for _ in range(_WORKERS):
            threading.Thread(target=self._disk.serve, args=(listener,), daemon=True).start()
        threading.Thread(target=self._obey, daemon=True).start()
        _say(Told(pid=self._pid))
        os.waitpid(self._pid, 0)
        self._disk.end(cut=self._cut)

    def _obey(self) -> None:
        for line in sys.stdin:
            order, _, number = line.strip().partition(" ")
            if order == "slow":
                self._disk.slow(int(number) / 1000)
            elif order == "fail":
                self._disk.failing = True
            elif order == "cut":
                self._cut = True
                self._kill()
            os.write(1, b"done\n")
        self._kill()  # whoever gave orders is gone

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)


def _say(told: Told) -> None:
    os.write(1, msgspec.json.encode(told) + b"\n")


if __name__ == "__main__":
    raise SystemExit(main())
