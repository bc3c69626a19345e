"""What the config says about a Slack target, and what people get wrong in it."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, JsonValue

from notifier.fields import EventGlob, OptionalUrl, PositiveDuration, Section, origin
from notifier.quiet import QuietSettings
from notifier.targets.slack.address import ApiUrl, Channel, Token, WebhookUrl, is_slack_hook
from notifier.targets.slack.mentions import Mentions, known_type, mentions_of_nobody

DEFAULT_API_URL = "https://slack.com/api/"

_WAYS: list[list[JsonValue]] = [
    ["token", "channel"],
    ["token_file", "channel"],
    ["webhook_url"],
    ["webhook_url_file"],
]


class SlackSettings(Section):
    """A Slack channel, by a bot token and a channel, or by the URL of an incoming webhook."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": way} for way in _WAYS]})

    type: Literal["slack"]
    """The kind of target."""
    token: Token | None = None
    """The bot token, `xoxb-…`; the app needs the scope `chat:write` and has to be invited to the channel."""
    token_file: str | None = None
    """A file that holds the bot token."""
    channel: Channel | None = None
    """With a token: where messages go, a name such as "#data-backfills" or an id such as "C0123456789"."""
    webhook_url: WebhookUrl | None = None
    """The URL of an incoming webhook of Slack, Mattermost or the like, instead of a token and a channel."""
    webhook_url_file: str | None = None
    """A file that holds the URL."""
    style: Literal["card", "message"] | None = None
    """"card": one live message a job, its events in the thread; the default with a token. "message": one
    message an event, the only style of a webhook_url."""
    card_refresh: PositiveDuration = timedelta(seconds=30)
    """In style "card": how often a card is edited at most while only its job's progress changes."""
    broadcast: list[Annotated[EventGlob, AfterValidator(known_type)]] = Field(default_factory=list)
    """In style "card": the types of events (globs) whose replies are shown in the channel, too."""
    mentions: Mentions = Field(default_factory=dict)
    """Whom messages mention, by type of event (a glob will do): "<@U…>" is a person, "<!subteam^S…>" a group,
    "<!here>" whoever is online."""
    quiet: QuietSettings | None = None
    """Quiet hours: what happens in them is held, and posted at their end, several events as one digest."""
    api_url: ApiUrl = DEFAULT_API_URL
    """With a token: where Slack's API is."""
    insecure_http: bool = False
    """Whether the token, or the webhook's URL, may go over plain http to another machine."""
    timeout: PositiveDuration = timedelta(seconds=15)
    """The longest one request may take."""
    proxy: OptionalUrl = ""
    """An HTTP proxy to go through."""
    ca_file: str = ""
    """A file of certificates to trust instead of the system's, as PEM."""

    @property
    def has_cards(self) -> bool:
        """Whether each job has one live message."""
        return self.webhook_url is None and self.style != "message"

    @property
    def shown(self) -> str:
        """Where messages go, as far as it may be shown."""
        if self.webhook_url is not None:
            return f"Slack, by an incoming webhook of {origin(self.webhook_url.get_secret_value())}"
        style = "a card a job" if self.has_cards else "a message an event"
        at = "" if self.api_url == DEFAULT_API_URL else f" at {origin(self.api_url)}"
        return f"Slack, {self.channel} by a bot token{at}, {style}"


def slack_faults(table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each key of a Slack target's table that does not go with the others, and what to do."""
    token, hook = (f"{key}_file" if f"{key}_file" in table else key for key in ("token", "webhook_url"))
    has_token, has_hook = token in table, hook in table
    if has_token and has_hook:
        yield hook, f"is set beside {token}; keep one of them: a token with a channel, or a webhook_url"
    elif has_hook:
        if "channel" in table:
            yield "channel", "goes with a token; an incoming webhook writes to the channel it was made for"
        if table.get("style") == "card":
            yield "style", '"card" needs a token: what an incoming webhook posted cannot be changed'
        if "api_url" in table:
            yield "api_url", "goes with a token; an incoming webhook has its own URL"
        yield from _without_cards(table, "an incoming webhook can neither edit messages nor write in threads")
    elif has_token:
        if "channel" not in table:
            yield "channel", 'is missing; set the channel\'s name, such as "#data-backfills", or its id'
        if table.get("style") == "message":
            yield from _without_cards(table, 'style = "message" has no cards')
    else:
        yield (
            "token",
            "is missing; set token (or token_file) and channel, or webhook_url (or webhook_url_file)",
        )
    if not has_hook or is_slack_hook(table.get("webhook_url")):  # Mattermost and others know "@name"
        yield from mentions_of_nobody(table.get("mentions"))


def _without_cards(table: Mapping[str, Any], why: str) -> Iterator[tuple[str, str]]:
    for key in ("card_refresh", "broadcast"):
        if key in table:
            yield key, f'goes with style "card": {why}'
