"""The JSON Schema for editors and the reader are one table: neither knows a field that the other lacks."""

import json
import re
from datetime import datetime
from pathlib import Path

import msgspec
import pytest
from ruamel.yaml import YAML

from policies.compiler.build import compile_catalog
from policies.compiler.case_fields import TABLE
from policies.compiler.fields import ADDON, FEATURES, INVARIANTS, PLAN
from policies.compiler.jsonschema import KINDS, schema_for

CATALOG = Path(__file__).parents[2] / "policies" / "catalog"
FILES = sorted(CATALOG.rglob("*.yaml"))
KINDS_OF = {"plans": "plan", "addons": "addon", "tests": "tests"}
TABLES = {"plan": PLAN, "addon": ADDON, "features": FEATURES, "invariants": INVARIANTS, "tests": TABLE}
TYPES = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}


def problems(schema, value, at=""):
    """What JSON Schema says against the value: the words that our schemas use, and no others."""
    known = {
        "$schema",
        "title",
        "description",
        "default",
        "type",
        "properties",
        "required",
        "enum",
        "pattern",
    }
    known |= {
        "additionalProperties",
        "propertyNames",
        "anyOf",
        "const",
        "not",
        "items",
        "minItems",
        "maxItems",
    }
    known |= {"minimum", "maximum", "minLength", "maxLength"}
    assert schema.keys() <= known
    found = []
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types and not any(
        isinstance(value, TYPES[t]) and (t == "boolean") == isinstance(value, bool) for t in types
    ):
        return [f"{at}: not {types}"]
    found += [f"{at}: not {schema['enum']}"] if value not in schema.get("enum", [value]) else []
    found += [f"{at}: not {schema['const']}"] if value != schema.get("const", value) else []
    if "anyOf" in schema and all(problems(each, value, at) for each in schema["anyOf"]):
        found.append(f"{at}: none of anyOf")
    if "not" in schema and not problems(schema["not"], value, at):
        found.append(f"{at}: not allowed")
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        found.append(f"{at}: not {schema['pattern']}")
    if isinstance(value, int) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        found.append(f"{at}: out of bounds")
    if isinstance(value, list):
        found += [
            line
            for n, item in enumerate(value)
            for line in problems(schema.get("items", {}), item, f"{at}/{n}")
        ]
    if isinstance(value, dict):
        found += [f"{at}: lacks {name}" for name in schema.get("required", []) if name not in value]
        for name, item in value.items():
            inner = schema.get("properties", {}).get(name, schema.get("additionalProperties", {}))
            found += [f"{at}/{name}: unknown"] if inner is False else problems(inner, item, f"{at}/{name}")
            found += problems(schema.get("propertyNames", {}), name, f"{at}/{name}")
    return found


def as_an_editor_reads_it(path):
    """Editors hold 1_000 for a text, so a schema must take it in both forms; an instant is a text to them."""
    loaded = YAML(typ="safe", pure=True).load(path.read_text("utf-8"))

    def said(value):
        if isinstance(value, dict):
            return {key: said(item) for key, item in value.items()}
        if isinstance(value, list):
            return [said(item) for item in value]
        return value.strftime("%Y-%m-%dT%H:%M:%SZ") if isinstance(value, datetime) else value

    def written(value):
        if isinstance(value, dict):
            return {key: written(item) for key, item in value.items()}
        if isinstance(value, list):
            return [written(item) for item in value]
        return (
            f"{value:_}" if isinstance(value, int) and not isinstance(value, bool) and value > 999 else value
        )

    loaded = said(loaded)
    return [loaded, written(loaded)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(CATALOG).as_posix())
def test_the_bundled_files_fit_their_schema(path):
    kind = KINDS_OF.get(path.parent.name, path.stem)
    for reading in as_an_editor_reads_it(path):
        assert problems(schema_for(kind), reading) == []


@pytest.mark.parametrize(("name", "table"), TABLES.items())
def test_schema_and_reader_know_the_same_fields_with_a_sentence_for_each(name, table):
    def compare(schema, record):
        assert set(schema["properties"]) == set(record.fields)
        for field, (_, known) in record.fields.items():
            assert schema["properties"][field]["description"].strip()
            inner, kind = schema["properties"][field], known.kind
            while hasattr(kind, "kind"):
                inner, kind = inner.get("items") or inner.get("additionalProperties") or inner, kind.kind
            if hasattr(kind, "fields"):
                compare(inner, kind)

    compare(schema_for(name), table)


def test_every_field_of_the_schema_is_read_and_no_other():
    """Each field that the schema names, put into a plan, is known to the reader; a foreign one is not."""
    base = dict.fromkeys(schema_for("plan")["properties"], "x")
    slugs = [found.slug for found in compiled_plan(base).findings if found.path == "plans/p.yaml"]
    assert "unknown-field" not in slugs
    slugs = [found.slug for found in compiled_plan({**base, "foreign": "x"}).findings]
    assert slugs.count("unknown-field") == 1


def compiled_plan(fields):
    text = "\n".join(f"{name}: {json.dumps(value)}" for name, value in fields.items())
    return compile_catalog({"features.yaml": "features: {}", "plans/p.yaml": text})


def test_what_the_schema_offers_as_a_word_the_reader_takes():
    def words(schema):
        if isinstance(schema, dict):
            return [schema] * ("enum" in schema) + [
                found for item in schema.values() for found in words(item)
            ]
        return [found for item in schema for found in words(item)] if isinstance(schema, list) else []

    interval = next(each for each in words(schema_for("plan")) if "month" in each["enum"])
    for word in interval["enum"]:
        fields = {"plan": "p", "name": "P", "currency": "usd", "price": "1", "interval": word, "features": {}}
        assert compiled_plan(fields).catalog is not None


def test_the_schema_underlines_what_the_reader_refuses():
    plan = as_an_editor_reads_it(CATALOG / "plans" / "pro.yaml")[0]
    for name, wrong in {
        "price": 49.0,
        "interval": "monthly",
        "trial": 14,
        "foreign": True,
        "currency": "USD",
        "plan": "Pro Plan",
    }.items():
        assert problems(schema_for("plan"), {**plan, name: wrong})
    tokens = {**plan["features"]["ai-tokens"], "incuded": 5}
    assert problems(schema_for("plan"), {**plan, "features": {"ai-tokens": tokens}})


def test_the_schemas_are_plain_json():
    assert set(KINDS) == set(TABLES)
    for name in KINDS:
        schema = schema_for(name)
        assert msgspec.json.decode(msgspec.json.encode(schema)) == schema
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
