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
_WEBHOOK_VARIABLES = (
    _Variable("WEBHOOK_URL", ("targets", "webhook", "url")),
    _Variable("WEBHOOK_URL_FILE", ("targets", "webhook", "url_file")),
    _Variable("WEBHOOK_SECRET", ("targets", "webhook", "secret")),
    _Variable("WEBHOOK_SECRET_FILE", ("targets", "webhook", "secret_file")),
)
_OVERRIDES = (
    _Override("NOTIFIER_STATE", "store", "url"),
    _Override("NOTIFIER_LISTEN", "web", "listen"),
    _Override("NOTIFIER_WEB_TOKEN", "web", "token"),
    _Override("NOTIFIER_WEB_TOKEN_FILE", "web", "token_file"),
)
_NOT_YET_VARIABLES = tuple(
    name + suffix
    for name in ("SLACK_BOT_TOKEN", "SLACK_WEBHOOK_URL", "SLACK_CHANNEL")
    for suffix in ("", "_FILE")
)


def from_environment(
    environment: Mapping[str, str], problems: list[Problem]
) -> tuple[dict[str, Any], dict[Where, str]]:
    """Return the config that the environment alone makes, and the variable behind each key path."""
    data: dict[str, Any] = {"sources": [{}]}
    names: dict[Where, str] = {("sources", 0, "api_key"): "ALLIUM_API_KEY"}
    for name, where in _SOURCE_VARIABLES:
        if name in environment:
            _put(data, where, environment[name])
            names[where] = name
    if any(name in environment for name, _ in _WEBHOOK_VARIABLES):
        data["targets"] = {"webhook": {"type": "webhook"}}
        names["targets", "webhook", "url"] = "WEBHOOK_URL"
        for name, where in _WEBHOOK_VARIABLES:
            if name in environment:
                _put(data, where, environment[name])
                names[where] = name
    problems.extend(
        Problem(name, "Slack is not available yet; unset it")
        for name in _NOT_YET_VARIABLES
        if name in environment
    )
    return data, names


def override(data: dict[str, Any], names: dict[Where, str], environment: Mapping[str, str]) -> None:
    """Put the variables that count with or without a file into the config."""
    for name, section, key in _OVERRIDES:
        if name in environment and isinstance(data.setdefault(section, {}), dict):
            data[section][key] = environment[name]
            names[section, key] = name


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
            return environment[match["name"]]
        else:
            unknown.add(where)
            problems.append(Problem(spell(where), f"the environment variable {match['name']} is not set"))
        return ""

    return _VARIABLE.sub(replaced, value)
