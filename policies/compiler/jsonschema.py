"""JSON Schema of the catalog files, so that an editor completes, explains and underlines while one writes."""

from typing import Final, Literal

from policies.compiler.fields import FEATURES, PLAN
from policies.compiler.kinds import Schema

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_TITLES: Final = {"features": "features.yaml", "plan": "plans/*.yaml"}


def schema_for(name: Literal["features", "plan"]) -> Schema:
    """JSON Schema (draft 2020-12) of one kind of file, made from the table that the reader uses.

    It lets through a little that the reader refuses (rules between fields), and nothing less.
    """
    fields = {"features": FEATURES.schema, "plan": PLAN.schema}[name]
    return {"$schema": _DIALECT, "title": f"Metergate: {_TITLES[name]}", **fields}
