"""What a line of the log is about, beside its text: fields that machines can search by."""

from typing import Any


def tags(**fields: Any) -> dict[str, dict[str, Any]]:
    """Return what a logging call takes as `extra`; fields without a value are left out."""
    return {"tags": {name: value for name, value in fields.items() if value is not None}}
