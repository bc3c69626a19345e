"""Where the keys of a config do not go together: names used twice, references to nothing, keys that clash."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from notifier.address import parse_listen
from notifier.plaintext import exposures
from notifier.problem import Problem, Where, did_you_mean, spell
from notifier.settings import DEFAULT_LISTEN
from notifier.targets.slack.address import is_slack_hook
from notifier.targets.slack.settings import slack_faults

_KINDS = ("slack", "webhook")
_LATER = ("apprise",)
_EXAMPLE_TOKEN = "change-me"  # noqa: S105 - it is refused
_WORD = re.compile(r"[A-Za-z_-]{1,20}")


def check_coherence(
    data: Mapping[str, Any], names: Mapping[Where, str], problems: list[Problem], unknown: set[Where]
) -> None:
    """Note what is wrong in `problems`, and in `unknown` the values about which nothing more can be said."""
    _check_sources(data, problems)
    targets = data.get("targets")
    for name, target in (targets if isinstance(targets, dict) else {}).items():
        if isinstance(target, dict):
            _check_target(name, target, names, problems, unknown)
    problems.extend(_lost_references(data, unknown))
    problems.extend(_unguarded(data, names, unknown))
    problems.extend(exposures(data, names, unknown))


def _unguarded(data: Mapping[str, Any], names: Mapping[Where, str], unknown: set[Where]) -> Iterator[Problem]:
    web = data.get("web")
    if isinstance(web, dict) and web.get("token") == _EXAMPLE_TOKEN:
        yield Problem(
            names.get(("web", "token"), "web.token"),
            "is the one of the example, which everybody knows; make one with: openssl rand -base64 32",
        )
    if not isinstance(web, dict) or web.get("token") or {("web", "token"), ("web", "listen")} & unknown:
        return
    try:
        address = parse_listen(web.get("listen") or DEFAULT_LISTEN)
    except (ValueError, AttributeError):
        return  # it is no address, which is told elsewhere
    if not address.is_private:
        yield Problem(
            names.get(("web", "listen"), "web.listen"),
            "is reached from other machines, so it needs a token: set token (or token_file, or the variable "
            f'NOTIFIER_WEB_TOKEN), or listen on "{DEFAULT_LISTEN}"',
        )


def _check_sources(data: Mapping[str, Any], problems: list[Problem]) -> None:
    sources = data.get("sources")
    seen: dict[str, int] = {}
    for number, source in enumerate(sources if isinstance(sources, list) else []):
        name = source.get("name", "allium") if isinstance(source, dict) else None
        if not isinstance(name, str):
            continue
        if name in seen:
            where = spell(("sources", number, "name"))
            problems.append(
                Problem(where, f'"{name}" is also the name of sources[{seen[name]}]; names are unique')
            )
        seen.setdefault(name, number)


def _check_target(
    name: str,
    target: dict[str, Any],
    names: Mapping[Where, str],
    problems: list[Problem],
    unknown: set[Where],
) -> None:
    kind = target.get("type")
    where: Where = ("targets", name, "type")
    if any(known[:3] == where for known in unknown):
        unknown.add(where[:2])
    elif kind in _KINDS:
        for key, message in (slack_faults if kind == "slack" else _webhook_faults)(target):
            at: Where = ("targets", name, *key.split(".", 1))
            if at in unknown:
                continue
            if at in names and key == "token":  # only the environment has a channel and no token
                channel = names[*at[:2], "channel"]
                problems.append(
                    Problem(names[at], f"is not set; set it, or {names[at]}_FILE, or unset {channel}")
                )
            else:
                problems.append(Problem(names.get(at, spell(at)), message))
    else:
        unknown.add(where[:2])
        if kind is None:
            message = 'is missing; set "slack" or "webhook"'
        elif not isinstance(kind, str):
            message = "must be a string in quotes"
        elif kind in _LATER:
            message = f'"{kind}" is not available yet; "slack" and "webhook" are'
        else:
            shown = f'"{kind}" is' if _WORD.fullmatch(kind) else "is"  # no secret that went astray
            message = f'{shown} no kind of target; use "slack" or "webhook"'
        problems.append(Problem(spell(where), message))


def _webhook_faults(table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if is_slack_hook(table.get("url")):
        yield (
            "url",
            (
                "is an incoming webhook of Slack, which does not take events as they are: "
                'make it type = "slack" with this as webhook_url (the variable SLACK_WEBHOOK_URL)'
            ),
        )


def _lost_references(data: Mapping[str, Any], unknown: set[Where]) -> Iterator[Problem]:
    routes, targets = data.get("routes"), data.get("targets", {})
    if not isinstance(targets, dict):
        return
    known = list(targets)
    for number, route in enumerate(routes if isinstance(routes, list) else []):
        to = route.get("to") if isinstance(route, dict) else None
        for place, name in enumerate(to if isinstance(to, list) else []):
            at: Where = ("routes", number, "to", place)
            if isinstance(name, str) and name not in known and at not in unknown:
                yield Problem(spell(at), f'there is no target "{name}"' + did_you_mean(name, known))
