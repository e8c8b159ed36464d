"""Our OCPP 1.6 types against the JSON schemas of the Open Charge Alliance, as package ``ocpp`` carries them.

Every schema is compared with its type field by field, and instances generated from the schema go through
decoding and encoding. Where the types are more tolerant than the schemas, the tables below say so.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

import jsonschema  # type: ignore[import-untyped]
import msgspec
import pytest
from msgspec import inspect

from ampgate.ocpp import v16

Schema = dict[str, Any]

PLAIN_TEXT_ENUMERATIONS: dict[tuple[type[msgspec.Struct], str], type[StrEnum]] = {
    (v16.SampledValue, "context"): v16.ReadingContext,
    (v16.SampledValue, "format"): v16.ValueFormat,
    (v16.SampledValue, "measurand"): v16.Measurand,
    (v16.SampledValue, "phase"): v16.Phase,
    (v16.SampledValue, "location"): v16.Location,
    (v16.SampledValue, "unit"): v16.UnitOfMeasure,
    (v16.StatusNotificationRequest, "errorCode"): v16.ChargePointErrorCode,
    (v16.StopTransactionRequest, "reason"): v16.Reason,
}
"""Enumerated by the schema, any text to us, because chargers send values of their own."""

MISSING_FROM_SCHEMA = {("StopTransaction", "unit"): {"Hertz"}}
"""Values of our enumerations that one schema forgets and another has."""

TOLERATED_EMPTY = {
    ("MeterValues", "sampledValue"),
    ("GetInstalledCertificateIdsResponse", "certificateHashData"),
}
"""Arrays that the schema wants non-empty and that real chargers leave empty."""

ANY_JSON = {(v16.DataTransferRequest, "data"), (v16.DataTransferResponse, "data")}
"""Text by the schema, any JSON value to us."""

SCALARS: dict[str, type[inspect.Type]] = {
    "string": inspect.StrType,
    "integer": inspect.IntType,
    "number": inspect.FloatType,
    "boolean": inspect.BoolType,
}


def message_type(schema_name: str) -> type[v16.Message]:
    action = schema_name.removesuffix("Response")
    return v16.ACTIONS[action].response if action != schema_name else v16.ACTIONS[action].request


@cache
def schemas() -> dict[str, Schema]:
    folder = resources.files("ocpp.v16") / "schemas"
    return {
        file.name.removesuffix(".json"): resolved(json.loads(file.read_text(encoding="utf-8-sig")))
        for file in folder.iterdir()
        if file.name.endswith(".json")
    }


def resolved(schema: Schema) -> Schema:
    """``schema`` with its local references replaced by what they refer to."""
    definitions = schema.pop("definitions", {})

    def replace(node: Any) -> Any:
        if isinstance(node, list):
            return [replace(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return replace(definitions[node["$ref"].removeprefix("#/definitions/")])
        return {key: replace(value) for key, value in node.items()}

    result: Schema = replace(schema)
    return result


def validate(instance: Any, schema: Schema) -> None:
    jsonschema.validators.validator_for(schema)(schema).validate(instance)


# Instances


def build(schema: Schema, *, full: bool, turn: int = 0) -> Any:
    """An instance: the required fields, or all with texts at full length; ``turn`` picks the enum values."""
    if "enum" in schema:
        return schema["enum"][turn % len(schema["enum"])]
    match schema["type"]:
        case "object":
            properties = schema.get("properties", {})
            names = properties if full else schema.get("required", [])
            return {name: build(properties[name], full=full, turn=turn) for name in names}
        case "array":
            count = 2 if full else schema.get("minItems", 0)
            return [build(schema["items"], full=full, turn=turn + index) for index in range(count)]
        case "string" if schema.get("format") == "date-time":
            return "2026-01-31T12:00:00Z"
        case "string" if schema.get("format") == "uri":
            return "ftp://files.example.com/log"
        case "string":
            return "x" * min(schema.get("maxLength", 600), 600) if full else "x"
        case "integer":
            return 7
        case "number":
            return 16.5
        case "boolean":
            return turn % 2 == 0
        case other:
            raise AssertionError(f"no instance of {other}")


def largest_enumeration(schema: Schema) -> int:
    below = [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]
    return max([len(schema.get("enum", ())), *(largest_enumeration(node) for node in below)])


def instances(schema: Schema) -> Iterator[Any]:
    yield build(schema, full=False)
    for turn in range(max(1, largest_enumeration(schema))):
        yield build(schema, full=True, turn=turn)


# Fields of a schema beside the fields of its type


class Field(NamedTuple):
    owner: type[msgspec.Struct]
    name: str
    schema: Schema
    required: bool
    declared: inspect.Field
    path: tuple[str | int, ...]
    """Where the field is in a full instance."""

    @property
    def type(self) -> inspect.Type:
        """The declared type without ``| None``."""
        declared = self.declared.type
        if isinstance(declared, inspect.UnionType):
            some = tuple(kind for kind in declared.types if not isinstance(kind, inspect.NoneType))
            return some[0] if len(some) == 1 else inspect.UnionType(some)
        return declared

    @property
    def element(self) -> inspect.Type:
        """The type, or for an array the type of its elements."""
        return self.type.item_type if isinstance(self.type, inspect.ListType) else self.type

    @property
    def element_schema(self) -> Schema:
        schema: Schema = self.schema.get("items", self.schema)
        return schema

    @property
    def keywords(self) -> set[str]:
        return {*self.schema, *self.element_schema}

    @property
    def plain(self) -> inspect.Type:
        """The element type without metadata."""
        return self.element.type if isinstance(self.element, inspect.Metadata) else self.element


def struct_info(kind: type[msgspec.Struct]) -> inspect.StructType:
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    return info


def fields(schema: Schema, owner: type[msgspec.Struct], path: tuple[str | int, ...] = ()) -> Iterator[Field]:
    declared = {field.encode_name: field for field in struct_info(owner).fields}
    properties = schema.get("properties", {})
    assert declared.keys() == properties.keys(), owner
    for name, property_schema in properties.items():
        place = (*path, name)
        required = name in schema.get("required", [])
        field = Field(owner, name, property_schema, required, declared[name], place)
        yield field
        if isinstance(field.element, inspect.StructType):
            below = (*place, 0) if "items" in property_schema else place
            yield from fields(field.element_schema, field.element.cls, below)


def all_fields() -> Iterator[Any]:
    for name, schema in sorted(schemas().items()):
        for field in fields(schema, message_type(name)):
            yield pytest.param(name, field, id=".".join(map(str, (name, *field.path))))


def changed(schema_name: str, path: tuple[str | int, ...], *value: Any) -> bytes:
    """A full instance with the field at ``path`` replaced by ``value``, or removed when there is none."""
    instance = copy.deepcopy(build(schemas()[schema_name], full=True))
    parent = instance
    for step in path[:-1]:
        parent = parent[step]
    if value:
        parent[path[-1]] = value[0]
    else:
        del parent[path[-1]]
    return json.dumps(instance).encode()


def written(path: tuple[str | int, ...]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


every_schema = pytest.mark.parametrize("name", sorted(schemas()))


def every_field(keyword: str | None = None) -> pytest.MarkDecorator:
    """A test case for each field whose schema (or its elements' schema) has ``keyword``, or for all."""
    cases = [case for case in all_fields() if keyword is None or keyword in case.values[1].keywords]
    return pytest.mark.parametrize(("name", "field"), cases)


def test_every_action_has_its_two_schemas() -> None:
    assert schemas().keys() == {*v16.ACTIONS, *(f"{name}Response" for name in v16.ACTIONS)}


def test_actions_are_those_of_the_standard_and_of_the_whitepaper() -> None:
    features = [action.feature for action in v16.ACTIONS.values()]
    assert features.count("Security") == 11
    assert len(features) == 28 + 11


@every_schema
def test_instances_survive_decoding_and_encoding(name: str) -> None:
    schema = schemas()[name]
    for instance in instances(schema):
        validate(instance, schema)
        message = v16.decode(message_type(name), json.dumps(instance).encode())
        assert v16.too_long(message) == []
        output = json.loads(v16.encode(message))
        validate(output, schema)
        assert output == instance


@every_schema
def test_null_in_optional_fields_counts_as_missing(name: str) -> None:
    schema = schemas()[name]
    required = build(schema, full=False)
    nulls = {key: None for key in schema.get("properties", {}) if key not in required}
    message = v16.decode(message_type(name), json.dumps(required | nulls).encode())
    assert json.loads(v16.encode(message)) == required


@every_field()
def test_field_has_the_type_of_the_schema(name: str, field: Field) -> None:
    assert field.declared.required == field.required
    assert isinstance(field.type, inspect.ListType) == (field.schema["type"] == "array")
    kind = field.element_schema["type"]
    if kind == "object":
        assert isinstance(field.element, inspect.StructType)
        return
    if "enum" in field.element_schema:
        return  # compared value by value below
    accepted = field.plain.types if isinstance(field.plain, inspect.UnionType) else (field.plain,)
    assert isinstance(accepted[0], SCALARS[kind])


@every_field()
def test_field_has_the_length_of_the_schema(name: str, field: Field) -> None:
    extra = field.element.extra if isinstance(field.element, inspect.Metadata) else None
    assert (extra or {}).get("max_length") == field.element_schema.get("maxLength")


@every_field("items")
def test_array_has_the_cardinality_of_the_schema(name: str, field: Field) -> None:
    assert "maxItems" not in field.schema
    assert isinstance(field.type, inspect.ListType)
    tolerated = (name, field.name) in TOLERATED_EMPTY
    assert field.type.min_length == (None if tolerated else field.schema.get("minItems"))


@every_field()
def test_enumeration_has_the_values_of_the_schema(name: str, field: Field) -> None:
    ours: set[str] | None
    if enumeration := PLAIN_TEXT_ENUMERATIONS.get((field.owner, field.name)):
        assert isinstance(field.plain, inspect.StrType)
        ours = {str(value) for value in enumeration} - MISSING_FROM_SCHEMA.get((name, field.name), set())
    elif isinstance(field.plain, inspect.EnumType):
        ours = {value.value for value in field.plain.cls}
    else:
        ours = None
    theirs = field.element_schema.get("enum")
    assert ours == (None if theirs is None else set(theirs))


@every_field()
def test_field_without_which_the_message_is_refused(name: str, field: Field) -> None:
    data = changed(name, field.path)
    if not field.required:
        v16.decode(message_type(name), data)
        return
    with pytest.raises(v16.PayloadError) as caught:
        v16.decode(message_type(name), data)
    assert caught.value.code == "OccurenceConstraintViolation"
    assert caught.value.description == f"{written(field.path)}: Required field is missing"


@every_field()
def test_field_of_a_wrong_type_is_refused(name: str, field: Field) -> None:
    wrong: Any = {"array": {}, "object": [], "string": {}}.get(field.schema["type"], [])
    data = changed(name, field.path, wrong)
    if (field.owner, field.name) in ANY_JSON:
        v16.decode(message_type(name), data)
        return
    with pytest.raises(v16.PayloadError) as caught:
        v16.decode(message_type(name), data)
    assert caught.value.code == "TypeConstraintViolation"
    assert caught.value.description.startswith(f"{written(field.path)}: Expected ")


@every_field("enum")
def test_unknown_value_of_an_enumeration_is_refused(name: str, field: Field) -> None:
    data = changed(name, field.path, "Unheard")
    if (field.owner, field.name) in PLAIN_TEXT_ENUMERATIONS:
        v16.decode(message_type(name), data)
        return
    with pytest.raises(v16.PayloadError) as caught:
        v16.decode(message_type(name), data)
    assert caught.value.code == "PropertyConstraintViolation"
    assert caught.value.description == f"{written(field.path)}: Invalid enum value 'Unheard'"


@every_field("items")
def test_empty_array_is_refused_where_the_schema_refuses_it(name: str, field: Field) -> None:
    data = changed(name, field.path, [])
    if not field.schema.get("minItems") or (name, field.name) in TOLERATED_EMPTY:
        v16.decode(message_type(name), data)
        return
    with pytest.raises(v16.PayloadError) as caught:
        v16.decode(message_type(name), data)
    assert caught.value.code == "OccurenceConstraintViolation"


@every_field("maxLength")
def test_text_one_character_too_long_is_accepted_and_named(name: str, field: Field) -> None:
    above = "x" * (field.element_schema["maxLength"] + 1)
    many = field.schema["type"] == "array"
    data = changed(name, field.path, [above] if many else above)
    message = v16.decode(message_type(name), data)
    assert v16.too_long(message) == [written((*field.path, 0) if many else field.path)]
