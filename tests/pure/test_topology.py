"""Whom to believe about which node of a cluster has which shard, and where a node is."""

import pytest

from store import keyspace, topology
from store.topology import Scouts, address_of

LOW, HIGH = 0, 16_383


def view(address: str, name: str, epoch: int, *slots: list) -> topology._View:
    return topology._view(address, name.encode(), {"cluster_my_epoch": str(epoch)}, slots)


def owned(low: int, high: int, *nodes: tuple[str | None, int, str]) -> list:
    """As CLUSTER SLOTS says it: the primary first, then its replicas."""
    said = [[None if host is None else host.encode(), port, name.encode(), []] for host, port, name in nodes]
    return [low, high, *said]


def owners(*views: topology._View) -> set[str]:
    layout = topology._merged(views)
    assert len(layout.owners) in (0, len(keyspace.tags()))
    return set(layout.owners.values())


def test_of_two_that_name_themselves_the_later_one_is_believed():
    old = view("a:1", "A", 4, owned(LOW, HIGH, ("a", 1, "A"), ("b", 2, "B")))
    new = view("b:2", "B", 5, owned(LOW, HIGH, ("b", 2, "B")))
    assert owners(old, new) == owners(new, old) == {"b:2"}
    assert topology._merged([old, new]).addresses == {"a:1", "b:2"}


def test_a_node_is_believed_about_itself_before_others_are():
    moved_away = view("c:3", "C", 9, owned(LOW, HIGH, ("a", 1, "A")))
    owner = view("b:2", "B", 5, owned(LOW, HIGH, ("b", 2, "B")))
    assert owners(moved_away, owner) == {"b:2"}


def test_what_its_owner_does_not_answer_for_stands_where_others_say():
    assert owners(view("c:3", "C", 9, owned(LOW, HIGH, ("a", 1, "A")))) == {"a:1"}
    assert owners(view("c:3", "C", 9)) == set()


@pytest.mark.parametrize(("host", "found"), [(None, "c:7"), ("", "c:7"), ("?", "c:7"), ("::1", "[::1]:7")])
def test_a_node_without_a_host_is_where_it_was_asked(host, found):
    assert owners(view("c:3", "C", 1, owned(LOW, HIGH, (host, 7, "C")))) == {found}


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://h", "h:6379"),
        ("redis://me:se@cret@h:7000/0", "h:7000"),
        ("rediss://[::1]:7000", "[::1]:7000"),
    ],
)
def test_a_server_is_named_by_host_and_port(url, address):
    assert address_of(url) == address


def test_nodes_are_reached_as_the_first_that_was_named():
    scouts = Scouts(["rediss://me:secret@h:1/0?ssl_cert_reqs=none", "rediss://other:2"], timeout_s=1)
    assert scouts.url("n:7") == "rediss://me:secret@n:7/0?ssl_cert_reqs=none"
