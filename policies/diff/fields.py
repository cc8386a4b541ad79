"""Every field of a noun, held against what it said before: one that no rule names is told all the same."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import msgspec

from policies.diff import words
from policies.diff.change import Difference
from policies.diff.judge import Judge, neutral
from policies.model import Noun

PLACES: Final = frozenset({"source", "included_source"})


class Rule(msgspec.Struct, frozen=True):
    """How one field is named, judged and written."""

    label: str
    judge: Judge = neutral
    say: Callable[[object], str] = words.plain


def compare(
    before: Noun, after: Noun, rules: Mapping[str, Rule], *, but: frozenset[str] = frozenset()
) -> Iterator[Difference]:
    """What differs, field by field, apart from places and from the fields that are compared elsewhere."""
    for name in before.__struct_fields__:
        old, new = getattr(before, name), getattr(after, name)
        if name in PLACES or name in but or old == new:
            continue
        rule = rules.get(name) or Rule(name.replace("_", " "))
        yield Difference(
            field=rule.label, before=rule.say(old), after=rule.say(new), effect=rule.judge(old, new)
        )
