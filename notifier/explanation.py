"""What a config means, in words for people."""

from collections.abc import Iterator
from pathlib import Path

from notifier.config import Config
from notifier.duration import format_duration
from notifier.fields import origin
from notifier.problem import os_words
from notifier.source import SourceSettings
from notifier.targets.webhook import WebhookSettings


def explain_config(config: Config) -> str:
    """Return the lines that `notifier check` prints; they hold no secret."""
    return "".join(f"{line}\n" for line in _lines(config))


def _lines(config: Config) -> Iterator[str]:
    settings = config.settings
    state = settings.store.path
    yield f"config   {config.origin}"
    yield f"state    {state}{_state(state)}"
    yield ""
    yield f"sources  {len(settings.sources)}"
    for source in settings.sources:
        yield f"  {source.name}: {_source(source)}"
    yield f"targets  {len(settings.targets)}"
    for name, target in settings.targets.items():
        yield f"  {name}: {_target(target)}"
    yield "routes   none: every event but backfill.progress goes to every target"
    yield ""
    yield "The config is fine."


def _state(path: Path) -> str:
    try:
        path.stat()
    except FileNotFoundError:
        return " (new)"
    except OSError as error:
        return f" (cannot be looked at: {os_words(error)})"
    return ""


def _source(source: SourceSettings) -> str:
    return (
        f"{origin(source.base_url)}, every {format_duration(source.poll_every)}, "
        f"every {format_duration(source.poll_idle_every)} while no job is active; the first poll "
        + ("announces all jobs" if source.first_poll == "announce" else "is a baseline and announces nothing")
    )


def _target(target: WebhookSettings) -> str:
    count = len(target.secret)
    signed = {0: "not signed", 1: "signed"}.get(count, f"signed with {count} secrets")
    return f"webhook at {target.shown_url}, {signed}"
