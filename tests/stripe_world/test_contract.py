"""The contract itself, and that what the suite asks of Stripe is what the product asks."""

from typing import get_args

import httpx
import pytest

from integrations.stripe_billing import looking
from policies.charging import seen
from tests.stripe_world.account import KEY

AGAINST = (
    ("POST", "invoiceitems", "customer=c&price=p", "body.price is unknown"),
    ("POST", "invoiceitems", "customer=c&amount=12.5", "body.amount is to be of type integer, not `12.5`"),
    ("POST", "invoiceitems", "customer=c&period[start]=1", "body.period.end is missing"),
    ("POST", "invoiceitems", "customer=c&metadata[a][b]=1", "body.metadata.a is to be one value"),
    ("POST", "invoiceitems", "customer=c&discounts[0][cupon]=x", "body.discounts[0].cupon is unknown"),
    ("POST", "invoiceitems", "customer=c&tax_behavior=nope", "body.tax_behavior is to be one of"),
    ("POST", "subscriptions/s", "proration_behavior=maybe", "body.proration_behavior is to be one of"),
    ("POST", "subscription_items/s/usage_records", "quantity=1", "there is no operation"),
    ("POST", "invoices", "customer=c&auto_advance=no", "body.auto_advance is to be of type boolean"),
    ("GET", "invoices?custmer=c", "", "query.custmer is unknown"),
)


@pytest.mark.parametrize(("method", "path", "body", "finding"), AGAINST, ids=[each[3] for each in AGAINST])
async def test_what_stripe_would_not_understand_is_found(world, method, path, body, finding):
    """Each was seen to be refused by Stripe's document, and none reaches the simulator."""
    async with httpx.AsyncClient(base_url=f"{world.address}/worlds/contract/v1/") as client:
        headers = {"authorization": f"Bearer {KEY}", "content-type": "application/x-www-form-urlencoded"}
        answer = await client.request(method, path, content=body, headers=headers)
    assert answer.status_code == 400
    message = answer.json()["error"]["message"]
    assert message.startswith("against the contract")
    assert finding in message


def test_every_kind_can_be_looked_at():
    """A kind that is added to the words of charging is added here."""
    kinds = {*looking._PLAIN, *looking._FOR_AN_INVOICE}
    assert kinds == set(get_args(seen.Kind))
