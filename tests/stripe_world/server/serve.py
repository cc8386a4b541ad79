"""The simulator as a server on loopback; prints its port. Each account is a test's own: `/worlds/ID/v1/…`.

Around it stands what it lacks: every request is held against Stripe's document first, some answers are faults
that a test ordered, invoice payments and an endpoint can be listed, and what time or a bank does can be
ordered (`/_ctl`).
"""

import asyncio
import json
import os
import re
import secrets
import socket
import sys
import threading
from datetime import datetime
from importlib import metadata
from pathlib import Path

import older_python

older_python.allow()

import patches  # noqa: E402 - the simulator can be imported from here on
import seahaven.http  # noqa: E402
import seahaven_stripe_world  # noqa: E402
import uvicorn  # noqa: E402
from contract import Contract, decode  # noqa: E402
from seahaven_stripe_world.http_api import handle  # noqa: E402
from seahaven_stripe_world.resources import _lookup, disputes  # noqa: E402
from seahaven_stripe_world.world import world  # noqa: E402

VERSIONS = {"seahaven": "0.6.0", "seahaven-stripe-world": "0.3.0"}
"""What follows reaches into these; another version is another piece of work."""
ERRORS = {
    429: "rate_limit_error",
    400: "invalid_request_error",
    401: "invalid_request_error",
    402: "card_error",
}


class Side:
    """What is kept beside an account."""

    def __init__(self) -> None:
        self.faults: list[dict] = []
        self.findings: list[str] = []
        self.requests: list[str] = []
        self.endpoint: dict = {"status": "enabled", "api_version": None}


class Server:
    """ASGI."""

    def __init__(self) -> None:
        patches.apply()
        options = {"startup": {"livemode": False}, "clock_mode": "fixed"}
        self.inner = seahaven.http.app(world, handle, reset_options=options, max_instances=0)
        self.accounts = self.inner._registry
        self.contract = Contract(Path(seahaven_stripe_world.__file__).parent / "spec" / "spec3.json")
        self.sides: dict[str, Side] = {}

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            await self.inner(scope, receive, send)
            return
        body = await _whole(receive)
        if control := re.fullmatch(r"/_ctl/(\w+)/([^/]+)", scope["path"]):
            answer = await self.control(control[1], control[2], json.loads(body or b"{}"))
            await _answer(send, 200, answer)
        elif request := re.fullmatch(r"/worlds/([^/]+)(/v1/.*)", scope["path"]):
            await self.serve(request[1], request[2], scope, body, send)
        else:
            await self.inner(scope, _again(body), send)

    async def control(self, act: str, account: str, given: dict) -> object:
        side = self.sides.setdefault(account, Side())
        if act == "look":
            return {"findings": side.findings, "requests": side.requests}
        if act == "endpoint":
            side.endpoint |= given
            return {}
        if act == "fault":
            side.faults.append(given)
            return {}
        run = {"forget_keys": _forget_keys, "dispute": _dispute, "clock": _clock}[act]
        return await asyncio.to_thread(self.accounts.run, account, lambda inst: run(inst, given))

    async def serve(self, account: str, path: str, scope, body: bytes, send) -> None:
        side, method = self.sides.setdefault(account, Side()), scope["method"]
        query = scope["query_string"].decode()
        side.requests.append(f"{method} {path}")
        if found := self.contract.findings(method, path, query, body.decode()):
            side.findings += found
            await _error(send, 400, f"against the contract: {'; '.join(found)}")
            return
        fault = next((one for one in side.faults if re.search(one["match"], f"{method} {path}")), None)
        if fault is None:
            await self.forward(account, path, scope, body, send)
            return
        fault["times"] -= 1
        if not fault["times"]:
            side.faults.remove(fault)
        if fault.get("after"):  # it happens, and only the answer is lost
            await self.forward(account, path, scope, body, _nowhere)
        await asyncio.sleep(fault.get("delay", 0))
        await _error(send, fault["status"], "ordered by the test", fault.get("headers"), fault.get("error"))

    async def forward(self, account: str, path: str, scope, body: bytes, send) -> None:
        if path == "/v1/invoice_payments":
            asked = decode(scope["query_string"].decode())
            found = await asyncio.to_thread(self.accounts.run, account, lambda inst: _payments(inst, asked))
            await _answer(send, 200, found)
            return
        if path == "/v1/webhook_endpoints":
            await _answer(send, 200, _endpoints(self.sides[account].endpoint))
            return
        if scope["method"] == "GET" and path.startswith("/v1/charges"):
            send = _with_intents(send)
        whole = f"/worlds/{account}{path}"
        await self.inner({**scope, "path": whole, "raw_path": whole.encode()}, _again(body), send)


