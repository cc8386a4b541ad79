"""How the private Valkey (or Redis) is started and known to be ready."""

import socket
from pathlib import Path
from typing import Final

SETTINGS: Final = {
    "port": "0",
    "unixsocketperm": "700",
    "protected-mode": "yes",
    "daemonize": "no",
    # The journal of usage: a write is on disk before it is answered, also while the file is being rewritten.
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "save": "",
    # Evicting a counter or a journal entry would lose usage; a full memory refuses instead.
    "maxmemory-policy": "noeviction",
}
_PING_S: Final = 1.0


def command(program: Path, folder: Path, socket_path: Path) -> list[str | Path]:
    """The server in the foreground; its log is its output."""
    settings = SETTINGS | {"dir": str(folder), "unixsocket": str(socket_path)}
    return [program, *(part for name, value in settings.items() for part in (f"--{name}", value))]


def ready(socket_path: Path) -> bool:
    """True when it answers PING with PONG: while it still loads its files it answers an error."""
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(_PING_S)
            client.connect(str(socket_path))
            client.sendall(b"PING\r\n")
            return client.recv(64).startswith(b"+PONG")
    except OSError:
        return False
