"""What a config says that is odd without being wrong."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from stat import S_ISDIR

from notifier.duration import format_duration
from notifier.glob import matches
from notifier.heartbeat import HeartbeatSettings
from notifier.model import ALL_TYPES, JOB_TYPES
from notifier.problem import did_you_mean, os_words
from notifier.settings import Settings, WebSettings
from notifier.targets.slack.settings import SlackSettings

_SHORT_KEEP = timedelta(days=1)
_SHORT_TOKEN = 16


def cautions(settings: Settings) -> Iterator[str]:
    """Yield what whoever starts it should know, a line each."""
    if not settings.targets:
        yield "there is no target: nobody would hear of any event"
    for source in settings.sources:
        if source.poll_every.total_seconds() < 1 or source.poll_idle_every.total_seconds() < 1:
            yield f"{source.name}: polls more often than once a second; the API asks for at most one a second"
    yield from _shared_keys(settings)
    for name, target in settings.targets.items():
        if isinstance(target, SlackSettings):
            yield from (f"{name}: {line}" for line in _slack(target))
        for glob in () if target.quiet is None else target.quiet.excepted:
            if not any(matches(glob, known) for known in ALL_TYPES):
                yield f'{name}: quiet except "{glob}", which is no known type of event' + did_you_mean(
                    glob, ALL_TYPES
                )
    yield from _same_channels(settings)
    if settings.store.keep < _SHORT_KEEP:
        yield (
            f"what was given up is forgotten after {format_duration(settings.store.keep)} ([store] keep): "
            "there is little time to see it and have it sent again"
        )
    if settings.heartbeat.url is None and settings.heartbeat != HeartbeatSettings():
        yield "the heartbeat has no url ([heartbeat] url): it tells nobody"
    yield from _token(settings.web)
    yield from _state_directory(settings)


def _token(web: WebSettings) -> Iterator[str]:
    if web.token is not None and len(web.token.get_secret_value()) < _SHORT_TOKEN:
        yield (
            f"the token of the page ([web] token) has less than {_SHORT_TOKEN} characters, which can be "
            "guessed; make one with: openssl rand -base64 32"
        )


def _same_channels(settings: Settings) -> Iterator[str]:
    holders: defaultdict[tuple[str | None, str], list[str]] = defaultdict(list)
    for name, target in settings.targets.items():
        if isinstance(target, SlackSettings):
            secret = target.token or target.webhook_url
            if secret is not None:
                holders[target.channel, secret.get_secret_value()].append(name)
    for names in holders.values():
        if len(names) > 1:
            yield f"{' and '.join(names)} write to the same channel: what goes to both is posted there twice"


def _slack(target: SlackSettings) -> Iterator[str]:
    if target.token is not None and target.token.get_secret_value().startswith("xoxe."):
        yield "its token is a rotated one, which expires after 12 hours; switch token rotation off in the app"
    for type_ in target.mentions:
        if not any(matches(type_, known) for known in ALL_TYPES):
            yield f'mentions for "{type_}", which is no known type of event' + did_you_mean(type_, ALL_TYPES)
    for glob in target.broadcast:
        if not any(matches(glob, known) for known in ALL_TYPES):
            yield f'broadcast of "{glob}", which is no known type of event' + did_you_mean(glob, ALL_TYPES)
        elif not any(matches(glob, known) for known in JOB_TYPES):
            yield f'broadcast of "{glob}" does nothing: only events of jobs are replies'


def _shared_keys(settings: Settings) -> Iterator[str]:
    holders: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for source in settings.sources:
        holders[source.account].append(source.name)
    for names in holders.values():
        if len(names) > 1:
            yield (
                f"{' and '.join(names)} have the same API key: their jobs are the same, each is announced "
                f"{len(names)} times, and the API's one request a second is shared"
            )


def _state_directory(settings: Settings) -> Iterator[str]:
    directory = settings.store.path.parent
    try:
        is_directory = S_ISDIR(directory.stat().st_mode)
    except FileNotFoundError:
        yield f"the directory of the state, {directory}, does not exist yet"
    except OSError as error:
        yield f"the directory of the state, {directory}, cannot be looked at: {os_words(error)}"
    else:
        if not is_directory:
            yield f"the directory of the state, {directory}, is no directory"
