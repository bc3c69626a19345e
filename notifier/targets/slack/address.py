"""Slack's tokens, channels and addresses as people write them, and what they get wrong."""

import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, WithJsonSchema

from notifier.fields import HeaderSecret, Secret, check_http_url, wrong

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

Token = Annotated[HeaderSecret, AfterValidator(_token), _TOKEN_SCHEMA]
WebhookUrl = Annotated[Secret, AfterValidator(_webhook_url), _URL_SCHEMA]
Channel = Annotated[str, AfterValidator(_channel), _CHANNEL_SCHEMA]
ApiUrl = Annotated[str, AfterValidator(_api_url), Field(repr=False), _URL_SCHEMA]


def is_slack_hook(url: Any) -> bool:
    """Return whether this is the URL of something that Slack's own servers answer."""
    try:
        return isinstance(url, str) and urlsplit(url).hostname == _HOOK_HOST
    except ValueError:
        return False


def is_channel_id(channel: str) -> bool:
    """Return whether this is the id of a conversation: neither a name nor a person's id."""
    return channel.startswith(("C", "G", "D"))
