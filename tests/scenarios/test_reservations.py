"""Two months of jobs that reserve, on a clock that jumps: settled, given up, lost, late, with Redis wiped."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from jobs import expire, flush
from store import certify
from tests.api.test_main_job import worker
from tests.conftest import open_counters

START = datetime(2026, 11, 2, 9, tzinfo=UTC)
ENDS = [datetime(2026, 12, 2, 9, tzinfo=UTC), datetime(2027, 1, 2, 9, tzinfo=UTC)]
INCLUDED = 10_000
SECONDS = 3_600


class Job:
    """A reservation that was made, as the ledger of this test has it."""

    def __init__(self, name: str, held: int, began: datetime) -> None:
        self.name, self.held, self.began = name, held, began
        self.used = 0
        self.open = True
        self.done = False
        """It was settled or given up; else it is open, or has expired."""


class Ledger:
    """What must have been counted, job by job."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def month(self, at: datetime) -> list[Job]:
        """The jobs of the month that an instant is in."""
        end = next(end for end in ENDS if at < end)
        start = ([START, *ENDS])[ENDS.index(end)]
        return [job for job in self.jobs if start <= job.began < end]

    def used(self, at: datetime) -> int:
        return sum(job.used for job in self.month(at))

    def held(self, at: datetime) -> int:
        return sum(job.held for job in self.month(at) if job.open)

    def expire(self, now: datetime) -> None:
        for job in self.jobs:
            job.open = job.open and now < job.began + timedelta(seconds=SECONDS)


class Shop:
    """The jobs' side of the API."""

    def __init__(self, api, context, clock, seed: int) -> None:
        self.api, self.context, self.clock = api, context, clock
        self.ledger, self.dice = Ledger(), random.Random(seed)

    async def reserves(self) -> None:
        quantity, now = self.dice.randint(1, 900), self.clock.at
        body = {"tenantId": "acme", "serviceId": "jobs", "featureId": "ai-tokens", "quantity": quantity}
        given = (await self.api.post("/v1/reservations", json=body | {"ttlSeconds": SECONDS})).json()
        self.ledger.expire(now)  # a reserve that would be refused ends what is due
        room = INCLUDED - self.ledger.used(now) - self.ledger.held(now)
        assert given["allowed"] == (quantity <= room), (given["message"], room)
        if given["allowed"]:
            self.ledger.jobs.append(Job(given["reservationId"], quantity, now))

    async def ends(self) -> None:
        """Some job: for less, the same or more; given up; or never heard of again."""
        running = [job for job in self.ledger.jobs if job.open]
        late = [job for job in self.ledger.jobs if not job.done]
        fate = self.dice.choice(["less", "same", "more", "release", "lost"])
        if not late or fate == "lost":
            return
        job = self.dice.choice(running or late)
        if fate == "release":
            await self._end(job, "release", {})
            job.done = job.open  # one that has expired may still be settled
        else:
            job.used = {"less": job.held // 2, "same": job.held, "more": job.held + 50}[fate]
            await self._end(job, "settle", {"quantity": job.used})
            job.done = True
        job.open = False

    async def _end(self, job: Job, act: str, body: dict) -> None:
        response = await self.api.post(f"/v1/reservations/{job.name}/{act}", json=body)
        assert response.status_code == 200, response.text

    async def time_passes(self) -> None:
        self.clock.at += timedelta(minutes=self.dice.choice([1, 20, 90, 1_500]))
        await expire.run(worker(self.context), self.clock.at)
        self.ledger.expire(self.clock.at)

    async def is_wiped(self) -> None:
        await flush.run(worker(self.context), self.clock.at)
        await self.context.counters.link.send([("FLUSHALL",)])
        await certify.certify(self.context.pool, self.context.counters.link, now=self.clock.at)

    async def agrees(self) -> None:
        asked = {"tenantId": "acme", "featureId": "ai-tokens"}
        decision = (await self.api.post("/v1/check", json=asked)).json()
        now = self.clock.at
        counted = decision["usage"], decision["reserved"]
        assert counted == (min(self.ledger.used(now), INCLUDED - counted[1]), self.ledger.held(now))


@pytest.mark.parametrize("seed", range(2))
async def test_two_months_of_jobs_that_reserve(api, context, clock, catalog, seed):
    clock.at = START
    await open_counters(context)
    await api.put("/v1/tenants/acme", json={"name": "Acme"})
    await api.post("/v1/tenants/acme/subscription", json={"planId": "free"})
    shop = Shop(api, context, clock, seed)
    turn = 0
    while clock.at < ENDS[-1] - timedelta(days=1):
        turn += 1
        act = shop.dice.choice([shop.reserves, shop.reserves, shop.ends, shop.ends, shop.time_passes])
        await act()
        if turn % 67 == 0:
            await shop.is_wiped()
        await shop.agrees()
    await flush.run(worker(context), clock.at)
    report = await api.get(
        "/v1/reports/usage?tenantId=acme&featureId=ai-tokens&step=day"
        "&from=2026-11-01T00:00:00Z&to=2027-01-03T00:00:00Z"
    )
    assert report.json()["total"] == sum(job.used for job in shop.ledger.jobs)
