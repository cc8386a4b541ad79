"""Checking never consumes: 1,000 checks, in every shape, leave every counter and the journal as they were."""

from service.context import Context
from service.usecases import check, checking
from service.usecases.check import Check
from store.link import Link
from tests.store import ledger
from tests.store.ledger import event, statuses

SHAPES = [
    Check(tenant_id="big", feature_id="ai-tokens", quantity=150),
    Check(tenant_id="big", feature_id="ai-tokens", quantity=150, entity_id="u1", explain=True),
    Check(tenant_id="big", feature_id="ai-tokens", quantity=9_000_000),
    Check(tenant_id="acme", feature_id="api-calls", quantity=0),
    Check(tenant_id="acme", feature_id="premium-voice-model"),
    Check(tenant_id="acme", feature_id="max-projects", quantity=3),
    Check(tenant_id="nobody", feature_id="ai-tokens"),
    Check(tenant_id="acme", feature_id="nothing"),
]


async def kept(link: Link) -> dict[bytes, object]:
    """All that Redis has, but for the copies of snapshots (`s:`)."""
    keys = [key for key in (await link.send([("KEYS", "*")])).values[0] if not key.startswith(b"s:")]
    read = {b"hash": "HGETALL", b"string": "GET", b"stream": "XLEN"}
    found = {}
    for key in keys:
        kind = (await link.send([("TYPE", key)])).values[0]
        (value,) = (await link.send([(read[kind.encode() if isinstance(kind, str) else kind], key)])).values
        found[key] = value
    return found


async def test_a_thousand_checks_leave_everything_as_it_was(counting: Context):
    await ledger.subscribed(counting, "big", "pro")
    await statuses(counting, event(1, 700, tenant_id="big", entity_id="u1"), event(2, 30))
    before = await kept(counting.counters.link)
    assert any(key.startswith(b"c:") for key in before)
    for _ in range(50):
        for shape in SHAPES:
            await check.check(counting, [shape])
            await checking.one(counting, shape)
    await check.check(counting, SHAPES * 25)
    await check.entitlements(counting, "big", entity_id="u1")
    assert await kept(counting.counters.link) == before
