"""What is wrong with a config, in words that say where and what to do."""

import difflib
from collections.abc import Mapping
from typing import NamedTuple

from pydantic_core import ErrorDetails

from notifier.fields import Section
from notifier.settings import DeliverySettings, LogSettings, Settings, StoreSettings, WebSettings
from notifier.source import SourceSettings
from notifier.targets.webhook import WebhookSettings

Where = tuple[str | int, ...]
"""The way to a value: keys and list positions."""


class Problem(NamedTuple):
    """Something that is wrong with the config."""

    where: str
    """A key path such as `sources[0].poll_every`, or the name of an environment variable."""
    message: str


class ConfigError(Exception):
    """The config cannot be used; nothing may start on it. `origin` names the file or the environment."""

    def __init__(self, origin: str, problems: list[Problem]) -> None:
        super().__init__("; ".join(f"{p.where}: {p.message}" for p in problems))
        self.origin = origin
        self.problems = problems


_SECTIONS: dict[str, type[Section]] = {
    "sources": SourceSettings,
    "targets": WebhookSettings,
    "delivery": DeliverySettings,
    "store": StoreSettings,
    "web": WebSettings,
    "log": LogSettings,
}

_TYPES = {
    "string_type": "must be a string in quotes",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "list_type": "must be a list in brackets",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "is_instance_of": "has the wrong type",
}


def spell(where: Where) -> str:
    """Return a key path as the documentation writes it: `sources[0].poll_every`."""
    text = ""
    for step in where:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def in_words(detail: ErrorDetails, where: Where, names: Mapping[Where, str]) -> str:  # noqa: PLR0911
    """Return what pydantic found wrong at a key path; `names` are the variables that stand for keys."""
    kind = detail["type"]
    if kind == "missing":
        if where == ("sources",):
            return "there is no [[sources]]; add one with an api_key"
        if where in names:
            return f"is not set; set it, or {names[where]}_FILE"
        key = where[-1]
        return f"is missing; set {key} or {key}_file" if key in ("api_key", "url") else "is missing"
    if kind == "extra_forbidden":
        return "unknown key" + _suggestion(where)
    if kind == "too_short" and where == ("sources",):
        return "there is no [[sources]]; add one with an api_key"
    if kind == "literal_error":
        return f"must be one of {detail['ctx']['expected']}".replace("'", '"')
    if kind == "list_type" and where in {("sources",), ("routes",)}:
        return f"must be written [[{where[0]}]], in two brackets"
    return _TYPES.get(kind, detail["msg"])


def _suggestion(where: Where) -> str:
    section: type[Section] | None = Settings if len(where) == 1 else _SECTIONS.get(str(where[0]))
    if section is None:
        return ""
    near = difflib.get_close_matches(str(where[-1]), section.model_fields, n=1)
    return f'; did you mean "{near[0]}"?' if near else ""


def os_words(error: OSError) -> str:
    """Return why a file cannot be used."""
    return (error.strerror or str(error)).lower()
