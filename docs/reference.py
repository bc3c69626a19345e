"""Writes docs/configuration.md: every key of the config file, from its JSON Schema.

`make reference` runs it; with --check it writes nothing, and exits with 1 when the page is not up to date.
"""
# ruff: noqa: E501 - a row of a table is a line

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from notifier.schema import json_schema

PAGE = Path(__file__).parent / "configuration.md"

INTRO = """\
# Configuration

<!-- Written by docs/reference.py (make reference): change that, or a key's description in the code. -->

[config/notifier.toml](../config/notifier.toml) is an example to copy, with every key that does something.
`notifier check` prints what a config means, or all that is wrong with it, each problem with its key; nothing starts on
a config with a problem. Editors that know JSON Schema complete and check the file with
[config/notifier.schema.json](../config/notifier.schema.json): the first line of the example leads them to it.

## Which file is read

The first of these that there is:

1. `--config PATH`, before or after the command
2. `$NOTIFIER_CONFIG`
3. `./notifier.toml`
4. `/etc/notifier/notifier.toml`
5. none: then the environment alone configures it, [as below](#without-a-file)

A file named by 1 or 2 has to exist.

## How values are written

The file is [TOML](https://toml.io). A key that is not known, a value of the wrong type and a name that stands for
nothing are errors.

| what | how |
|---|---|
| variables | `"${NAME}"` in any string is the environment variable `NAME`, which has to be set and not empty; `$$` is a dollar sign |
| secrets | in the file, by a variable, or in a file of their own: each secret key `x` has a twin `x_file`, the path of a file that holds it; spaces and line ends around it do not count |
| duration | a string: `"500ms"`, `"15s"`, `"2m"`, `"1h30m"`, `"3d"` |
| size | a string: `"64KiB"`, `"256MiB"`, `"1GB"` |
| glob | a string in which `*` stands for any characters, `?` for one and `[abc]` for one of these; it has to match the whole, and upper and lower case are the same |
| name | 1 to 64 letters, digits, `.`, `_` or `-`, the first a letter or a digit |
| path | relative to the directory that the notifier is started in |

Names are identities: a source that is renamed is a new one, whose first poll is a baseline again.

"Not available yet" marks what a later version brings. Such a key may be left at its default, or at what turns it off;
any other value is an error, so that no key ever does nothing.

## Without a file

The environment alone makes one source and up to three targets. Every target gets every event but `backfill.progress`.
A variable that is empty counts as unset.

| variable | makes |
|---|---|
| `ALLIUM_API_KEY` | the source `allium`; has to be set |
| `ALLIUM_BASE_URL` | its `base_url` |
| `SLACK_BOT_TOKEN` and `SLACK_CHANNEL` | the target `slack`, by its `token` and `channel` |
| `SLACK_WEBHOOK_URL` | the target `slack-webhook`, by its `webhook_url` |
| `WEBHOOK_URL` | the target `webhook`, by its `url` |
| `WEBHOOK_SECRET` | its `secret` |

Each secret can be in a file: `ALLIUM_API_KEY_FILE`, `SLACK_BOT_TOKEN_FILE`, `SLACK_WEBHOOK_URL_FILE`, `WEBHOOK_URL_FILE`,
`WEBHOOK_SECRET_FILE`. Beside a config file none of these variables counts, unless the file names it.

## With or without a file

| variable | takes the place of |
|---|---|
| `NOTIFIER_STATE` | `[store].url` |
| `NOTIFIER_LISTEN` | `[web].listen`; empty turns it off |
| `NOTIFIER_WEB_TOKEN`, `NOTIFIER_WEB_TOKEN_FILE` | `[web].token`, `[web].token_file` |
"""

