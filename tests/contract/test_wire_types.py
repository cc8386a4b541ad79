"""No request type is one that the decoder cannot hold."""

from collections.abc import Iterator

import pytest
from msgspec import inspect

from service.api import app

KINDS = sorted(
    {
        kind
        for router in app.ROUTERS
        for route in router
        for kind in (*getattr(route.opt.get("body"), "kinds", ()), route.opt.get("query"))
        if kind is not None
    },
    key=lambda kind: kind.__qualname__,
)
CONTAINERS = (inspect.DictType, inspect.ListType, inspect.StructType, inspect.VarTupleType)


def unions(kind: inspect.Type) -> Iterator[inspect.UnionType]:
    """Every union inside a type, however deep."""
    if isinstance(kind, inspect.UnionType):
        yield kind
    if isinstance(kind, inspect.StructType):
        parts: tuple[object, ...] = tuple(field.type for field in kind.fields)
    elif isinstance(kind, inspect.UnionType):
        parts = kind.types
    else:
        parts = tuple(getattr(kind, name, None) for name in ("type", "item_type", "key_type", "value_type"))
    for part in parts:
        if isinstance(part, inspect.Type):
            yield from unions(part)


def is_unsafe(union: inspect.UnionType) -> bool:
    """A text with a pattern beside a container: msgspec 0.22 crashes the process for it."""
    bare = [part.type if isinstance(part, inspect.Metadata) else part for part in union.types]
    return any(isinstance(part, inspect.StrType) and part.pattern for part in bare) and any(
        isinstance(part, CONTAINERS) for part in bare
    )


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__qualname__)
def test_no_text_with_a_pattern_stands_beside_a_container(kind):
    assert not [union for union in unions(inspect.type_info(kind)) if is_unsafe(union)]


def test_the_walk_finds_what_it_looks_for():
    """Made by hand: msgspec itself must not see it."""
    text, mapping = inspect.StrType(pattern="^a"), inspect.DictType(inspect.StrType(), inspect.AnyType())
    unsafe = inspect.UnionType((inspect.Metadata(text, extra={}), mapping, inspect.NoneType()))
    assert [one for one in unions(inspect.ListType(unsafe)) if is_unsafe(one)] == [unsafe]
    assert not is_unsafe(inspect.UnionType((text, inspect.IntType())))
    assert not is_unsafe(inspect.UnionType((inspect.StrType(max_length=3), mapping)))
