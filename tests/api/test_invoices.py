"""Invoices over HTTP: shown, printed, settled by hand, each change once and told to the audit."""

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest

from store import certify, postgres
from tests.scenarios.billing import Tenant, told
from tests.scenarios.test_billed_lives import FILES, START

DECEMBER = datetime(2026, 12, 1, 1, tzinfo=UTC)


@pytest.fixture
async def acme(api, context, clock, publish):
    """On team, with one invoice of 130.00 that is due on 11 December."""
    clock.at = START
    await publish(FILES)
    await certify.certify(context.pool, context.counters.link, now=START)
    tenant = Tenant(api, context, clock)
    await tenant.subscribes("team")
    await tenant.reports("credits", 1_200)
    clock.at = DECEMBER
    await tenant.jobs()
    return tenant


async def first(acme) -> dict:
    return (await acme.invoices())[0]


async def test_an_invoice_is_shown_whole(acme):
    found = await first(acme)
    assert (found["number"], found["state"], found["total"], found["due"]) == (
        "INV-000001",
        "open",
        13_000,
        13_000,
    )
    assert (found["currency"], found["digits"], found["paid"], found["credited"]) == ("usd", 2, 0, 0)
    assert found["dueAt"] == "2026-12-11T01:00:00Z"
    assert found["creditNotes"] == []
    line = found["lines"][1]
    assert (line["featureId"], line["quantity"], line["tier"], line["unitAmount"]) == (
        "credits",
        1_000,
        1,
        "0.1",
    )
    assert line["period"] == {"start": "2026-11-01T00:00:00Z", "end": "2026-12-01T00:00:00Z"}
    assert re.fullmatch(r"plans/team\.yaml:\d+", line["source"])
    assert line["version"] == found["planVersion"]
    response = await acme.api.get(f"/v1/invoices/{found['invoiceId']}")
    assert response.headers["etag"] == '"1"'


async def test_a_list_is_read_page_by_page(acme):
    for month in (1, 2):
        await acme.at(2027, month, 1, 1)
    pages, cursor = [], ""
    while True:
        page = await acme.does("GET", f"/invoices?limit=1{cursor}")
        pages.append([one["number"] for one in page["items"]])
        if page["nextCursor"] is None:
            break
        cursor = f"&cursor={page['nextCursor']}"
    assert pages == [["INV-000003"], ["INV-000002"], ["INV-000001"]]
    assert "lines" not in page["items"][0]
    bad = await acme.api.get("/v1/tenants/acme/invoices?cursor=YWJj")
    assert bad.status_code == 422


async def test_paid_by_hand(acme):
    found = await first(acme)
    paid = await acme.settles(found["invoiceId"], "mark-paid")
    assert (paid["state"], paid["paid"], paid["due"], paid["reason"]) == ("paid", 13_000, 0, "by hand")
    again = await acme.api.post(f"/v1/invoices/{found['invoiceId']}/mark-paid", json={"reason": "again"})
    assert (again.status_code, again.json()["detail"]) == (409, "The invoice is paid already.")
    assert again.json()["type"].endswith("/conflict")


async def test_a_repeated_request_changes_nothing_twice(acme):
    found = await first(acme)
    url, key = f"/v1/invoices/{found['invoiceId']}/credit", {"idempotency-key": "k1"}
    one = await acme.api.post(url, json={"amount": 3_000, "reason": "outage"}, headers=key)
    two = await acme.api.post(url, json={"amount": 3_000, "reason": "outage"}, headers=key)
    assert (one.status_code, one.json()) == (200, two.json())
    other = await acme.api.post(url, json={"amount": 4_000, "reason": "outage"}, headers=key)
    assert other.status_code == 422
    stale = await acme.api.post(url, json={"reason": "x"}, headers={"if-match": '"1"'})
    assert stale.status_code == 412
    (note,) = (await first(acme))["creditNotes"]
    assert (note["number"], note["amount"], note["settles"]) == ("CN-000001", 3_000, "due")


