"""Decides as whom the private servers run, and makes a new process that user.

Started by root, the servers run as another user, since PostgreSQL refuses root and a server needs none of
its rights. That user may be unable to pass a folder above the checkout or above the data (`/root` has mode
0700). Opening such a folder is not ours to do. The server keeps one capability instead, the weakest that
suffices, as an ambient one: it survives the change of user and the exec.
"""

import ctypes
import os
import pwd
import signal
import sys
from collections.abc import Mapping
from typing import Final

import msgspec

from service.embedded.errors import EmbeddedError

SERVER_USER: Final = "METERGATE_SERVER_USER"
CAP_DAC_OVERRIDE: Final = 1
CAP_DAC_READ_SEARCH: Final = 2
CAPABILITY_NAMES: Final = {CAP_DAC_OVERRIDE: "CAP_DAC_OVERRIDE", CAP_DAC_READ_SEARCH: "CAP_DAC_READ_SEARCH"}

# Numbers of linux/prctl.h and linux/capability.h; Python has no names for them.
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_SECUREBITS: Final = 28
_SECBIT_NO_SETUID_FIXUP: Final = 1 << 2
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_RAISE: Final = 2
_CAPABILITY_VERSION_3: Final = 0x20080522
_LINUX: Final = sys.platform == "linux"
# Loaded once here: between fork and exec there must be no import and no search for a library.
_LIBC: Final = ctypes.CDLL(None, use_errno=True) if _LINUX else None


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A user of this machine."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """As whom a process runs. Without an account it stays who we are."""

    account: Account | None = None
    capability: int | None = None
    """The one capability that an account of its own keeps."""


def candidates(account: Account | None) -> tuple[Login, ...]:
    """The logins to try, weakest first.

    Reading and passing folders is enough nearly always. Overriding is for containers whose bounding set lacks
    the former, and for programs that were installed with a mask which forbids others to execute them.
    """
    if account is None or not _LINUX:
        return (Login(account=account),)
    kept = (None, CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE)
    return tuple(Login(account=account, capability=capability) for capability in kept)


def account(environment: Mapping[str, str]) -> Account | None:
    """The user that servers run as when root starts them: METERGATE_SERVER_USER, else `nobody`.

    Errors: EmbeddedError for a name that does not exist or is root's.
    """
    if os.geteuid() != 0:
        return None
    name = environment.get(SERVER_USER) or "nobody"
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise EmbeddedError(f"The user {name!r} of {SERVER_USER} does not exist on this machine.") from None
    if entry.pw_uid == 0:
        raise EmbeddedError(f"The servers cannot run as root; name another user in {SERVER_USER}.")
    groups = tuple(os.getgrouplist(name, entry.pw_gid))
    return Account(name=name, uid=entry.pw_uid, gid=entry.pw_gid, groups=groups)


def become(login: Login) -> None:
    """Make this process the login's user. Called in a child before its exec; cannot be undone."""
    if login.account is None:
        return
    if login.capability is not None:
        # Keeps what we can do over the change of user, until `_keep` drops all but one. It stays set after
        # that: else access(2), which PostgreSQL asks about its own programs, leaves the capability out.
        _prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP)
    os.setgroups(login.account.groups)
    os.setgid(login.account.gid)
    os.setuid(login.account.uid)
    if login.capability is not None:
        _keep(login.capability)


def die_with(parent: int, death_signal: signal.Signals) -> None:
    """Have the kernel send `death_signal` to this process when `parent` is gone. Linux only.

    Called last before the exec: a change of user clears the request. A parent that died before it was made is
    noticed by its pid. Elsewhere a server is stopped only by its supervisor.
    """
    if not _LINUX:
        return
    _prctl(_PR_SET_PDEATHSIG, death_signal)
    if os.getppid() != parent:
        os._exit(1)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def _keep(capability: int) -> None:
    bit = 1 << capability
    sets = (_Sets * 2)(_Sets(bit, bit, bit), _Sets(0, 0, 0))
    header = _Header(_CAPABILITY_VERSION_3, 0)
    assert _LIBC is not None
    if _LIBC.capset(ctypes.byref(header), ctypes.byref(sets)) != 0:
        raise OSError(ctypes.get_errno(), "capset")
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability)


def _prctl(option: int, *arguments: int) -> None:
    # Each argument is a whole word: ctypes would pass an int as 32 bits and leave the upper half to chance.
    words = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    assert _LIBC is not None
    if _LIBC.prctl(option, *words) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
