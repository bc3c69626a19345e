"""What is wrong with a config, in words that say where and what to do."""

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pydantic_core import ErrorDetails

from notifier.fields import Section
from notifier.heartbeat import HeartbeatSettings
from notifier.quiet import QuietSettings
from notifier.route import RouteSettings
from notifier.rules import JobRules
from notifier.settings import DeliverySettings, LogSettings, Settings, StoreSettings, WebSettings
from notifier.source import SourceSettings
from notifier.targets.slack.settings import SlackSettings
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
    "routes": RouteSettings,
    "delivery": DeliverySettings,
    "store": StoreSettings,
    "web": WebSettings,
    "heartbeat": HeartbeatSettings,
    "log": LogSettings,
}

_TARGETS: dict[str, type[Section]] = {"slack": SlackSettings, "webhook": WebhookSettings}

_MEANT = {
    ("slack", "url"): "webhook_url",
    ("slack", "url_file"): "webhook_url_file",
    ("routes", "target"): "to",
    ("routes", "targets"): "to",
}
"""Keys that people write, where looking for the nearest one would find another."""

_TYPES = {
    "string_type": "must be a string in quotes",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "list_type": "must be a list in brackets",
    "too_short": "must name at least one",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "is_instance_of": "has the wrong type",
}
_HINTS = {
    "api_key": "; set api_key or api_key_file",
    "url": "; set url or url_file",
    "to": "; name at least one target",
}
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def spell(where: Where) -> str:
    """Return a key path as the file would write it: `sources[0].poll_every`, `mentions."source.down"`."""
    text = ""
    for step in where:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            key = step if _BARE_KEY.fullmatch(step) else json.dumps(step, ensure_ascii=False)
            text += f".{key}" if text else key
    return text


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint when one of the known words is near, else nothing; case is ignored."""
    words = {each.casefold(): each for each in known}
    near = difflib.get_close_matches(word.casefold(), words, n=1)
    return f'; did you mean "{words[near[0]]}"?' if near else ""


def in_words(detail: ErrorDetails, where: Where, names: Mapping[Where, str], target: str) -> str:
    """Return what pydantic found wrong at a key path.

    `names` are the variables that stand for keys, `target` is the kind of target, if it is about one.
    """
    kind = detail["type"]
    said = _TYPES.get(kind, detail["msg"])
    if kind == "missing" or (kind == "too_short" and where == ("sources",)):
        said = _missing(where, names)
    elif kind == "extra_forbidden":
        said = "unknown key" + _suggestion(where, target)
    elif kind == "literal_error":
        said = f"must be one of {detail['ctx']['expected']}".replace("'", '"')
    elif kind == "list_type" and where in {("sources",), ("routes",)}:
        said = f"must be written [[{where[0]}]], in two brackets"
    elif said == "must be a table" and where[2:] == ("quiet",):
        said = 'must be a table, such as { from = "22:00", to = "07:00" }'
    elif said == "must be a table" and len(where) <= 2 and isinstance(where[-1], str):
        table = "targets.NAME" if where == ("targets",) else spell(where)
        said = f"must be a table, written [{table}] in single brackets"
    return said


def _missing(where: Where, names: Mapping[Where, str]) -> str:
    if where == ("sources",):
        return "there is no [[sources]]; add one with an api_key"
    if _is_in_quiet(where):
        return 'is missing; write it like "22:00"'
    if where in names:
        return f"is not set; set it, or {names[where]}_FILE"
    return "is missing" + _HINTS.get(str(where[-1]), "")


def _suggestion(where: Where, target: str) -> str:
    table, key = target or str(where[0]), str(where[-1])
    if _is_in_quiet(where):
        return did_you_mean(key, (field.alias or name for name, field in QuietSettings.model_fields.items()))
    if (table, key) in _MEANT:
        return f'; did you mean "{_MEANT[table, key]}"?'
    for kind, section in _TARGETS.items():
        if target and kind != target and key in section.model_fields:
            return f'; it belongs to targets of type "{kind}"'
    if where[0] == "sources" and where[2:3] == ("jobs",):
        if key in SourceSettings.model_fields and key not in JobRules.model_fields:
            return "; it belongs to the source"
        return did_you_mean(key, JobRules.model_fields)
    section = Settings if len(where) == 1 else (_SECTIONS | _TARGETS)[table]
    return did_you_mean(key, section.model_fields)


def _is_in_quiet(where: Where) -> bool:
    return where[0] == "targets" and where[2:3] == ("quiet",) and len(where) > 3


def os_words(error: OSError) -> str:
    """Return why a file cannot be used."""
    return (error.strerror or str(error)).lower()
