"""How the private PostgreSQL is made, started and known to be ready."""

from pathlib import Path
from typing import Final

USER: Final = "metergate"
"""The superuser of the cluster. Who may enter is decided by the mode of the socket's folder."""

SETTINGS: Final = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "shared_buffers": "128MB",
    # What processes share stays in the data folder: nothing is left in /dev/shm, whose size does not matter.
    "dynamic_shared_memory_type": "mmap",
    "logging_collector": "off",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


def initdb(program: Path, cluster: Path, *, locale: str) -> list[str | Path]:
    """The command that makes a cluster with checksums, open to its socket and closed to the network."""
    return [
        program,
        *("-D", cluster),
        *("-U", USER),
        *("--encoding", "UTF8"),
        *("--locale", locale),
        "--data-checksums",
        "--auth-local=trust",
        "--auth-host=reject",
        "--no-instructions",
    ]


def command(program: Path, cluster: Path, sockets: Path) -> list[str | Path]:
    """The postmaster itself, in the foreground; its log is its output."""
    # The setting is a list of folders; quoted, a space in one is no end of it.
    quoted = '"' + str(sockets).replace('"', '""') + '"'
    settings = SETTINGS | {"unix_socket_directories": quoted}
    return [
        program,
        "-D",
        cluster,
        *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
    ]


def ready(cluster: Path) -> bool:
    """True when the postmaster says so in the eighth line of its pid file, as pg_ctl reads it."""
    try:
        lines = (cluster / "postmaster.pid").read_text().splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and lines[7].strip() == "ready"  # noqa: PLR2004 - the line's fixed place
