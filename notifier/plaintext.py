"""Where a config would send its secrets over plain http to another machine."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from notifier.loopback import is_loopback
from notifier.problem import Problem, Where, spell

_SLACK = "hooks.slack.com"
"""There is nothing at http://, as is told elsewhere."""


class _Exposure(NamedTuple):
    where: Where
    """The key of the URL."""
    what: str
    """The secret that would go there."""


def exposures(data: Mapping[str, Any], names: Mapping[Where, str], unknown: set[Where]) -> Iterator[Problem]:
    """Yield each URL that a secret would go to in the open, unless its table has `insecure_http`."""
    for where, what in _exposures(data):
        if where in unknown:
            continue
        label = names.get(where, spell(where))
        reason = f"is plain http to another machine: {what} could be read on the way"
        if where in names:
            way_out = "in a config file, insecure_http = true"
        else:
            way_out = "if it is meant, insecure_http = true beside it"
        yield Problem(label, f"{reason}; use https:// or, {way_out}")


def _exposures(data: Mapping[str, Any]) -> Iterator[_Exposure]:
    sources, targets, heartbeat = data.get("sources"), data.get("targets"), data.get("heartbeat")
    for number, source in enumerate(sources if isinstance(sources, list) else []):
        if _is_open(source, "base_url"):
            yield _Exposure(("sources", number, "base_url"), "the API key")
    for name, target in (targets if isinstance(targets, dict) else {}).items():
        for key, what in _of_target(target):
            yield _Exposure(("targets", name, key), what)
    if _is_open(heartbeat, "url"):
        yield _Exposure(("heartbeat", "url"), "the URL, which is a secret,")


def _of_target(target: Any) -> Iterator[tuple[str, str]]:
    if _is_open(target, "webhook_url"):
        yield "webhook_url", "the URL, which is a secret,"
    if _is_open(target, "api_url") and "token" in target:
        yield "api_url", "the token"
    if _is_open(target, "url") and (what := _secret_of_webhook(target)):
        yield "url", what


def _secret_of_webhook(target: Mapping[str, Any]) -> str:
    parts = urlsplit(target["url"])
    if target.get("headers"):
        return "what its headers hold"
    if parts.username or parts.password:
        return "its user and password"
    return "what its secret signs" if target.get("secret") else ""


def _is_open(table: Any, key: str) -> bool:
    """Return whether a key of this table is such a URL, and nobody said that this is meant."""
    if not isinstance(table, dict) or table.get("insecure_http") is True:
        return False
    url = table.get(key)
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        host = parts.hostname or ""
    except ValueError:
        return False  # it is no URL at all, which is told elsewhere
    return parts.scheme == "http" and host not in {"", _SLACK} and not is_loopback(host)
