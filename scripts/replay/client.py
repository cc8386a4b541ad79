"""Talks to a running instance over HTTP, and goes on when it was away for a while."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from http import HTTPStatus
from typing import Final, TypeVar

import httpx
import msgspec

from service import clock

PATIENCE_S: Final = 90.0
"""How long one request is tried again: a killed instance is started again within this."""
FIRST_WAIT_S: Final = 0.05
LONGEST_WAIT_S: Final = 1.0
TIMEOUT_S: Final = 15.0
_AWAY: Final = frozenset({429, 502, 503, 504})

Result = TypeVar("Result")
Say = Callable[[str], None]


class Problem(msgspec.Struct, frozen=True):
    """What an answer that refuses says of itself."""

    title: str = ""
    detail: str = ""


class AwayError(Exception):
    """Not now: it is right to ask again after `after_s`."""

    def __init__(self, why: str, after_s: float = 0.0) -> None:
        super().__init__(why)
        self.after_s = after_s


class RefusedError(Exception):
    """Never: the instance does not do what was asked, and says why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class GaveUpError(Exception):
    """It was away for longer than the patience lasts."""


class Client:
    """One instance."""

    def __init__(self, http: httpx.AsyncClient, say: Say, *, patience_s: float = PATIENCE_S) -> None:
        self._http = http
        self._say = say
        self._patience_s = patience_s
        self._waiting = 0
        self._away_since = 0.0

    @property
    def url(self) -> str:
        """Where it is."""
        return str(self._http.base_url)

    async def once(self, method: str, path: str, body: object = None, **query: str) -> bytes:
        """One request and the body of its answer.

        Errors: AwayError, RefusedError.
        """
        content = None if body is None else msgspec.json.encode(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            answer = await self._http.request(method, path, content=content, headers=headers, params=query)
        except httpx.TransportError as error:
            raise AwayError(_sentence(error)) from error
        if answer.status_code in _AWAY:
            raise AwayError(_told(answer), _retry_after_s(answer))
        if not answer.is_success:
            raise RefusedError(answer.status_code, _told(answer))
        return answer.content

    def decoded(self, content: bytes, kind: type[Result]) -> Result:
        """What an answer says.

        Errors: RefusedError for one that another program gave.
        """
        try:
            return msgspec.json.decode(content, type=kind)
        except msgspec.DecodeError as error:
            raise RefusedError(HTTPStatus.OK, f"The answer is not Metergate's: {error}.") from error

    async def persist(self, attempt: Callable[[], Awaitable[Result]], *, quietly: bool = False) -> Result:
        """What `attempt` gives; it is made again, with growing pauses, as long as it raises AwayError.

        `quietly`: that it waits is not worth a line.

        Errors: GaveUpError.
        """
        with contextlib.ExitStack() as waiting:
            pause_s, deadline = FIRST_WAIT_S, None
            while True:
                try:
                    return await attempt()
                except AwayError as error:
                    if deadline is None:
                        deadline = clock.monotonic_s() + self._patience_s
                        if not quietly:
                            waiting.enter_context(self._wait(str(error)))
                    if clock.monotonic_s() > deadline:
                        told = f"The instance was away for {self._patience_s:.0f} s: {error}"
                        raise GaveUpError(told) from error
                    await asyncio.sleep(max(pause_s, min(error.after_s, LONGEST_WAIT_S)))
                pause_s = min(2 * pause_s, LONGEST_WAIT_S)

    @contextlib.contextmanager
    def _wait(self, why: str) -> Iterator[None]:
        """Says that we wait and that it is over: once, however many requests wait."""
        self._waiting += 1
        if self._waiting == 1:
            self._away_since = clock.monotonic_s()
            self._say(f"Waiting for the instance, for {self._patience_s:.0f} s at most: {why}")
        try:
            yield
        finally:
            self._waiting -= 1
        if self._waiting == 0:
            self._say(f"It answers again, after {clock.monotonic_s() - self._away_since:.1f} s.")


def _sentence(error: httpx.TransportError) -> str:
    return f"{str(error).rstrip('.') or type(error).__name__}."


def _told(answer: httpx.Response) -> str:
    try:
        problem = msgspec.json.decode(answer.content, type=Problem)
    except msgspec.DecodeError:
        problem = Problem()
    return problem.detail or problem.title or f"{answer.status_code} {answer.reason_phrase}"


def _retry_after_s(answer: httpx.Response) -> float:
    told = answer.headers.get("retry-after", "0")
    return float(told) if told.isdecimal() else 0.0
