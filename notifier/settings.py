"""The config file's tables and keys (contract, section 5)."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from notifier.address import ListenAddress, parse_listen
from notifier.fields import (
    AtLeastOne,
    Duration,
    Name,
    OptionalHeaderSecret,
    PositiveDuration,
    Section,
    wrong,
)
from notifier.heartbeat import HeartbeatSettings
from notifier.route import RouteSettings
from notifier.source import SourceSettings
from notifier.storage import path_of
from notifier.targets.slack.settings import SlackSettings
from notifier.targets.webhook import WebhookSettings

DEFAULT_STORE = "sqlite:///notifier-state.db"
DEFAULT_LISTEN = "127.0.0.1:8080"


TargetSettings = WebhookSettings | SlackSettings


class DeliverySettings(Section):
    """How failed deliveries are tried again."""

    give_up_after: PositiveDuration = timedelta(days=3)
    """How long a delivery is tried, from its first attempt, before it becomes a dead letter."""
    first_retry: PositiveDuration = timedelta(seconds=5)
    """The wait before the second attempt; it doubles with each further one, jittered."""
    max_retry: PositiveDuration = timedelta(hours=1)
    """The longest wait between two attempts."""
    down_after: PositiveDuration = timedelta(minutes=5)
    """How long a target may fail before it counts as down."""
    remind_every: Duration = timedelta(0)
    """How often a target that is down is announced again; "0s" turns it off."""
    digest_over: AtLeastOne = 10
    """More than this many messages that wait for one Slack channel become one digest."""


def _store_url(url: str) -> str:
    if url.startswith(("postgresql://", "postgres://")):
        raise PydanticCustomError("not_available", "PostgreSQL is not available yet; use sqlite:///…")
    try:
        path_of(url)
    except ValueError as error:
        raise wrong(str(error)) from error
    return url


class StoreSettings(Section):
    """Where the state is kept."""

    url: Annotated[
        str,
        AfterValidator(_store_url),
        WithJsonSchema({"type": "string", "title": "URL", "pattern": r"^sqlite:///."}),
    ] = DEFAULT_STORE
    """The state file: "sqlite:///x" is relative to the working directory, "sqlite:////x" is absolute."""
    keep: PositiveDuration = timedelta(days=30)
    """How long jobs that are no longer listed, events, delivered deliveries and dead letters are kept."""

    @property
    def path(self) -> Path:
        """The absolute path of the state file."""
        return path_of(self.url)


def _listen(text: str) -> str:
    if text:
        try:
            parse_listen(text)
        except ValueError as error:
            raise wrong(str(error)) from error
    return text


class WebSettings(Section):
    """The status page, the HTTP API and the metrics."""

    listen: Annotated[
        str,
        AfterValidator(_listen),
        WithJsonSchema({"type": "string", "title": "address", "pattern": r"^(.*:[0-9]{1,5})?$"}),
    ] = DEFAULT_LISTEN
    """The address to listen on; "" turns it off. Beyond this machine it needs a token."""
    token: OptionalHeaderSecret = None
    """What requests must carry: `Authorization: Bearer …`; people sign in with it. "" is none."""
    token_file: str | None = None
    """A file that holds the token."""

    @property
    def address(self) -> ListenAddress | None:
        """Where to listen; None when it is off."""
        return parse_listen(self.listen) if self.listen else None

    @property
    def shown(self) -> str:
        """Where the page is and whom it lets in, for people."""
        if self.address is None:
            return "off"
        whom = "whoever has the token" if self.token is not None else "whoever is on this machine"
        return f"{self.address.url} for {whom}"


class LogSettings(Section):
    """What the daemon writes to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important lines that are written."""
    format: Literal["text", "json"] = "text"
    """Lines for people, or one JSON object a line for machines."""


class Settings(Section):
    """The config file of backfill-notifier."""

    sources: Annotated[list[SourceSettings], Field(min_length=1)]
    """The organisations to poll."""
    targets: dict[Name, Annotated[TargetSettings, Field(discriminator="type")]] = Field(default_factory=dict)
    """Where messages go, by name."""
    routes: list[RouteSettings] = Field(default_factory=list)
    """Which events go to which targets; without any, every event but progress goes to every target."""
    delivery: DeliverySettings = Field(default_factory=DeliverySettings)
    store: StoreSettings = Field(default_factory=StoreSettings)
    web: WebSettings = Field(default_factory=WebSettings)
    heartbeat: HeartbeatSettings = Field(default_factory=HeartbeatSettings)
    log: LogSettings = Field(default_factory=LogSettings)
