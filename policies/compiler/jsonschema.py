"""JSON Schema of the catalog files, so that an editor completes, explains and underlines while one writes."""

from typing import Final, Literal

from policies.compiler.case_fields import TABLE
from policies.compiler.fields import ADDON, FEATURES, INVARIANTS, PLAN
from policies.compiler.kinds import Schema

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_FILES: Final[dict[str, tuple[str, Schema]]] = {
    "features": ("features.yaml", FEATURES.schema),
    "plan": ("plans/*.yaml", PLAN.schema),
    "addon": ("addons/*.yaml", ADDON.schema),
    "invariants": ("invariants.yaml", INVARIANTS.schema),
    "tests": ("tests/*.yaml", TABLE.schema),
}

KINDS: Final = tuple(_FILES)
FileKind = Literal["features", "plan", "addon", "invariants", "tests"]


def schema_for(kind: FileKind) -> Schema:
    """JSON Schema (draft 2020-12) of one kind of file, made from the table that the reader uses.

    It lets through a little that the reader refuses (rules between fields), and nothing less.
    """
    path, fields = _FILES[kind]
    return {"$schema": _DIALECT, "title": f"Metergate: {path}", **fields}