def _forget_keys(inst, given: dict) -> object:
    """What a day does to idempotency keys."""
    with inst.bulk() as ctx:
        ctx.db.execute("DELETE FROM idempotency_keys")
    return {}


def _dispute(inst, given: dict) -> object:
    """The customer's bank asks the payment of an invoice back."""
    with inst.bulk() as ctx:
        invoice = _lookup.require_row(ctx, "invoices", "invoice", given["invoice"], param="invoice")
        charge = _lookup.require_row(ctx, "charges", "charge", invoice["_charge"], param="charge")
        disputes.maybe_create_dispute(ctx, charge, {"x_behavior": f"dispute={given['reason']}"})
        return {"id": ctx.db.one("SELECT id FROM disputes WHERE charge=?", charge["id"])["id"]}


def _clock(inst, given: dict) -> object:
    """The account's clock stands at another instant."""
    with inst.bulk():
        inst.clock._start = datetime.fromisoformat(given["to"])
    return {}


def _payments(inst, asked: dict) -> object:
    """The payments of invoices, which the simulator has only as charges."""
    with inst.bulk() as ctx:
        rows = ctx.db.rows(
            "SELECT id,_charge,amount_paid,currency,created FROM invoices WHERE _charge IS NOT NULL"
        )
    wanted = asked.get("payment", {}).get("payment_intent")
    expanded = "data.payment.payment_intent" in asked.get("expand", {}).values()
    return {
        "object": "list",
        "has_more": False,
        "url": "/v1/invoice_payments",
        "data": [
            _payment(row, expanded=expanded)
            for row in rows
            if asked.get("invoice") in (None, row["id"]) and wanted in (None, _intent(row["_charge"]))
        ],
    }


def _endpoints(said: dict) -> object:
    """The one endpoint that each account has; the simulator knows of none."""
    endpoint = {
        "id": "we_1",
        "object": "webhook_endpoint",
        "created": 0,
        "enabled_events": ["*"],
        "livemode": False,
        "metadata": {},
        "url": "https://metergate.example/v1/stripe/webhook",
    } | said
    return {"object": "list", "has_more": False, "url": "/v1/webhook_endpoints", "data": [endpoint]}


def _payment(row: dict, *, expanded: bool) -> dict:
    intent = _intent(row["_charge"])
    whole = {"id": intent, "object": "payment_intent", "latest_charge": row["_charge"]}
    return {
        "id": f"inpay_{row['id'][3:]}",
        "object": "invoice_payment",
        "amount_paid": row["amount_paid"],
        "amount_requested": row["amount_paid"],
        "created": row["created"],
        "currency": row["currency"],
        "invoice": row["id"],
        "is_default": True,
        "livemode": False,
        "payment": {"type": "payment_intent", "payment_intent": whole if expanded else intent},
        "status": "paid",
    }


def _intent(charge: str) -> str:
    """The simulator charges invoices without an intent; Stripe has one for each."""
    return f"pi_{charge.partition('_')[2]}"


def _with_intents(send):
    """Lets the charges of an answer name their intents."""
    started = []

    async def sending(message) -> None:
        if message["type"] == "http.response.start":
            started.append(message)
            return
        answer = json.loads(message["body"])
        for charge in answer.get("data", [answer]):
            if charge.get("object") == "charge":
                charge["payment_intent"] = charge["payment_intent"] or _intent(charge["id"])
        body = json.dumps(answer).encode()
        headers = [each for each in started[0]["headers"] if each[0] != b"content-length"]
        await send({**started[0], "headers": headers})
        await send({**message, "body": body})

    return sending


async def _whole(receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


def _again(body: bytes):
    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def _nowhere(message) -> None:
    """An answer that nobody gets."""


async def _error(
    send, status: int, message: str, headers: dict | None = None, more: dict | None = None
) -> None:
    error = {"type": ERRORS.get(status, "api_error"), "message": message} | (more or {})
    await _answer(send, status, {"error": error}, headers)


async def _answer(send, status: int, answer: object, headers: dict | None = None) -> None:
    told = {"content-type": "application/json", "request-id": f"req_{secrets.token_hex(6)}"} | (headers or {})
    pairs = [(name.encode(), value.encode()) for name, value in told.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


def _end_with_the_parent() -> None:
    """Nothing is ever written to our input: its end is that of whoever started us, however that came."""
    sys.stdin.buffer.read()
    os._exit(0)


def main() -> None:
    for name, version in VERSIONS.items():
        assert metadata.version(name) == version, f"{name} is to be {version}"
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(Server(), log_level="warning"))
    print(listening.getsockname()[1], flush=True)  # noqa: T201 - whoever started it waits for this
    asyncio.run(server.serve(sockets=[listening]))


if __name__ == "__main__":
    sys.exit(main())
