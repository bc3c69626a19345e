"""The JSON Schema of the config file, for editors."""

from datetime import timedelta
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from notifier.duration import format_duration
from notifier.fields import Bytes, format_size
from notifier.settings import Settings

_VARIABLE = {"type": "string", "pattern": r"\$\{", "description": "${NAME} is the environment variable NAME."}
_NARROWING = frozenset({"enum", "const", "pattern", "minLength"})


def json_schema() -> dict[str, Any]:
    """Return the schema, draft 2020-12; `${NAME}` is accepted wherever a string is."""
    schema = Settings.model_json_schema(schema_generator=_Generator)
    for section in (schema, *schema["$defs"].values()):
        _accept_files(section)
    accepting: dict[str, Any] = _accept_variables(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | accepting


class _Generator(GenerateJsonSchema):
    """Writes defaults as the file does, and no titles: they only repeat the keys."""

    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, timedelta):
            return format_duration(dft)
        if isinstance(dft, Bytes):
            return format_size(dft)
        return super().encode_default(dft)

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - the name is pydantic's
        return False


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
