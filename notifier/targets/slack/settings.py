"""What the config says about a Slack target, and what people get wrong in it."""

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, ConfigDict, Field, JsonValue, SecretStr, WithJsonSchema

from notifier.fields import (
    HeaderSecret,
    OptionalUrl,
    PositiveDuration,
    Secret,
    Section,
    check_http_url,
    origin,
    wrong,
)
from notifier.targets.slack.mentions import Mentions, mentions_of_nobody

DEFAULT_API_URL = "https://slack.com/api/"

# https://docs.slack.dev/authentication/tokens
_OTHER_TOKENS = {
    "xapp-": "an app-level token",
    "xoxp-": "a user token",
    "xoxe.xoxp-": "a user token",
    "xoxe-": "a refresh token",
    "xoxc-": "a browser's token",
    "xoxd-": "a browser's cookie",
    "xoxs-": "a browser's token",
}
_NEEDED = (
    "use the bot token (xoxb-…): api.slack.com/apps, your app, OAuth & Permissions, Bot User OAuth Token"
)
_APP_SECRET = re.compile(r"[0-9a-f]{32}")
# Without a C or a digit at least nine characters, as all ids have: GENERAL is a name in the wrong case.
_CHANNEL_ID = re.compile(r"C[A-Z0-9]{1,20}|[GDUW](?:(?=[A-Z]*[0-9])[A-Z0-9]{1,20}|[A-Z]{8,20})")
_CHANNEL_LINK = re.compile(r"https://[a-z0-9.-]+/archives/([CGD][A-Z0-9]{8,20})")
_CHANNEL_NAME = re.compile(r"""#[^\sA-Z!"#$%&'()*+,./:;<=>?@\[\\\]^`{|}~]{1,80}""")
_TOKENS = ("xox", "xapp-")
_HOOK_HOST = "hooks.slack.com"
_HOOK_START = f"https://{_HOOK_HOST}/services/"


