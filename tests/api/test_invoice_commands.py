"""`metergate invoices` on real servers: what it prints, and what it changes."""

import asyncio
import json

import pytest
from click.testing import CliRunner

from service.cli.program import metergate
from service.usecases import closing
from tests.store.billed import WHEN, issued, tenants


@pytest.fixture
async def run(context, clock, publish, config, monkeypatch):
    """Runs commands on an instance with two invoices: of tenant-0 over 30.00, of tenant-1 over 30.10."""
    await tenants(context, publish, clock, 2)
    await closing.close_due(context, WHEN)
    monkeypatch.setenv("METERGATE_DATABASE_URL", config.database_url)
    monkeypatch.setenv("METERGATE_REDIS_URL", config.redis_url)

    async def ran(*words, ends=0) -> str:
        invoke = CliRunner().invoke
        done = await asyncio.to_thread(invoke, metergate, ["invoices", *words], catch_exceptions=False)
        assert done.exit_code == ends, done.output
        return done.stdout if ends == 0 else done.output

    return ran


async def test_invoices_are_listed_shown_and_settled(run, context):
    of = {one.tenant_id: one.invoice_id for one in await issued(context)}
    head, row = (await run("list", "tenant-1")).splitlines()
    assert head.split() == ["NUMBER", "INVOICE", "UNTIL", "TOTAL", "STATE", "DUE"]
    assert (row.split()[1], row.split()[-5:]) == (of["tenant-1"], ["30.10", "USD", "open", "30.10", "USD"])
    shown = await run("show", of["tenant-1"])
    assert shown.splitlines()[0].endswith("of tenant-1: 30.10 USD")
    assert "Credits, past what is included" in shown
    assert json.loads(await run("show", of["tenant-1"], "--json"))["total"] == 3_010
    assert (await run("show", of["tenant-1"], "--html")).startswith("<!doctype html>")
    lowered = await run("credit", of["tenant-1"], "--amount", "10", "--reason", "a slip")
    assert "CN-000001: -0.10 USD, a slip" in lowered
    paid = json.loads(await run("mark-paid", of["tenant-1"], "--reason", "transfer 4711", "--json"))
    assert (paid["state"], paid["paid"]) == ("paid", 3_000)
    assert "credit it instead" in await run("void", of["tenant-1"], "--reason", "x", ends=2)
    assert "void: doubled" in await run("void", of["tenant-0"], "--reason", "doubled")
    assert (await run("close")).startswith("0 periods closed, 0 invoices issued")
    assert "There is no invoice" in await run("show", "inv_none", ends=2)