TABLES = (
    (
        "`[[sources]]`",
        "SourceSettings",
        "At least one; each has a `name` and an API key of its own.",
    ),
    (
        '`[targets.NAME]` with `type = "slack"`',
        "SlackSettings",
        "It takes a `token` and a `channel`, or a `webhook_url`. [slack.md](slack.md) sets one up in five minutes.",
    ),
    (
        '`[targets.NAME]` with `type = "webhook"`',
        "WebhookSettings",
        "The requests are those of [Standard Webhooks](https://www.standardwebhooks.com).",
    ),
    (
        "`[[sources.jobs]]`",
        "JobRules",
        "A job has to match each of `tables` and `names` that is there; keys that are not there are those of the source.",
    ),
    (
        "`quiet` of a target",
        "QuietSettings",
        (
            "Held is not lost: nothing is dropped, and being held does not count towards `give_up_after`. A card in "
            "Slack is edited also then: that notifies nobody. `retry`, `test` and `preview` know no quiet hours."
        ),
    ),
    (
        "`[[routes]]`",
        "RouteSettings",
        (
            "Without any route every target gets every event but `backfill.progress`. With routes only what they "
            "say: a route matches an event when each of its keys does, a key when any of its globs does. "
            "`notifier explain` says which routes match and why, `notifier check` what nobody would hear of."
        ),
    ),
    ("`[delivery]`", "DeliverySettings", "A `Retry-After` of the receiver is waited for in full."),
    ("`[store]`", "StoreSettings", "`notifier check` prints the absolute path."),
    ("`[web]`", "WebSettings", ""),
    (
        "`[heartbeat]`",
        "HeartbeatSettings",
        (
            "An answer of 2xx is good, and redirects are not followed. A source that fails, or is not polled, means "
            "silence. With `signals` a source whose polls have failed for its `down_after` is told once, and "
            "`notifier once` tells how its polls ended."
        ),
    ),
    ("`[log]`", "LogSettings", ""),
)


def page() -> str:
    """Return docs/configuration.md."""
    tables: dict[str, Any] = json_schema()["$defs"]
    return INTRO + "".join(f"\n{line}\n" for line in _sections(tables))


def _sections(tables: dict[str, Any]) -> Iterator[str]:
    for heading, name, text in TABLES:
        table = tables[name]
        yield f"## {heading}"
        yield f"{table['description']} {text}".strip()
        rows = [
            f"| `{key}` | {_kind(key, value)} | {_default(key, value, table)} | {_meaning(value)} |"
            for key, value in table["properties"].items()
        ]
        yield "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *rows])


def _kind(key: str, value: dict[str, Any]) -> str:
    if key.endswith("_file"):
        return "path"
    return " or ".join(dict.fromkeys(_words(value)))


def _words(value: dict[str, Any]) -> Iterator[str]:
    choices = value.get("anyOf", [value])
    titled = [choice for choice in choices if "title" in choice]
    for choice in titled or choices:
        if "anyOf" in choice:
            yield from _words(choice)
        elif choice.get("pattern") == r"\$\{":
            continue  # that a variable may stand there holds for every string
        elif "$ref" in choice:
            yield "table"
        elif "enum" in choice or "const" in choice:
            yield ", ".join(f"`{_toml(each)}`" for each in choice.get("enum", [choice.get("const")]))
        elif choice.get("type") == "array" and "$ref" in choice["items"]:
            yield "list of tables"
        elif choice["type"] == "array":
            (item, *_) = _words(_most_telling(choice["items"]))
            yield f"list of {item}s"
        else:
            plain = {"integer": "number", "object": "table"}.get(choice["type"], choice["type"])
            yield choice.get("title", plain)


def _most_telling(items: dict[str, Any]) -> dict[str, Any]:
    """Return what items are in one word; the known types of events are examples of globs."""
    nested = [choice for choice in items.get("anyOf", []) if "anyOf" in choice]
    return nested[0] if nested else items


def _default(key: str, value: dict[str, Any], table: dict[str, Any]) -> str:
    if "default" in value:
        return f"`{_toml(value['default'])}`"
    if key in table.get("required", []):
        return "**required**"
    ways = [way["required"] for each in table.get("allOf", []) for way in each["oneOf"]]
    return f"**required**, or `{key}_file`" if [key] in ways and not key.endswith("_file") else ""


def _meaning(value: dict[str, Any]) -> str:
    text = re.sub(r'"[^"]*"', lambda quoted: f"`{quoted[0]}`", value["description"]).replace("|", r"\|")
    return re.sub("^Not available yet:", "*Not available yet:*", text)


def _toml(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def main() -> None:
    """Write the page, or with --check say whether it is up to date."""
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit(f"usage: {sys.argv[0]} [--check]")
    text = page()
    if not sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        sys.exit(f"{PAGE.name} is not up to date; write it with: make reference")


if __name__ == "__main__":
    main()
