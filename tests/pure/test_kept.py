"""What a process keeps between requests has a bound: the one not asked for longest goes first (law 12)."""

from datetime import timedelta

import msgspec
import pytest

from policies import limits
from policies.kept import Door, Kept
from policies.snapshot import Snapshot
from service import last_known
from service.last_known import LastKnown
from service.rights import Rights, Standing
from store.reading import Want
from tests.pure import plans

SNAPSHOT = Snapshot(tenant_id="acme", version=1, known=True)
OFFER = plans.offer()
HOUR = timedelta(hours=1)


def standing(feature_id):
    right = msgspec.structs.replace(plans.right(), feature_id=feature_id)
    return Standing(
        snapshot=SNAPSHOT, offer=OFFER, since=plans.NOW, right=right, want=Want("acme", ()), by_entity=False,
        remembered=False,
    )  # fmt: skip


def test_rights_are_bounded():
    rights = Rights(alive=2)
    for feature_id in ("a", "b"):
        rights.keep(standing(feature_id))
    rights.keep(standing("c"))
    assert held(rights) == [True, True, False]  # what comes once drives nobody out
    assert rights.get(SNAPSHOT, OFFER, "a", plans.NOW) is not None
    rights.keep(standing("c"))
    assert held(rights) == [True, False, True]


def held(rights):
    return [rights.get(SNAPSHOT, OFFER, feature_id, plans.NOW) is not None for feature_id in "abc"]


def test_a_door_remembers_for_a_while_who_came():
    door = Door(100)
    assert not door.opens("one")
    assert door.opens("one")
    assert sum(door.opens(f"passer-by {number}") for number in range(199)) < 40  # some look like others
    assert sum(door.opens(f"another {number}") for number in range(20)) < 5
    assert not door.opens("one")


def test_what_a_full_store_with_a_door_does_not_keep_it_gives_all_the_same():
    kept = Kept(2, door=True)
    assert [kept.get(key, lambda key=key: key.upper()) for key in "abc"] == ["A", "B", "C"]
    assert (len(kept), kept.peek("a"), kept.peek("c")) == (2, "A", None)
    assert kept.get("c", lambda: "C") == "C"
    assert (len(kept), kept.peek("a"), kept.peek("c")) == (2, None, "C")


def test_the_usual_counters_are_those_that_two_tenants_in_turn_wanted():
    rights = Rights()
    one, other = (("m.1", "f:i"),), (("m.2", "f:i"),)
    told = []
    for fields in (one, one, other, other, one):
        rights.note("f", fields)
        told.append(rights.usual("f"))
    assert told == [(), one, (), other, ()]
    assert rights.usual("another") == ()


@pytest.fixture
def levels(monkeypatch):
    """What is kept for lastKnown, of three tenants where there is room for two."""
    monkeypatch.setattr(last_known, "ALIVE", 2)
    kept = LastKnown()
    for number, tenant_id in enumerate(("a", "b", "c")):
        kept.keep(Want(tenant_id, (("w", "f"),)), (number,), plans.NOW)
    return kept


def recalled(kept, tenant_id, at):
    return kept.recall(Want(tenant_id, (("w", "f"),)), at)


def test_last_known_levels_are_bounded(levels):
    assert [recalled(levels, tenant_id, plans.NOW) for tenant_id in "abc"] == [None, (1,), (2,)]


def test_last_known_levels_answer_for_a_day_and_no_longer(levels):
    day = limits.LAST_KNOWN_HOURS * HOUR
    assert recalled(levels, "c", plans.NOW + day) == (2,)
    assert recalled(levels, "c", plans.NOW + day + timedelta(seconds=1)) is None
    levels.keep(Want("c", (("w", "f"),)), (7,), plans.NOW + HOUR)
    assert recalled(levels, "c", plans.NOW + day + HOUR) == (7,)
