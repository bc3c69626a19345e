"""The environment: a config of its own, overrides, and `${NAME}` in a file's strings."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from notifier.problem import Problem, Where, spell


class _Variable(NamedTuple):
    name: str
    where: Where


class _Override(NamedTuple):
    name: str
    section: str
    key: str


_SOURCE_VARIABLES = (
    _Variable("ALLIUM_API_KEY", ("sources", 0, "api_key")),
    _Variable("ALLIUM_API_KEY_FILE", ("sources", 0, "api_key_file")),
    _Variable("ALLIUM_BASE_URL", ("sources", 0, "base_url")),
)
_TARGETS = {
    "slack": ("slack", {"SLACK_BOT_TOKEN": "token", "SLACK_CHANNEL": "channel"}),
    "slack-webhook": ("slack", {"SLACK_WEBHOOK_URL": "webhook_url"}),
    "webhook": ("webhook", {"WEBHOOK_URL": "url", "WEBHOOK_SECRET": "secret"}),
}
"""By name: the kind of target, and the keys that variables stand for; those of secrets also as …_FILE."""
_OVERRIDES = (
    _Override("NOTIFIER_STATE", "store", "url"),
    _Override("NOTIFIER_LISTEN", "web", "listen"),
    _Override("NOTIFIER_WEB_TOKEN", "web", "token"),
    _Override("NOTIFIER_WEB_TOKEN_FILE", "web", "token_file"),
)


def from_environment(environment: Mapping[str, str]) -> tuple[dict[str, Any], dict[Where, str]]:
    """Return the config that the environment alone makes, and the variable behind each key path."""
    data: dict[str, Any] = {"sources": [{}]}
    names: dict[Where, str] = {("sources", 0, "api_key"): "ALLIUM_API_KEY"}
    for name, where in _SOURCE_VARIABLES:
        if name in environment:
            _put(data, where, environment[name])
            names[where] = name
    for target, (kind, variables) in _TARGETS.items():
        found = {
            key + suffix.lower(): name + suffix
            for name, key in variables.items()
            for suffix in ("", "_FILE")
            if name + suffix in environment and not (key == "channel" and suffix)
        }
        if found:
            names.update({("targets", target, key): name for name, key in variables.items()})
            names.update({("targets", target, key): name for key, name in found.items()})
            values = {key: environment[name] for key, name in found.items()}
            data.setdefault("targets", {})[target] = {"type": kind, **values}
    return data, names


def override(data: dict[str, Any], names: dict[Where, str], environment: Mapping[str, str]) -> None:
    """Put the variables that count with or without a file into the config."""
    for name, section, key in _OVERRIDES:
        if name in environment and isinstance(data.setdefault(section, {}), dict):
            data[section][key] = environment[name]
            names[section, key] = name


def check_text(
    names: Mapping[Where, str], environment: Mapping[str, str], problems: list[Problem], unknown: set[Where]
) -> None:
    """Note each variable in force that is not UTF-8: nothing could print it."""
    for where, name in names.items():
        if name in environment and not _is_text(environment[name]):
            unknown.add(where)
            problems.append(Problem(name, "is not UTF-8 text"))


def _is_text(value: str) -> bool:
    """Return whether a value is none with odd bytes, which Python has as lone surrogates."""
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def _put(data: Any, where: Where, value: Any) -> None:
    for step in where[:-1]:
        data = data[step] if isinstance(step, int) else data.setdefault(step, {})
    data[where[-1]] = value


_VARIABLE = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)\}|(?P<bad>\{))")


def interpolated(
    value: Any, where: Where, environment: Mapping[str, str], problems: list[Problem], unknown: set[Where]
) -> Any:
    """Return the value with `${NAME}` in its strings replaced; what cannot be is noted in `unknown`."""
    if isinstance(value, dict):
        return {k: interpolated(v, (*where, k), environment, problems, unknown) for k, v in value.items()}
    if isinstance(value, list):
        return [interpolated(v, (*where, i), environment, problems, unknown) for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value
    if "\0" in value:  # no path can have one: to open it would be a ValueError
        unknown.add(where)
        problems.append(Problem(spell(where), "has a NUL character in it"))
        return ""

    def replaced(match: re.Match[str]) -> str:
        if match["dollar"]:
            return "$"
        if match["bad"]:
            unknown.add(where)
            problems.append(
                Problem(spell(where), "has ${ without a variable's name and }; write $${ for a plain ${")
            )
        elif match["name"] in environment:
            if _is_text(environment[match["name"]]):
                return environment[match["name"]]
            unknown.add(where)
            problems.append(
                Problem(spell(where), f"the environment variable {match['name']} is not UTF-8 text")
            )
        else:
            unknown.add(where)
            problems.append(Problem(spell(where), f"the environment variable {match['name']} is not set"))
        return ""

    return _VARIABLE.sub(replaced, value)
