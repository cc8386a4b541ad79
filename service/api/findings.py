"""What is wrong with a decoded value, all of it at once: the slow pass after a decoder has said no.

The decoder stops at the first wrong field. This walks down wherever `msgspec.convert` refuses a part, so both
agree on what is wrong; it only adds where, and says it in plain words.
"""

import difflib
import functools
import itertools
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Final, NamedTuple, cast

import msgspec

from policies import limits
from policies.errors import FieldError, InvalidError
from service.api import jsontext

Explain = Callable[[object], str | None]
"""What an annotated type says of a value that does not fit: `Meta(extra={"explain": ...})`; or the usual."""

_SHOWN: Final = 60
_NOTHING: Final = (type(None), msgspec.UnsetType)
"""What a field may be beside its type: null, and left out."""
_NAMES: Final = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    datetime: "an instant as text",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


class _Field(NamedTuple):
    """A field of a Struct. `alone` is a Struct of this field only: msgspec remembers those, no bare type."""

    name: str
    kind: Any
    needed: bool
    alone: type[msgspec.Struct]


def find(value: object, kind: object, pointer: str = "", *, strict: bool = True) -> list[FieldError]:
    """The wrong fields, in the order of the type's fields; at most limits.FIELD_ERRORS.

    Not strict, texts stand for numbers, as in a query. Empty when the value fits.
    """
    return list(itertools.islice(_walk(value, kind, pointer, strict=strict), limits.FIELD_ERRORS))


def invalid(found: list[FieldError]) -> InvalidError:
    """The findings as one error, whose detail is a sentence on its own."""
    if len(found) == 1:
        return InvalidError(f"{found[0].pointer or 'The body'}: {found[0].message}", errors=tuple(found))
    count = f"{len(found)} or more" if len(found) == limits.FIELD_ERRORS else str(len(found))
    first = ", ".join(finding.pointer or "the body" for finding in found[:3])
    more = ", …" if len(found) > 3 else ""  # noqa: PLR2004  # as many as are named just above
    return InvalidError(f"{count} fields are not valid: {first}{more}.", errors=tuple(found))


def shown(text: str) -> str:
    """A text of the caller's as it may stand in a sentence: cut, and without control characters."""
    printable = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text[:_SHOWN])
    return printable + ("…" if len(text) > _SHOWN else "")


def _walk(value: object, kind: object, pointer: str, *, strict: bool) -> Iterator[FieldError]:
    try:
        msgspec.convert(value, cast("type[object]", kind), strict=strict)
    except (msgspec.ValidationError, ValueError) as error:
        complaint = str(error)
    else:
        return
    bare, metas = _fitting(value, kind)
    parts = _parts(value, bare, metas, pointer, strict=strict)
    first = next(parts, None)
    if first is None:
        yield FieldError(pointer, _message(value, bare, metas, complaint, strict=strict))
    else:
        yield first
        yield from parts


def _fitting(value: object, kind: object) -> tuple[Any, list[msgspec.Meta]]:
    """The type without its annotations, and those; of a union the one option that is of the value's shape."""
    metas: list[msgspec.Meta] = []
    while True:
        origin = typing.get_origin(kind)
        if origin is Annotated:
            metas += [meta for meta in typing.get_args(kind)[1:] if isinstance(meta, msgspec.Meta)]
            kind = typing.get_args(kind)[0]
        elif origin in (typing.Union, types.UnionType):
            options = [option for option in typing.get_args(kind) if option not in _NOTHING]
            fitting = [option for option in options if _same_shape(value, option)] or options
            if len(fitting) > 1:
                return kind, metas
            kind = fitting[0]
        else:
            return kind, metas


def _same_shape(value: object, option: object) -> bool:
    bare, _ = _fitting(None, option)
    origin = typing.get_origin(bare) or bare
    if isinstance(value, dict):
        return origin is dict or _is_struct(bare)
    if isinstance(value, list):
        return origin in (list, tuple, set, frozenset)
    return isinstance(value, str) and origin is datetime


def _is_struct(bare: object) -> bool:
    return isinstance(bare, type) and issubclass(bare, msgspec.Struct)


def _parts(
    value: object, bare: Any, metas: list[msgspec.Meta], pointer: str, *, strict: bool
) -> Iterator[FieldError]:
    """What is wrong inside a list or an object; nothing for the rest, and for one that is too long."""
    origin, arguments = typing.get_origin(bare) or bare, typing.get_args(bare)
    if not isinstance(value, list | dict) or _length_message(value, metas):
        return
    if isinstance(value, dict) and _is_struct(bare):
        yield from _fields(value, bare, pointer, strict=strict)
    elif isinstance(value, dict) and origin is dict and arguments:
        for key, item in value.items():
            for finding in _walk(key, arguments[0], pointer + jsontext.step(key), strict=strict):
                yield FieldError(finding.pointer, f"This key is not taken. {finding.message}")
            yield from _walk(item, arguments[1], pointer + jsontext.step(key), strict=strict)
    elif isinstance(value, list) and origin in (list, tuple) and arguments:
        for index, item in enumerate(value):
            yield from _walk(item, arguments[0], f"{pointer}/{index}", strict=strict)


