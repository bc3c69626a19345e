"""Keys of the config whose part is not built yet: an option never does nothing."""

from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

NOT_YET = "x-not-available-yet"
"""Stands in the JSON Schema of a key that does nothing yet, for `notifier.schema` to put into words."""


class NotYet:
    """Marks a key of a part that is not built yet: only its default, or what turns it off, is accepted."""

    def __init__(self, *accepted: Any) -> None:
        self.accepted = accepted

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return how the value is checked: as it is without this, and then here."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Return the schema of the value, marked."""
        return handler(schema) | {NOT_YET: True}

    def _check(self, value: Any) -> Any:
        if value not in self.accepted:
            raise PydanticCustomError("not_available", "not available yet; leave it at its default")
        return value


def later(*accepted: Any) -> NotYet:
    """Return the mark of a key that does nothing yet, which takes these values alone."""
    return NotYet(*accepted)
