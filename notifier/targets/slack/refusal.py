"""What Slack's answers mean: what to do about them, and whether the message may be there. Pure."""

from datetime import timedelta
from functools import partial

from notifier.sending import SendError

# https://docs.slack.dev/reference/methods/chat.postMessage and
# https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
_PAYLOAD = frozenset(
    {
        "attachment_payload_limit_exceeded",
        "block_mismatch",
        "cannot_parse_attachment",
        "invalid_arg_name",
        "invalid_arguments",
        "invalid_array_arg",
        "invalid_attachments",
        "invalid_blocks",
        "invalid_blocks_format",
        "invalid_charset",
        "invalid_form_data",
        "invalid_metadata_format",
        "invalid_metadata_schema",
        "invalid_payload",
        "invalid_post_type",
        "markdown_text_conflict",
        "metadata_must_be_sent_from_app",
        "metadata_too_large",
        "missing_post_type",
        "missing_text_or_fallback_or_attachments",
        "msg_blocks_too_long",
        "msg_too_long",
        "no_text",
        "too_many_attachments",
    }
)
_GONE = frozenset({"channel_is_archived", "channel_not_found", "is_archived"})
_UNKNOWN = frozenset({"fatal_error", "internal_error", "rollup_error"})
_THROTTLED = frozenset({"rate_limited", "ratelimited"})
_UNREADABLE = frozenset(
    {
        "access_denied",
        "channel_not_found",
        "channel_type_not_supported",
        "ekm_access_denied",
        "enterprise_is_restricted",
        "is_archived",
        "method_deprecated",
        "method_not_supported_for_channel_type",
        "missing_scope",
        "no_permission",
        "not_allowed_token_type",
        "not_in_channel",
        "team_access_not_granted",
        "thread_not_found",
        "unknown_method",
    }
)
"""What Slack says when there is nothing to read there, or not for this token; all else may pass."""
_CREDENTIALS = frozenset(
    {"account_inactive", "invalid_auth", "missing_scope", "not_authed", "token_expired", "token_revoked"}
)

_TOO_MANY = 429

_INVITE = "invite the app there: write /invite @its-name in that channel"
_TOKEN = "copy the Bot User OAuth Token (xoxb-…) of your app again: OAuth & Permissions"  # noqa: S105
_SCOPE = "add the scope {needed} under OAuth & Permissions and install the app again"
_HOOK = "make a new one under Incoming Webhooks of your app"

_ADVICE = {
    "account_inactive": f"the token's app or workspace was removed; {_TOKEN}",
    "action_prohibited": "an admin of the workspace forbids this; ask one",
    "channel_is_archived": f"unarchive the channel, or for another one {_HOOK}",
    "channel_not_found": "there is no such channel, or it is private and the app is not in it; "
    f"check its name or use its id (channel details, at the bottom), and {_INVITE}",
    "ekm_access_denied": "an admin of the workspace has suspended posting; ask one",
    "invalid_auth": f"the token is wrong or was revoked; {_TOKEN}",
    "invalid_token": f"the webhook's URL is wrong or was revoked; {_HOOK}",
    "is_archived": "unarchive the channel, or name another one",
    "messages_tab_disabled": "people cannot write to the app; switch on the Messages Tab under App Home",
    "missing_scope": _SCOPE,
    "no_active_hooks": f"the webhook was removed; {_HOOK}",
    "no_permission": f"{_INVITE}, and see that the app has the scope chat:write",
    "no_service": f"the webhook was removed or its URL is wrong; {_HOOK}",
    "no_team": f"the webhook's workspace is gone or its URL is wrong; {_HOOK}",
    "not_allowed_token_type": f"this kind of token cannot post; {_TOKEN}",
    "not_authed": f"no token arrived; {_TOKEN}",
    "not_in_channel": _INVITE,
    "posting_to_general_channel_denied": "only admins may post there; name another channel",
    "restricted_action": "an admin restricts who may post there; ask one, or name another channel",
    "restricted_action_read_only_channel": "the channel is read-only; name another one",
    "restricted_action_thread_only_channel": "the channel takes replies only; name another one",
    "team_access_not_granted": "the app is not installed in the channel's workspace; install it there",
    "team_disabled": "the webhook's workspace is disabled; ask an admin of it",
    "team_not_found": "a token of a whole organisation needs the channel's id instead of its name",
    "token_expired": f"the token has expired; {_TOKEN}",
    "token_revoked": f"the token was revoked; {_TOKEN}",
    "user_not_found": f"the webhook's URL is wrong; {_HOOK}",
}


_HOOK_ADVICE = {
    "channel_not_found": f"the webhook's channel is gone, or its maker may no longer write there; {_HOOK}",
    "no_permission": f"the webhook's maker may no longer write there; {_HOOK}",
}


class PayloadRefusedError(Exception):
    """Slack refused how the message is written: it was not posted, plain text may be."""

    def __init__(self, code: str, reason: str, *, status: int, answer: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.status = status
        self.answer = answer


def refusal(
    *,
    status: int,
    code: str,
    detail: str = "",
    needed: str = "",
    retry_after: timedelta | None = None,
    hook: bool = False,
    answer: str = "",
) -> SendError | PayloadRefusedError:
    """Return what a reply that is no success means.

    `code` is Slack's error, or "" when the reply has none; `detail` is what else it says, fit to be shown;
    `needed` the scope that is missing; `hook` says that an incoming webhook gave it; `answer` is how it
    begins, fit to be stored.
    """
    error = partial(SendError, status=status, code=code, answer=answer)
    if 300 <= status < 400:
        return error(f"answered {status}, a redirect, which is not followed")
    if status == _TOO_MANY or code in _THROTTLED:
        return error("Slack asks to slow down (429)", retry_after=retry_after, throttled=True)
    advice = (_HOOK_ADVICE if hook else {}).get(code) or _ADVICE.get(code, "")
    reason = _reason(status, code, detail, advice.replace("{needed}", needed or "chat:write"))
    gone = code in _GONE or status == 410
    known = gone or code in _ADVICE or code in _UNKNOWN
    if code in _PAYLOAD or (status in (400, 413, 422) and not known):
        return PayloadRefusedError(code, reason, status=status, answer=answer)
    if status >= 500 or code in _UNKNOWN:
        return error(reason, retry_after=retry_after, outcome_unknown=True)
    if 200 <= status < 300 and not code:
        reason = f"answered {status}, but not as Slack does; is api_url right?"
        return error(reason, outcome_unknown=True)
    return error(
        reason,
        retry_after=retry_after,
        refused="endpoint" if gone else None,
        credentials=code in _CREDENTIALS and not hook,
    )


def is_unreadable(error: SendError) -> bool:
    """Return whether it says that there is nothing to read: not that Slack cannot tell just now."""
    return error.code in _UNREADABLE and not error.is_throttled


def refused_also_as_plain_text(error: PayloadRefusedError) -> SendError:
    """Return what it means that Slack refuses a message without any block, too."""
    return SendError(
        f"{error.reason}, also as plain text",
        refused="message",
        code=error.code,
        status=error.status,
        answer=error.answer,
    )


def _reason(status: int, code: str, detail: str, advice: str) -> str:
    if not code:
        return f"answered {status}" + (f": {detail}" if detail else "")
    words = f"Slack refused it: {code}"
    if detail not in ("", code) and code in _PAYLOAD:
        words += f" ({detail})"
    return f"{words}; {advice}" if advice else words