def _fields(
    value: Mapping[str, object], kind: type[msgspec.Struct], pointer: str, *, strict: bool
) -> Iterator[FieldError]:
    fields = _fields_of(kind)
    for field in fields:
        here = pointer + jsontext.step(field.name)
        if field.name not in value:
            if field.needed:
                yield FieldError(here, "This field is needed.")
        elif not _fits({"value": value[field.name]}, field.alone, strict=strict):
            yield from _walk(value[field.name], field.kind, here, strict=strict)
    if not kind.__struct_config__.forbid_unknown_fields:
        return
    known = [field.name for field in fields]
    for key in value:
        if key not in known:
            yield FieldError(pointer + jsontext.step(key), f"There is no such field.{_meant(key, known)}")


@functools.cache
def _fields_of(kind: type[msgspec.Struct]) -> tuple[_Field, ...]:
    return tuple(
        _Field(each.encode_name, each.type, each.required, msgspec.defstruct("Alone", [("value", each.type)]))
        for each in msgspec.structs.fields(kind)
    )


def _fits(value: object, kind: type[msgspec.Struct], *, strict: bool) -> bool:
    try:
        msgspec.convert(value, kind, strict=strict)
    except (msgspec.ValidationError, ValueError):
        return False
    return True


def _meant(text: str, known: list[str]) -> str:
    close = difflib.get_close_matches(text, known, 1) if len(text) <= _SHOWN else []
    return f" Did you mean `{close[0]}`?" if close else f" There are: {', '.join(known)}." if known else ""


def _message(value: object, bare: Any, metas: list[msgspec.Meta], complaint: str, *, strict: bool) -> str:
    for meta in metas:
        explain = cast("Explain | None", (meta.extra or {}).get("explain"))
        if explain is not None and (said := explain(value)) is not None:
            return said
    if typing.get_origin(bare) is typing.Literal:
        return _choice(value, [str(option) for option in typing.get_args(bare)])
    wanted = dict if _is_struct(bare) else typing.get_origin(bare) or bare
    if isinstance(wanted, type) and wanted in _NAMES and not _can_be(value, wanted, strict=strict):
        return f"This must be {_NAMES[wanted]}, not {kind_of(value)}."
    text, _, _ = complaint.partition(" - at `")
    return _length_message(value, metas) or _bounds_message(metas) or f"{text}."


def _can_be(value: object, wanted: type, *, strict: bool) -> bool:
    """Whether it is of the type, so that only a bound of the type is missed."""
    if wanted is datetime:
        return isinstance(value, str)
    try:
        msgspec.convert(value, wanted, strict=strict)
    except (msgspec.ValidationError, ValueError):
        return False
    return True


def _choice(value: object, options: list[str]) -> str:
    listed = ", ".join(options)
    close = (
        difflib.get_close_matches(value, options, 1)
        if isinstance(value, str) and len(value) <= _SHOWN
        else []
    )
    return f"This must be one of: {listed}." + (f" Did you mean `{close[0]}`?" if close else "")


def _length_message(value: object, metas: list[msgspec.Meta]) -> str | None:
    if not isinstance(value, str | list | dict):
        return None
    unit = {str: "characters", list: "items", dict: "keys"}[type(value)]
    for meta in metas:
        if meta.max_length is not None and len(value) > meta.max_length:
            return f"This has {len(value):,} {unit}; at most {meta.max_length:,} are taken."
        if meta.min_length is not None and len(value) < meta.min_length:
            return f"This has {len(value):,} {unit}; at least {meta.min_length:,} are needed."
    return None


def _bounds_message(metas: list[msgspec.Meta]) -> str | None:
    for meta in metas:
        if meta.ge is not None and meta.le is not None:
            return f"This must be from {meta.ge:,} to {meta.le:,}."
        if meta.ge is not None:
            return f"This must be at least {meta.ge:,}."
        if meta.le is not None:
            return f"This must be at most {meta.le:,}."
        if meta.pattern is not None:
            return f"This must match the pattern {meta.pattern}."
    return None


def kind_of(value: object) -> str:
    """What a JSON value is, in words."""
    return _NAMES.get(type(value), "something else")