def _token(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if text.startswith(("http://", "https://")):
        raise wrong(
            "is a URL, not a bot token; an incoming webhook's belongs in webhook_url "
            "(the variable SLACK_WEBHOOK_URL)"
        )
    for prefix, kind in _OTHER_TOKENS.items():
        if text.startswith(prefix):
            raise wrong(f"is {kind} ({prefix}…); {_NEEDED}")
    if _APP_SECRET.fullmatch(text):
        raise wrong(f"looks like an app's signing or client secret; {_NEEDED}")
    if " " in text:
        raise wrong("has a space in it; write the token alone")
    return value


def _webhook_url(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if text.startswith(_TOKENS):
        raise wrong(
            "is a token, not a URL; a bot token belongs in token, with a channel "
            "(the variables SLACK_BOT_TOKEN and SLACK_CHANNEL)"
        )
    parts = urlsplit(check_http_url(text))
    if f".{parts.hostname}".endswith(".slack.com") and not text.lower().startswith(_HOOK_START):
        workflow = parts.path.startswith(("/triggers/", "/workflows/"))
        raise wrong(
            f"is no incoming webhook: Slack's start with {_HOOK_START}"
            + ("; this one starts a workflow and takes no messages" if workflow else "")
        )
    return value


def _channel(value: str) -> str:
    if _CHANNEL_ID.fullmatch(value) or _CHANNEL_NAME.fullmatch(value):
        return value
    if value.startswith(_TOKENS):
        raise wrong("is a token; it belongs in token (the variable SLACK_BOT_TOKEN)")
    if value.startswith("@"):
        raise wrong(
            "is a person; to write to one use their id, such as U0123456789 (Profile, Copy member ID)"
        )
    if link := _CHANNEL_LINK.match(value):
        raise wrong(f'is a link; write the id that is in it: "{link[1]}"')
    if _CHANNEL_NAME.fullmatch(name := f"#{value.removeprefix('#').lower()}"):
        said = "must start with # when it is a name"
        if value.startswith("#"):
            said = "must be in lower case, as the names of Slack's channels are"
        # One with a digit may be a secret that went astray.
        raise wrong(said + (f': write "{name}"' if not any(map(str.isdigit, name)) else ""))
    raise wrong('must be a channel\'s name such as "#data-backfills", or its id such as "C0123456789"')


def _api_url(value: str) -> str:
    parts = urlsplit(check_http_url(value))
    if parts.query or parts.fragment:
        raise wrong("must end before ? and #: the API's methods are added to it")
    if parts.path.rstrip("/").rpartition("/")[2] in ("chat.postMessage", "auth.test"):
        raise wrong("must end before the name of a method, which is added to it")
    if parts.username is not None or parts.password is not None:
        raise wrong("has a user name in it; Slack's API takes the token alone")
    return value if value.endswith("/") else f"{value}/"


_URL_SCHEMA = WithJsonSchema({"type": "string", "title": "URL", "pattern": r"^https?://"})
_TOKEN_SCHEMA = WithJsonSchema({"type": "string", "minLength": 1})
_CHANNEL_SCHEMA = WithJsonSchema({"type": "string", "pattern": "^(#|[CGDUW][A-Z0-9])"})
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
    token: Annotated[HeaderSecret, AfterValidator(_token), _TOKEN_SCHEMA] | None = None
    """The bot token, `xoxb-…`; the app needs the scope `chat:write` and has to be invited to the channel."""
    token_file: str | None = None
    """A file that holds the bot token."""
    channel: Annotated[str, AfterValidator(_channel), _CHANNEL_SCHEMA] | None = None
    """With a token: where messages go, a name such as "#data-backfills" or an id such as "C0123456789"."""
    webhook_url: Annotated[Secret, AfterValidator(_webhook_url), _URL_SCHEMA] | None = None
    """The URL of an incoming webhook of Slack, Mattermost or the like, instead of a token and a channel."""
    webhook_url_file: str | None = None
    """A file that holds the URL."""
    style: Literal["card", "message"] | None = None
    """"message": one message an event, the only style of a webhook_url. "card": one live message a job, its
    events in the thread; not available yet: as "message". Without this key it is "message", and with a token
    "card" as soon as that is available."""
    mentions: Mentions = Field(default_factory=dict)
    """Whom messages mention, by type of event (a glob will do): "<@U…>" is a person, "<!subteam^S…>" a group,
    "<!here>" whoever is online."""
    api_url: Annotated[str, AfterValidator(_api_url), Field(repr=False), _URL_SCHEMA] = DEFAULT_API_URL
    """With a token: where Slack's API is."""
    timeout: PositiveDuration = timedelta(seconds=15)
    """The longest one attempt may take."""
    proxy: OptionalUrl = ""
    """An HTTP proxy to go through."""
    ca_file: str = ""
    """A file of certificates to trust instead of the system's, as PEM."""

    @property
    def shown(self) -> str:
        """Where messages go, as far as it may be shown."""
        if self.webhook_url is not None:
            return f"Slack, by an incoming webhook of {origin(self.webhook_url.get_secret_value())}"
        return f"Slack, {self.channel} by a bot token" + (
            "" if self.api_url == DEFAULT_API_URL else f" at {origin(self.api_url)}"
        )


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
    elif has_token:
        if "channel" not in table:
            yield "channel", 'is missing; set the channel\'s name, such as "#data-backfills", or its id'
    else:
        yield (
            "token",
            "is missing; set token (or token_file) and channel, or webhook_url (or webhook_url_file)",
        )
    if not has_hook or is_slack_hook(table.get("webhook_url")):  # Mattermost and others know "@name"
        yield from mentions_of_nobody(table.get("mentions"))


def is_slack_hook(url: Any) -> bool:
    """Return whether this is the URL of something that Slack's own servers answer."""
    try:
        return isinstance(url, str) and urlsplit(url).hostname == _HOOK_HOST
    except ValueError:
        return False
