"""Named SQL: reads store/sql/<noun>.sql, where a block starts with `-- name: <name>`."""

import re
from importlib import resources

_BLOCK = re.compile(r"^-- name: (\w+)\n(.*?)(?=^-- name: |\Z)", re.MULTILINE | re.DOTALL)


class Queries:
    """The named queries of one noun, as attributes. Bytes, since psycopg takes text only as a literal."""

    def __init__(self, noun: str) -> None:
        text = resources.files("store").joinpath("sql", f"{noun}.sql").read_text(encoding="utf-8")
        self.noun = noun
        self.by_name: dict[str, bytes] = {name: body.strip().encode() for name, body in _BLOCK.findall(text)}

    def __getattr__(self, name: str) -> bytes:
        try:
            return self.by_name[name]
        except KeyError:
            raise AttributeError(f"store/sql/{self.noun}.sql has no query named {name}") from None
