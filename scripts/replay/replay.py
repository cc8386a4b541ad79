"""The whole of a replay: makes the tenants, sends the calls, shows what came of it, proves the sums."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

import httpx
import msgspec
import psycopg

from policies import limits
from scripts.replay import calls as trace
from scripts.replay import enrolment, proof, show, spread
from scripts.replay.calls import Call
from scripts.replay.client import AwayError, Client, GaveUpError, RefusedError
from scripts.replay.sending import CONCURRENCY, GROUP, Names, Sender, Sent
from scripts.replay.spread import TENANTS, Tenant
from service import clock

SLACK: Final = timedelta(minutes=10)
"""What a replay may take at the edge of the oldest time that the instance accepts."""
DONE: Final = 0
FOUND: Final = 1


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be sent."""

    file_name: str
    calls: list[Call]
    """At the times that they are sent with."""
    end: datetime
    tenants: int = TENANTS
    group: int = GROUP
    concurrency: int = CONCURRENCY

    @property
    def names(self) -> Names:
        """How its events are called."""
        service_id = spread.service_id(self.file_name, self.tenants)
        return Names(service_id, lambda row: spread.event_id(self.file_name, row))


class TimesError(Exception):
    """No instance takes calls at these times; the text is a sentence."""


class CannotStartError(Exception):
    """The instance is not there, or does not let us; nothing was sent. The text is a sentence."""


class NobodyThereError(CannotStartError):
    """Nothing answered, so perhaps it is elsewhere."""


def plan(file_name: str, calls: Sequence[Call], *, end: datetime, now: datetime, **sizes: int) -> Plan:
    """The calls, shifted so that the last one is at `end`.

    Errors: TimesError.
    """
    told = f"With --end {show.instant(end)}"
    if end > now + timedelta(seconds=limits.EVENT_AHEAD_SECONDS):
        raise TimesError(f"{told} the last call would be more than {limits.EVENT_AHEAD_SECONDS} s ahead.")
    oldest = now - timedelta(days=limits.EVENT_AGE_DAYS) + SLACK
    span = max(call.at for call in calls) - min(call.at for call in calls)
    if end < oldest + span:
        raise TimesError(
            f"{told} the first call would be {span} earlier; events count from {show.instant(oldest)} on."
        )
    return Plan(file_name=file_name, calls=trace.shifted(calls, end), end=end, **sizes)


async def run(planned: Plan, http: httpx.AsyncClient, *, screen: show.Screen, database: str | None) -> int:
    """The exit status: 0 when every call counts exactly once, 1 when not, or when the end was not reached.

    `database` is a libpq URL of the instance's Postgres, or None to do without it.
    Errors: CannotStartError, OtherTimesError.
    """
    client = Client(http, screen.line)
    shares = await _prepare(client, planned)
    whole = proof.of_calls(planned.calls)
    screen.line(f"{planned.file_name}: {whole}, the last call at {show.instant(planned.end)}")
    screen.line(spread.RULE)
    begun = clock.monotonic_s()
    try:
        with screen.counting(len(planned.calls)) as meter:
            sent = await _send(client, planned, shares, meter.add)
        screen.line(f"Sent in {clock.monotonic_s() - begun:.1f} s: {show.statuses(sent)}")
        if all(one.statuses["duplicate"] == len(one.calls) for one in sent):
            screen.line("Every call was counted before, so the decisions are those after all of them.")
        screen.table(sent)
        return await _prove(client, planned, sent, screen=screen, database=database)
    except (GaveUpError, RefusedError) as error:
        screen.line(f"The end was not reached: {error}")
    return FOUND


async def _prepare(client: Client, planned: Plan) -> dict[Tenant, list[Call]]:
    tenants = spread.tenants(planned.tenants)
    first = min(call.at for call in planned.calls)
    try:
        for tenant in tenants:
            await enrolment.enrol(client, tenant, before=first)
    except AwayError as error:
        raise NobodyThereError(f"{client.url}: {error}") from error
    except RefusedError as error:
        raise CannotStartError(f"{client.url}: {error}") from error
    return spread.spread(planned.calls, tenants)


async def _send(
    client: Client, planned: Plan, shares: dict[Tenant, list[Call]], told: Callable[[int], None]
) -> list[Sent]:
    sender = Sender(client, planned.names, group=planned.group, concurrency=planned.concurrency, sent=told)
    return await sender.send(shares)


async def _prove(
    client: Client, planned: Plan, sent: Sequence[Sent], *, screen: show.Screen, database: str | None
) -> int:
    """Shows what each source says of the sums; the exit status."""
    service_id = planned.names.service_id
    witnesses = [await proof.report(client, service_id, sent)]
    if database is not None:
        try:
            witnesses += await proof.postgres(database, service_id, sent)
        except psycopg.Error as error:
            screen.line(f"Postgres could not be asked: {' '.join(str(error).split())}")
            return FOUND
    screen.witnesses(proof.of_calls(planned.calls), witnesses)
    if database is None:
        screen.line("Postgres itself was not asked: set METERGATE_DATABASE_URL, or give --data.")
    rejected = [why for one in sent for why in one.rejected]
    if rejected:
        screen.line(f"Events were rejected: {rejected[0]}")
    if rejected or any(witness.differences for witness in witnesses):
        screen.line("NOT EQUAL: the instance does not have what the file has.")
        return FOUND
    screen.line("EQUAL: every call of the file counts exactly once.")
    return DONE
