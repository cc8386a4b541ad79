"""The endpoint for Stripe's events: only what Stripe signed, lately, for this mode, and each once."""

import httpx
import msgspec
import pytest
import stripe

from policies import limits
from service import clock
from service.api.app import make_app
from store import postgres
from tests.stripe_world.account import PREVIOUS, SECRET

PATH = "/v1/stripe/webhook"


def event(**changes) -> bytes:
    whole = {
        "id": "evt_1", "object": "event", "type": "invoice.paid", "created": 1_764_000_000, "livemode": False,
        "api_version": "2026-10-28.endive", "request": {"id": None, "idempotency_key": None},
        "data": {"object": {"object": "invoice", "id": "in_1"}},
    }  # fmt: skip
    return msgspec.json.encode(whole | changes)


def signed(raw: bytes, secret: str = SECRET, late_s: int = 0) -> dict[str, str]:
    at = clock.real_ms() // 1000 - late_s
    header = stripe.WebhookSignature.generate_signature_header(raw.decode(), secret, timestamp=at)
    return {"stripe-signature": header, "content-type": "application/json"}


@pytest.fixture
async def endpoint(billing):
    app = make_app(context=billing)
    app.state.context = billing
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://metergate") as client:
        yield client


async def kept(billing) -> list[tuple[str, str]]:
    async with postgres.transaction(billing.pool) as connection:
        rows = await connection.execute("select ref, via from payment_notices order by ref")
        return await rows.fetchall()


async def wanted(billing) -> list[tuple[str, str, int]]:
    async with postgres.transaction(billing.pool) as connection:
        rows = await connection.execute(
            "select kind, ref, wanted from payment_objects where next_at is not null order by ref"
        )
        return await rows.fetchall()


@pytest.mark.parametrize("secret", [SECRET, PREVIOUS])
async def test_what_stripe_signed_is_taken_once(endpoint, billing, secret):
    raw = event()
    first, again = [await endpoint.post(PATH, content=raw, headers=signed(raw, secret)) for _ in range(2)]
    assert (first.status_code, first.json()) == (200, {"known": False})
    assert (again.status_code, again.json()) == (200, {"known": True})
    assert await kept(billing) == [("evt_1", "told")]
    assert await wanted(billing) == [("invoice", "in_1", 1)]


@pytest.mark.parametrize(
    ("raw", "headers", "status", "detail"),
    [
        (event(), dict, 400, "The signature does not hold"),
        (event(), lambda: signed(event(), "whsec_other"), 400, "The signature does not hold"),
        (event(id="evt_2"), lambda: signed(event()), 400, "The signature does not hold"),
        (event(), lambda: signed(event(), late_s=301), 400, "too far from now"),
        (event(), lambda: signed(event(), late_s=-9000), 400, "too far from now"),
        (event(), lambda: {"stripe-signature": "t=x,v1=y"}, 400, "The signature does not hold"),
        (b"{}", lambda: signed(b"{}"), 400, "This is no event"),
        (b"\xff", lambda: {"stripe-signature": "t=1,v1=y"}, 400, "The signature does not hold"),
        (event(livemode=True), lambda: signed(event(livemode=True)), 409, "live mode, and the key here is"),
        (b"x" * (limits.NOTICE_BYTES + 1), dict, 413, "at most 1,048,576 bytes"),
    ],
)
async def test_what_is_refused_is_not_kept(  # noqa: PLR0917 - fixtures
    endpoint, billing, raw, headers, status, detail
):
    answer = await endpoint.post(PATH, content=raw, headers=headers())
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert detail in answer.json()["detail"]
    assert await kept(billing) == []
    assert await wanted(billing) == []


async def test_without_a_secret_there_is_no_endpoint(api):
    raw = event()
    assert (await api.post(PATH, content=raw, headers=signed(raw))).status_code == 404


async def test_an_event_of_no_concern_is_kept_and_nothing_is_looked_at(endpoint, billing):
    raw = event(type="payout.paid", data={"object": {"object": "payout", "id": "po_1"}})
    assert (await endpoint.post(PATH, content=raw, headers=signed(raw))).status_code == 200
    assert (await kept(billing), await wanted(billing)) == ([("evt_1", "told")], [])


@pytest.mark.parametrize(
    ("kind", "payload", "things"),
    [
        ("customer.updated", {"object": "customer", "id": "cus_1"}, [("customer", "cus_1")]),
        ("customer.subscription.deleted", {"object": "subscription", "id": "s"}, [("subscription", "s")]),
        ("charge.refunded", {"object": "charge", "id": "ch_1"}, [("payment", "ch_1")]),
        ("refund.updated", {"object": "refund", "id": "re_1", "charge": "ch_1"}, [("payment", "ch_1")]),
        (
            "charge.dispute.closed",
            {"object": "dispute", "id": "dp_1", "charge": {"object": "charge", "id": "ch_1"}},
            [("payment", "ch_1"), ("dispute", "dp_1")],
        ),
        (
            "invoice_payment.paid",
            {"object": "invoice_payment", "id": "p", "invoice": "i"},
            [("invoice", "i")],
        ),
        (
            "credit_note.created",
            {"object": "credit_note", "id": "cn", "invoice": "in"},
            [("credit_note", "cn"), ("invoice", "in")],
        ),
        ("payment_method.attached", {"object": "payment_method", "customer": "c"}, [("customer", "c")]),
    ],
)
async def test_what_an_event_is_about(endpoint, billing, kind, payload, things):
    raw = event(type=kind, data={"object": payload})
    assert (await endpoint.post(PATH, content=raw, headers=signed(raw))).status_code == 200
    assert [(kind, ref) for kind, ref, _ in await wanted(billing)] == things


async def test_with_postgres_away_stripe_is_told_to_come_again(billing, endpoint):
    await billing.pool.close()
    raw = event()
    assert (await endpoint.post(PATH, content=raw, headers=signed(raw))).status_code == 503
