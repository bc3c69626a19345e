"""Secrets that are kept in files: each secret key `x` has a twin `x_file`."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from notifier.problem import Problem, Where, os_words, spell

_SECRETS = {
    "sources": ("api_key",),
    "slack": ("token", "webhook_url"),
    "webhook": ("url", "secret"),
    "web": ("token",),
    "heartbeat": ("url",),
}
"""The keys that have twins, by table or kind of target."""


def fill_from_files(
    data: Mapping[str, Any], names: Mapping[Where, str], problems: list[Problem], unknown: set[Where]
) -> None:
    """Put the content of each `x_file` in the place of the secret key `x`."""
    for where, section in tables_with_files(data):
        kind = section.get("type") if where[0] == "targets" else where[0]
        for key in _SECRETS.get(kind, ()) if isinstance(kind, str) else ():
            file = section.get(f"{key}_file")
            if not isinstance(file, str) or (*where, f"{key}_file") in unknown:
                unknown.update([(*where, key)] if f"{key}_file" in section else [])
                continue
            label = names.get((*where, f"{key}_file"), spell((*where, f"{key}_file")))
            if key in section:
                problems.append(
                    Problem(label, f"is set beside {names.get((*where, key), key)}; keep one of them")
                )
                continue
            unknown.add((*where, key))
            try:
                content = Path(file).read_text(encoding="utf-8").strip()
            except OSError as error:
                problems.append(Problem(label, f"{_name_of(file)} cannot be read: {os_words(error)}"))
            except UnicodeDecodeError:
                problems.append(Problem(label, f"{file} is not UTF-8 text"))
            else:
                if content:
                    section[key] = content
                    unknown.discard((*where, key))
                else:
                    problems.append(Problem(label, f"{file} is empty{_of_service(file)}"))


def _of_service(file: str) -> str:
    """Return what an empty file means that systemd made of a credential (systemd.exec(5))."""
    name = Path(file).name
    is_credential = file.startswith("/run/credentials/")
    return (
        f": the service was given no credential {name}; put it where its unit loads it from"
        if is_credential
        else ""
    )


def _name_of(file: str) -> str:
    """Return the path for a message, unless it may be the secret itself, written where its file belongs.

    Unlike `Path.is_dir`, `os.path.isdir` never raises, whatever the text.
    """
    directory = Path(file).parent
    return file if directory != Path() and os.path.isdir(directory) else "the file it names"  # noqa: PTH112


def tables_with_files(data: Mapping[str, Any]) -> Iterator[tuple[Where, dict[str, Any]]]:
    """Yield each table in which keys name files, with the way to it."""
    sources, targets = data.get("sources"), data.get("targets")
    for number, source in enumerate(sources if isinstance(sources, list) else []):
        if isinstance(source, dict):
            yield ("sources", number), source
    for name, target in (targets if isinstance(targets, dict) else {}).items():
        if isinstance(target, dict):
            yield ("targets", name), target
    for name in ("web", "heartbeat"):
        if isinstance(data.get(name), dict):
            yield (name,), data[name]
