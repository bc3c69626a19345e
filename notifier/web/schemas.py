"""JSON Schemas of what is asked and answered, made from the very structs that read and write it."""

import ast
import inspect
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from textwrap import dedent
from typing import Any, get_origin

import msgspec
from msgspec import inspect as shapes

_REFERENCE = "#/components/schemas/{name}"
_PAGE = re.compile(r"Page_(\w+?)Item_")


def reference(type_: Any) -> dict[str, str]:
    """Return what refers to a struct's schema."""
    ((schema,), _) = msgspec.json.schema_components([type_], ref_template=_REFERENCE)
    return {"$ref": _named(schema["$ref"])}


def schemas(types: Sequence[Any]) -> dict[str, Any]:
    """Return the schemas of these structs, and of all in them, by name; described as in the code."""
    _, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    for shape in {shape.cls: shape for each in types for shape in _structs(shapes.type_info(each))}.values():
        schema = components[_name(shape.cls)]
        schema["description"] = " ".join(schema["description"].split())
        del schema["title"]
        words = _words(get_origin(shape.cls) or shape.cls)
        for field in shape.fields:
            _describe(schema["properties"], field, words.get(field.name))
    found: dict[str, Any] = msgspec.json.decode(_named(msgspec.json.encode(components).decode()))
    return found


def _describe(properties: dict[str, Any], field: shapes.Field, words: str | None) -> None:
    schema = properties[field.encode_name]
    if schema.get("default", "") is None:
        del schema["default"]
    for each in schema.get("anyOf", [schema]):
        if each.get("type") == "string" and _is_time(field.type):
            each["format"] = "date-time"
    if words is not None:
        schema["description"] = words


def _is_time(type_: shapes.Type) -> bool:
    parts = type_.types if isinstance(type_, shapes.UnionType) else (type_,)
    return any(isinstance(part, shapes.DateTimeType) for part in parts)


def _structs(type_: shapes.Type) -> Iterator[shapes.StructType]:
    """Yield all structs in a type."""
    if isinstance(type_, shapes.StructType):
        yield type_
        for field in type_.fields:
            yield from _structs(field.type)
    elif isinstance(type_, shapes.UnionType):
        for each in type_.types:
            yield from _structs(each)
    elif isinstance(type_, shapes.ListType | shapes.VarTupleType):
        yield from _structs(type_.item_type)


def _words(struct: type) -> dict[str, str]:
    """Return what stands below each field of a struct, by the field's name."""
    [definition] = ast.parse(dedent(inspect.getsource(struct))).body
    lines = definition.body if isinstance(definition, ast.ClassDef) else []
    return {
        field.target.id: " ".join(below.value.value.split())
        for field, below in pairwise(lines)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
        if isinstance(below.value.value, str)
    }


def _name(struct: Any) -> str:
    (schema,), _ = msgspec.json.schema_components([struct], ref_template="{name}")
    name: str = schema["$ref"]
    return name


def _named(text: str) -> str:
    """Return a text in which pages are named by what is on them."""
    return _PAGE.sub(r"\1Page", text)
