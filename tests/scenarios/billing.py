"""A tenant that is billed, told in instants: what it does, and the invoices that come of it."""

from datetime import UTC, datetime, timedelta

from jobs import close, flush, overdue
from jobs.context import JobContext

HOUR = timedelta(hours=1)


class Tenant:
    """One tenant over HTTP, with a worker that runs whenever time has passed."""

    def __init__(self, api, context, clock, tenant_id="acme") -> None:
        self.api, self.context, self.clock, self.tenant_id = api, context, clock, tenant_id
        self.reported = 0

    @property
    def worker(self) -> JobContext:
        context = self.context
        return JobContext(
            config=context.config, clock=self.clock, pool=context.pool, link=context.counters.link,
            counters=context.counters, snapshots=context.snapshots, uses=context,
        )  # fmt: skip

    async def at(self, *instant: int) -> str:
        """Time passes, and the jobs run; what the close said."""
        self.clock.at = datetime(*instant, tzinfo=UTC)
        return await self.jobs()

    async def jobs(self) -> str:
        now = self.clock.now()
        await flush.run(self.worker, now)
        said = await close.run(self.worker, now)
        await overdue.run(self.worker, now)
        return said

    async def does(self, method: str, path: str, **body) -> dict:
        response = await self.api.request(method, f"/v1/tenants/{self.tenant_id}{path}", json=body)
        assert response.is_success, response.text
        return response.json()

    async def subscribes(self, plan_id: str, **rest) -> dict:
        await self.does("PUT", "", name=self.tenant_id.title(), email=f"billing@{self.tenant_id}.example")
        return await self.does("POST", "/subscription", planId=plan_id, **rest)

    async def moves(self, plan_id: str, when: str = "now") -> dict:
        return await self.does("POST", "/subscription/change", planId=plan_id, when=when)

    async def reports(self, feature_id: str, quantity, at: datetime | None = None, **rest) -> str:
        self.reported += 1
        event = {
            "tenantId": self.tenant_id, "serviceId": "s", "id": f"e{self.reported}", "featureId": feature_id,
            "quantity": quantity,
        } | rest  # fmt: skip
        if at is not None:
            event["timestamp"] = at.isoformat()
        response = await self.api.post("/v1/usage", json=event)
        assert response.json()["accepted"] == 1, response.text
        return event["id"]

    async def reports_all(self, feature_id: str, quantity, at: datetime, count: int) -> list[str]:
        """So many events of one instant in one call; their ids."""
        ids = [f"e{self.reported + number}" for number in range(1, count + 1)]
        self.reported += count
        events = [
            {"tenantId": self.tenant_id, "serviceId": "s", "id": event_id, "featureId": feature_id,
             "quantity": quantity, "timestamp": at.isoformat()}
            for event_id in ids
        ]  # fmt: skip
        response = await self.api.post("/v1/usage", json={"events": events})
        assert response.json()["accepted"] == count, response.text
        return ids

    async def revises(self, event_id: str, act: str, **body) -> None:
        said = body | {"tenantId": self.tenant_id, "reason": "wrong"}
        response = await self.api.post(f"/v1/usage/s/{event_id}/{act}", json=said)
        assert response.is_success, response.text

    async def invoices(self) -> list[dict]:
        """All of them whole, oldest first."""
        page = await self.does("GET", "/invoices")
        return [await self.invoice(one["invoiceId"]) for one in reversed(page["items"])]

    async def invoice(self, invoice_id: str) -> dict:
        response = await self.api.get(f"/v1/invoices/{invoice_id}")
        assert response.is_success, response.text
        found = response.json()
        assert found["total"] == sum(line["amount"] for line in found["lines"])
        return found

    async def settles(self, invoice_id: str, act: str, **body) -> dict:
        response = await self.api.post(f"/v1/invoices/{invoice_id}/{act}", json=body | {"reason": "by hand"})
        assert response.is_success, response.text
        return response.json()

    async def preview(self) -> dict:
        return await self.does("GET", "/invoices/preview")


def told(invoice: dict) -> list[tuple[str, int]]:
    """What it says, line by line."""
    return [(line["description"], line["amount"]) for line in invoice["lines"]]