async def test_credit_lowers_what_is_due_and_in_the_end_all_of_it(acme):
    found = await first(acme)
    once = await acme.settles(found["invoiceId"], "credit", amount=3_000)
    assert (once["state"], once["credited"], once["due"]) == ("open", 3_000, 10_000)
    for amount in (0, -1, 10_001):
        url = f"/v1/invoices/{found['invoiceId']}/credit"
        refused = await acme.api.post(url, json={"amount": amount, "reason": "x"})
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/amount")
    whole = await acme.settles(found["invoiceId"], "credit")
    assert (whole["state"], whole["credited"], whole["due"]) == ("credited", 13_000, 0)
    assert [note["number"] for note in whole["creditNotes"]] == ["CN-000001", "CN-000002"]


async def test_credit_for_what_was_paid_lowers_the_next_invoice(acme):
    found = await first(acme)
    await acme.settles(found["invoiceId"], "mark-paid")
    credited = await acme.settles(found["invoiceId"], "credit", amount=5_000)
    assert (credited["state"], credited["creditNotes"][0]["settles"]) == ("paid", "balance")
    assert told(await acme.preview())[-1] == ("Carried over to the next invoice", 2_000)
    await acme.at(2027, 1, 1, 1)
    second = (await acme.invoices())[1]
    assert told(second) == [
        ("Team", 3_000),
        ("Carried over from before", -5_000),
        ("Carried over to the next invoice", 2_000),
    ]
    await acme.at(2027, 2, 1, 1)
    third = (await acme.invoices())[2]
    assert (told(third)[-1], third["total"]) == (("Carried over from before", -2_000), 1_000)
    await acme.settles(third["invoiceId"], "void")
    await acme.at(2027, 3, 1, 1)
    assert told((await acme.invoices())[3])[-1] == ("Carried over from before", -2_000), "it is there again"


async def test_void_and_written_off(acme):
    found = await first(acme)
    given_up = await acme.settles(found["invoiceId"], "write-off")
    assert (given_up["state"], given_up["due"]) == ("uncollectible", 13_000)
    void = await acme.settles(found["invoiceId"], "void")
    assert (void["state"], void["due"]) == ("void", 0)
    for act in ("mark-paid", "credit", "void", "write-off"):
        refused = await acme.api.post(f"/v1/invoices/{found['invoiceId']}/{act}", json={"reason": "x"})
        assert refused.status_code == 409
    await acme.at(2027, 1, 1, 1)
    assert told((await acme.invoices())[1]) == [("Team", 3_000)], "it is not charged again"


async def test_an_overdue_invoice_begins_the_days_of_grace_and_its_payment_ends_them(acme):
    async def status():
        held = await acme.does("GET", "/subscription")
        return held["billingStatus"]

    await acme.at(2026, 12, 11, 0, 59)
    assert await status() == "good"
    await acme.at(2026, 12, 11, 1, 1)
    held = await acme.does("GET", "/subscription")
    assert [fact["status"] for fact in held["billing"]] == ["grace", "restricted", "suspended"]
    assert held["billing"][0]["reason"] == "an invoice is overdue (INV-000001)"
    await acme.at(2026, 12, 18, 2)
    assert await status() == "restricted"
    await acme.at(2027, 1, 1, 1)
    await acme.at(2027, 1, 11, 1, 1)
    assert await status() == "suspended"
    one, two = await acme.invoices()
    await acme.settles(one["invoiceId"], "mark-paid")
    assert await status() == "grace", "the second is overdue since today"
    await acme.settles(two["invoiceId"], "mark-paid")
    assert await status() == "good"
    answer = await acme.api.post("/v1/check", json={"tenantId": "acme", "featureId": "credits"})
    assert answer.json()["allowed"] is True


async def test_of_a_plan_that_does_not_say_when_nothing_is_overdue(acme, clock):
    beta = Tenant(acme.api, acme.context, clock, "beta")
    await beta.subscribes("solo")
    await beta.at(2027, 1, 2)
    (found,) = await beta.invoices()
    assert found["dueAt"] is None
    await beta.at(2027, 12, 1)
    assert (await beta.does("GET", "/subscription"))["billingStatus"] == "good"


async def test_every_change_has_its_line_in_the_audit(acme):
    found = await first(acme)
    await acme.settles(found["invoiceId"], "credit", amount=1)
    await acme.settles(found["invoiceId"], "mark-paid")
    async with postgres.transaction(acme.context.pool) as connection:
        cursor = await connection.execute(
            b"select action, actor, before, after from audit where subject = %s order by seq",
            (found["invoiceId"],),
        )
        issued, credited, paid = await cursor.fetchall()
    assert (issued[0], issued[1], issued[2]) == ("invoice.issue", "job:close", None)
    assert (issued[3]["number"], issued[3]["total"]) == ("INV-000001", "130.00")
    assert (credited[0], credited[2]["credited"], credited[3]["credited"]) == ("invoice.credit", 0, 1)
    assert (paid[0], paid[2]["state"], paid[3]["state"]) == ("invoice.pay", "open", "paid")
    assert paid[1].startswith("key:")


