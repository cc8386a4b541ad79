"""No change without its line, no line without its change (law 11), whatever goes wrong in between."""

from policies.model import Catalog
from service.context import Context
from store import postgres


async def test_x(context: Context, catalog: Catalog):
    assert catalog
