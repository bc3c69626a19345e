"""Whom Slack messages mention, by type of event."""

import difflib
import re
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from notifier.fields import wrong
from notifier.glob import matches
from notifier.model import ALL_TYPES

_MENTION = re.compile(r"<(?:@[UW][A-Z0-9]+|!subteam\^S[A-Z0-9]+|!here|!channel|!everyone)(?:\|[^<>]*)?>")
_LONGEST = 500


def _mentions(value: Any) -> Any:
    if not isinstance(value, dict):
        raise wrong('must be a table, such as { "backfill.failed" = "<!here>" }')
    if any(isinstance(text, dict) for text in value.values()):
        raise wrong('needs the types of events in quotes, as in "backfill.failed" = "<!here>"')
    return value


def known_type(value: str) -> str:
    """Return a glob that matches some type of event. Raises a validation error for any other."""
    if value.casefold().startswith("backfill.") or any(matches(value, type_) for type_ in ALL_TYPES):
        return value  # what follows backfill. may be a status that nobody knows yet
    near = difflib.get_close_matches(value.casefold(), ALL_TYPES, n=1, cutoff=0.5)
    raise wrong(
        "is no type of event; " + (f'did you mean "{near[0]}"?' if near else 'one is "backfill.failed"')
    )


def _mention(value: Any) -> Any:
    if not isinstance(value, str):
        raise wrong('must be one string in quotes, such as "<@U0123456789> <!here>"')
    if not _is_line(value):
        raise wrong(f"must be one line of 1 to {_LONGEST} characters")
    return value


def _is_line(text: str) -> bool:
    return bool(text.strip()) and len(text) <= _LONGEST and text.isprintable()


_SCHEMA = WithJsonSchema(
    {
        "type": "object",
        "propertyNames": {"anyOf": [{"enum": list(ALL_TYPES)}, {"pattern": r"^[Bb]ackfill\.|[*?\[]"}]},
        "additionalProperties": {"type": "string", "minLength": 1},
    }
)
Mentions = Annotated[
    dict[Annotated[str, AfterValidator(known_type)], Annotated[str, BeforeValidator(_mention)]],
    BeforeValidator(_mentions),
    _SCHEMA,
]


def mentions_of_nobody(mentions: Any) -> Iterator[tuple[str, str]]:
    """Yield the key path of each text that Slack would only print, and what to do."""
    for type_, text in (mentions if isinstance(mentions, dict) else {}).items():
        if isinstance(text, str) and _is_line(text) and not _MENTION.search(text):
            yield (
                f"mentions.{type_}",
                "mentions nobody in Slack; write <@U…> for a person, <!subteam^S…> for a group, or <!here>",
            )
