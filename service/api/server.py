"""One process that serves the API over HTTP/1.1: what it listens on, how long it waits, how it ends."""

import asyncio
import errno
import socket
import weakref
from asyncio import TimerHandle
from functools import partial
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from policies import limits
from service.api import exchange
from service.api.app import Metergate

KEEP_ALIVE_S: Final = 75
"""Longer than the usual 60 s of a load balancer, so that it is never we who hang up first."""
SHUTDOWN_S: Final = 10
"""How long requests that are under way may take to end when the process is asked to."""
_PORT_MAX: Final = 65_535


class AddressError(Exception):
    """The address cannot be listened on; the text is a sentence for whoever chose it."""


class BoundedProtocol(HttpToolsProtocol):
    """The server's protocol with bounds for the head of a request, which its fast parser does not have."""

    _head_bytes = 0
    """Of a head that is not complete yet; -1 between its end and the next one's beginning."""
    _overdue: TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A client has connected: its first head is awaited."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._forget_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        began_in_head = self._head_bytes >= 0
        super().data_received(data)
        if began_in_head and self._head_bytes >= 0:
            self._head_bytes += len(data)
            if self._head_bytes > limits.HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response(f"The head of a request has at most {limits.HEAD_BYTES} bytes.")

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        """Its head is complete."""
        self._forget_head()
        super().on_headers_complete()
        # The cycle holds the scope, so this must not hold the cycle: else only the collector frees them.
        cycle = weakref.ref(self.cycle)
        offered: Any = {
            exchange.WHOLE: partial(_answer_whole, cycle),
            exchange.BODY: partial(_whole_body, cycle),
        }
        self.scope["extensions"] = offered

    def _await_head(self) -> None:
        self._forget_head()
        self._head_bytes = 0
        self._overdue = self.loop.call_later(limits.HEAD_SECONDS, self.transport.close)

    def _forget_head(self) -> None:
        self._head_bytes = -1
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None


def _whole_body(answering: weakref.ref[RequestResponseCycle]) -> bytes | None:
    """The body, if all of it is here and nobody was held up while it came; nothing is taken away."""
    cycle = answering()
    if cycle is None or cycle.more_body or cycle.disconnected or cycle.response_complete:
        return None
    return None if cycle.waiting_for_100_continue or cycle.flow.read_paused else bytes(cycle.body)


def _answer_whole(answering: weakref.ref[RequestResponseCycle], head: bytes, body: bytes) -> bool:
    """Writes an answer in one piece; False, and nothing is written, where it has to go the usual way.

    `head` is the status line and the headers, each with its line end; what the server adds to every answer is
    added here, as uvicorn does it.
    """
    cycle = answering()
    if cycle is None or cycle.disconnected or cycle.response_started or cycle.flow.write_paused:
        return False
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    parts = [head]
    for name, value in cycle.default_headers:
        parts += (name, b": ", value, b"\r\n")
    parts += (b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n", body)
    cycle.transport.write(b"".join(parts))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True


def listen(host: str, port: int) -> socket.socket:
    """A socket on this address; port 0 takes a free one.

    Errors: AddressError.
    """
    if not 0 <= port <= _PORT_MAX:
        raise AddressError(f"A port is a number from 0 to {_PORT_MAX}, not {port}.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise AddressError(f"Port {port} on {host} is taken; choose another.") from error
        raise AddressError(f"Cannot listen on {host}, port {port}: {error.strerror or error}.") from error


def make_server(app: Metergate, **options: Any) -> uvicorn.Server:
    """The server of an application, not started yet; `options` go to uvicorn."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            loop="uvloop",
            http=BoundedProtocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=SHUTDOWN_S,
            **options,
        )
    )
