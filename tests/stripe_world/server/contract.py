"""Holds a request against Stripe's own OpenAPI document: unknown parameter, wrong type, wrong nesting.

The document's objects are open where Stripe's are not, so one whose fields are named is taken as closed.
It says nothing of rules between fields, and of states; for these there is the simulator.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl

_TEXTS = {
    "integer": re.compile(r"-?\d+"),
    "number": re.compile(r"-?\d+(\.\d+)?"),
    "boolean": re.compile("true|false"),
}


class Contract:
    """The operations of the document."""

    def __init__(self, document: Path) -> None:
        spec = json.loads(document.read_bytes())
        self._schemas = spec["components"]["schemas"]
        self._paths = [(_pattern(path), methods) for path, methods in spec["paths"].items()]
        self._paths.sort(key=lambda one: one[0].groups)  # a fixed part is meant before a free one

    def findings(self, method: str, path: str, query: str, body: str) -> list[str]:
        """What of a request Stripe would not understand; nothing if all is well."""
        operation = next(
            (
                methods[method.lower()]
                for pattern, methods in self._paths
                if method.lower() in methods and pattern.fullmatch(path)
            ),
            None,
        )
        if operation is None:
            return [f"there is no operation {method} {path}"]
        named = {
            each["name"]: each["schema"] for each in operation.get("parameters", ()) if each["in"] == "query"
        }
        form = (
            operation.get("requestBody", {}).get("content", {}).get("application/x-www-form-urlencoded", {})
        )
        asked = {"type": "object", "properties": named}
        found = [*self._check(asked, decode(query), "query")]
        found += self._check(form.get("schema", {"type": "object", "properties": {}}), decode(body), "body")
        return [f"{method} {path}: {each}" for each in found]

    def _check(self, schema: dict, value: object, where: str) -> Iterator[str]:
        if "$ref" in schema:
            schema = self._schemas[schema["$ref"].rsplit("/", 1)[1]]
        if "anyOf" in schema:
            yield from self._any(schema["anyOf"], value, where)
        elif schema.get("type") == "object":
            yield from self._object(schema, value, where)
        elif schema.get("type") == "array":
            yield from self._array(schema, value, where)
        elif not isinstance(value, str):
            yield f"{where} is to be one value"
        else:
            yield from _text(schema, value, where)

    def _any(self, schemas: list[dict], value: object, where: str) -> Iterator[str]:
        tried = [[*self._check(schema, value, where)] for schema in schemas]
        if all(tried):
            yield from min(tried, key=len)

    def _object(self, schema: dict, value: object, where: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{where} is to be an object"
            return
        named, others = schema.get("properties", {}), schema.get("additionalProperties")
        for name, each in value.items():
            if name in named:
                yield from self._check(named[name], each, f"{where}.{name}")
            elif isinstance(others, dict):
                yield from self._check(others, each, f"{where}.{name}")
            else:
                yield f"{where}.{name} is unknown"
        yield from (f"{where}.{name} is missing" for name in schema.get("required", ()) if name not in value)

    def _array(self, schema: dict, value: object, where: str) -> Iterator[str]:
        if not isinstance(value, dict) or not all(key.isdigit() for key in value):
            yield f"{where} is to be a list"
            return
        for place, each in value.items():
            yield from self._check(schema.get("items", {}), each, f"{where}[{place}]")


def decode(form: str) -> dict:
    """`a[b][0]=x` as {"a": {"b": {"0": "x"}}}: a list is an object whose keys are places."""
    found: dict = {}
    for name, value in parse_qsl(form, keep_blank_values=True):
        first, *rest = re.findall(r"[^\[\]]+", name)
        inside, last = found, first
        for part in rest:
            inside = inside.setdefault(last, {})
            last = part
        inside[last] = value
    return found


def _text(schema: dict, value: str, where: str) -> Iterator[str]:
    pattern = _TEXTS.get(schema.get("type", "string"))
    if pattern is not None and not pattern.fullmatch(value):
        yield f"{where} is to be of type {schema['type']}, not `{value}`"
    elif "enum" in schema and value not in schema["enum"]:
        yield f"{where} is to be one of {', '.join(schema['enum'])}, not `{value}`"
    elif len(value) > schema.get("maxLength", len(value)):
        yield f"{where} has more than {schema['maxLength']} characters"


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{\w+\}", "([^/]+)", path))