async def test_who_may_see_and_settle(acme, make_key):
    found = await first(acme)
    url = f"/v1/invoices/{found['invoiceId']}"
    await acme.api.put("/v1/tenants/beta", json={"name": "Beta"})
    own = {"authorization": f"Bearer {await make_key(tenant_id='acme')}"}
    other = {"authorization": f"Bearer {await make_key(tenant_id='beta')}"}
    reader = {"authorization": f"Bearer {await make_key('read')}"}
    assert (await acme.api.get(url, headers=own)).status_code == 200
    assert (await acme.api.get(url, headers=other)).status_code == 404
    assert (await acme.api.get("/v1/invoices/inv_none")).status_code == 404
    assert (await acme.api.get(url, headers=reader)).status_code == 200
    for headers in (own, reader):
        refused = await acme.api.post(f"{url}/mark-paid", json={"reason": "x"}, headers=headers)
        assert refused.status_code == 403
    assert (await first(acme))["state"] == "open"


# --- the page --------------------------------------------------------------------------------------


class Page(HTMLParser):
    """The elements of a page, its text, and whatever would be fetched or run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.text, self.outside = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "br"):
            self.open.append(tag)
        if tag in ("script", "link", "img", "iframe", "object", "form", "base"):
            self.outside.append(tag)
        self.outside += [
            name for name, _ in attributes if name.startswith("on") or name in ("src", "href", "style")
        ]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)
        else:
            assert "url(" not in data
            assert "@import" not in data


async def page_of(acme, invoice_id) -> tuple[str, Page]:
    response = await acme.api.get(f"/v1/invoices/{invoice_id}", headers={"accept": "text/html,*/*;q=0.8"})
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["content-security-policy"] == "default-src 'none'; style-src 'unsafe-inline'"
    assert "tfoot { display: table-row-group }" in response.text, "else the sum is on every page of paper"
    return response.text, Page(response.text)


async def test_the_page_says_what_the_invoice_says(acme):
    found = await first(acme)
    await acme.settles(found["invoiceId"], "credit", amount=3_000)
    html, page = await page_of(acme, found["invoiceId"])
    assert html.startswith("<!doctype html>")
    assert (page.open, page.outside) == ([], [])
    said = " ".join(page.text)
    for part in (
        "Invoice INV-000001", "To be paid", "Acme", "billing@acme.example", "1 December 2026", "11 December",
        "Team", "30.00", "1,000", "0.10", "100.00", "plans/team.yaml:", "Total", "130.00 USD", "-30.00 USD",
        "100.00 USD", "CN-000001", "2026-11-01 to 2026-12-01",
    ):  # fmt: skip
        assert part in said, part


async def test_nothing_that_somebody_wrote_is_markup(acme, clock):
    name = "<script>alert(1)</script>\"'&<img src=x onerror=alert(2)>"
    await acme.does("PUT", "", name=name, email="a@b.example")
    clock.at = DECEMBER + timedelta(days=31)
    await acme.jobs()
    latest = (await acme.invoices())[-1]
    assert latest["billedTo"]["name"] == name
    await acme.settles(latest["invoiceId"], "credit", amount=1)
    url = f"/v1/invoices/{latest['invoiceId']}/credit"
    await acme.api.post(url, json={"amount": 1, "reason": "</td></table><script>"})
    _, page = await page_of(acme, latest["invoiceId"])
    assert (page.open, page.outside) == ([], [])
    assert name in "".join(page.text)
    assert (await acme.invoices())[0]["billedTo"]["name"] == "Acme", (
        "it was made out to whom it was made out to"
    )


async def test_json_unless_a_page_is_asked_for(acme):
    found = await first(acme)
    for accept in ("*/*", "application/json", "application/json, text/html", "text/plain"):
        response = await acme.api.get(f"/v1/invoices/{found['invoiceId']}", headers={"accept": accept})
        assert response.headers["content-type"] == "application/json", accept
