"""The JSON Schema of the config file, for editors."""

from datetime import timedelta
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from notifier.duration import format_duration
from notifier.fields import Bytes, format_size
from notifier.later import NOT_YET
from notifier.settings import Settings

_VARIABLE = {"type": "string", "pattern": r"\$\{", "description": "${NAME} is the environment variable NAME."}
_NARROWING = frozenset({"enum", "const", "pattern", "minLength"})


def json_schema() -> dict[str, Any]:
    """Return the schema, draft 2020-12; `${NAME}` is accepted wherever a string is."""
    schema = Settings.model_json_schema(schema_generator=_Generator)
    for section in (schema, *schema["$defs"].values()):
        del section["title"]  # the name of a class
        _accept_files(section)
    accepting: dict[str, Any] = _accept_variables(_tidied(schema))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | accepting


class _Generator(GenerateJsonSchema):
    """Writes defaults as the file does, and no titles: they only repeat the keys."""

    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, timedelta):
            return format_duration(dft)
        if isinstance(dft, Bytes):
            return format_size(dft)
        return super().encode_default(dft)

    def get_default_value(self, schema: Any) -> Any:
        made = schema["default_factory"]() if "default_factory" in schema else None
        return made if isinstance(made, list | dict) else super().get_default_value(schema)

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - the name is pydantic's
        return False


def _tidied(node: Any) -> Any:
    """Return the schema without null, which TOML does not have, and without pydantic's `discriminator`.

    What does nothing yet says so, and descriptions are one line.
    """
    if isinstance(node, list):
        return [_tidied(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {k: v for k, v in node.items() if k != "discriminator" and not (k == "default" and v is None)}
    if "discriminator" in node:
        kept["anyOf"] = kept.pop("oneOf")  # with `type = "${…}"` it may be any of them
    if {"type": "null"} in kept.get("anyOf", ()):
        some = [choice for choice in kept.pop("anyOf") if choice != {"type": "null"}]
        kept |= some[0] if len(some) == 1 else {"anyOf": some}
    if "patternProperties" in kept:
        kept["additionalProperties"] = False
    if isinstance(told := kept.get("description"), str):
        told = " ".join(told.split())
        later = kept.pop(NOT_YET, False)
        kept["description"] = f"Not available yet: {told[0].lower()}{told[1:]}" if later else told
    return {key: _tidied(value) for key, value in kept.items()}


def _accept_files(section: JsonSchemaValue) -> None:
    """Let a required secret `x` be given by its twin `x_file`."""
    twins = [key for key in section.get("required", []) if f"{key}_file" in section["properties"]]
    for key in twins:
        section["required"].remove(key)
        section.setdefault("allOf", []).append(
            {"oneOf": [{"required": [key]}, {"required": [f"{key}_file"]}]}
        )


def _accept_variables(node: Any) -> Any:
    if isinstance(node, list):
        return [_accept_variables(item) for item in node]
    if not isinstance(node, dict):
        return node
    if node.get("type") == "string" and _NARROWING & node.keys():
        told = {key: node[key] for key in ("default", "description") if key in node}
        rest = {key: value for key, value in node.items() if key not in told}
        return told | {"anyOf": [rest, _VARIABLE]}
    return {key: _accept_variables(value) for key, value in node.items()}
