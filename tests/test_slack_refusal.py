import re
from datetime import timedelta
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.sending import SendError
from notifier.targets.slack import refusal as refusals
from notifier.targets.slack.refusal import PayloadRefusedError, refusal

Meaning = Literal["retried", "dead", "unknown", "payload"]


def meaning(found: SendError | PayloadRefusedError) -> Meaning:
    if isinstance(found, PayloadRefusedError):
        return "payload"
    assert not (found.refused and found.outcome_unknown)
    return "dead" if found.refused else "unknown" if found.outcome_unknown else "retried"


_CODES: dict[Meaning, str] = {
    # Tokens get renewed, apps invited, admins asked (contract, section 4, item 4).
    "retried": """
        access_denied accesslimited account_inactive as_user_not_supported cannot_reply_to_message
        deprecated_endpoint ekm_access_denied enterprise_is_restricted external_channel_migrating invalid_auth
        message_limit_exceeded messages_tab_disabled method_deprecated missing_scope no_permission
        not_allowed_token_type not_authed not_in_channel org_login_required request_timeout
        restricted_action restricted_action_non_threadable_channel restricted_action_read_only_channel
        restricted_action_thread_locked restricted_action_thread_only_channel service_unavailable
        team_access_not_granted team_added_to_org team_not_found token_expired token_revoked
        two_factor_setup_required unknown_method an_error_nobody_knows_yet
        action_prohibited invalid_token no_active_hooks no_service no_team posting_to_general_channel_denied
        team_disabled user_not_found
    """,
    "dead": "channel_not_found is_archived channel_is_archived",
    "unknown": "fatal_error internal_error rollup_error",
    "payload": """
        attachment_payload_limit_exceeded block_mismatch cannot_parse_attachment invalid_arg_name
        invalid_arguments invalid_array_arg invalid_attachments invalid_blocks invalid_blocks_format
        invalid_charset invalid_form_data invalid_metadata_format invalid_metadata_schema invalid_payload
        invalid_post_type markdown_text_conflict metadata_must_be_sent_from_app metadata_too_large
        missing_post_type missing_text_or_fallback_or_attachments msg_blocks_too_long msg_too_long no_text
        too_many_attachments
    """,
}


@pytest.mark.parametrize(
    ("code", "expected"), [(code, means) for means, codes in _CODES.items() for code in codes.split()]
)
def test_what_each_error_means(code: str, expected: Meaning) -> None:
    found = refusal(status=200, code=code)
    assert meaning(found) == expected
    assert found.reason.startswith(f"Slack refused it: {code}")
    assert str(found) == found.reason


def test_no_known_error_is_missing_above() -> None:
    known = refusals._PAYLOAD | refusals._GONE | refusals._UNKNOWN | refusals._ADVICE.keys()
    assert known <= set(" ".join(_CODES.values()).split())


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        # Incoming webhooks tell both: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
        (400, "invalid_payload", "payload"),
        (400, "no_text", "payload"),
        (400, "too_many_attachments", "payload"),
        (400, "user_not_found", "retried"),
        (403, "action_prohibited", "retried"),
        (403, "invalid_token", "retried"),
        (403, "posting_to_general_channel_denied", "retried"),
        (404, "channel_not_found", "dead"),
        (404, "no_service", "retried"),
        (404, "no_active_hooks", "retried"),
        (410, "channel_is_archived", "dead"),
        (500, "rollup_error", "unknown"),
        (400, "", "payload"),
        (413, "", "payload"),
        (422, "", "payload"),
        (400, "an_error_nobody_knows_yet", "payload"),
        (400, "invalid_auth", "retried"),
        (400, "fatal_error", "unknown"),
        (400, "channel_not_found", "dead"),
        (410, "", "dead"),
        (410, "no_service", "dead"),
        (401, "", "retried"),
        (403, "", "retried"),
        (404, "", "retried"),
        (405, "", "retried"),
        (408, "", "retried"),
        (409, "", "retried"),
        (418, "", "retried"),
        (403, "invalid_blocks", "payload"),
        (500, "", "unknown"),
        (502, "", "unknown"),
        (503, "service_unavailable", "unknown"),
        (504, "", "unknown"),
        (599, "", "unknown"),
        # Not Slack at all: who knows what became of the message.
        (200, "", "unknown"),
        (201, "", "unknown"),
        (204, "", "unknown"),
        (300, "", "retried"),
        (302, "", "retried"),
        (308, "", "retried"),
        (429, "", "retried"),
        (429, "invalid_blocks", "retried"),
        (200, "ratelimited", "retried"),
        (200, "rate_limited", "retried"),
    ],
)
def test_what_a_status_means(status: int, code: str, expected: Meaning) -> None:
    assert meaning(refusal(status=status, code=code)) == expected


@pytest.mark.parametrize(
    ("status", "code"),
    [(429, ""), (429, "ratelimited"), (200, "ratelimited"), (200, "rate_limited"), (503, ""), (404, "")],
)
@pytest.mark.parametrize("wait", [None, timedelta(seconds=30)])
def test_the_wait_that_is_asked_for_is_kept(status: int, code: str, wait: timedelta | None) -> None:
    found = refusal(status=status, code=code, retry_after=wait)
    assert isinstance(found, SendError)
    assert found.retry_after == wait


@pytest.mark.parametrize("code", sorted({*refusals._GONE, ""}))
def test_what_is_gone_refuses_all_that_goes_there(code: str) -> None:
    found = refusal(status=200 if code else 410, code=code)
    assert isinstance(found, SendError)
    assert found.refused == "endpoint"


@given(st.integers(100, 599), st.sampled_from(["", *" ".join(_CODES.values()).split()]), st.text())
def test_status_and_answer_are_kept_whatever_they_mean(status: int, code: str, answer: str) -> None:
    found = refusal(status=status, code=code, answer=answer)
    assert (found.status, found.answer) == (status, answer)
    if isinstance(found, PayloadRefusedError):
        assert found.code == code


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"status": 429, "code": "ratelimited"}, "Slack asks to slow down (429)"),
        ({"status": 302, "code": ""}, "answered 302, a redirect, which is not followed"),
        ({"status": 200, "code": ""}, "answered 200, but not as Slack does; is api_url right?"),
        ({"status": 503, "code": ""}, "answered 503"),
        ({"status": 503, "code": "", "detail": "try later"}, "answered 503: try later"),
        (
            {
                "status": 200,
                "code": "invalid_blocks",
                "detail": "[ERROR] unsupported type [json-pointer:/blocks/0]",
            },
            "Slack refused it: invalid_blocks ([ERROR] unsupported type [json-pointer:/blocks/0])",
        ),
        ({"status": 404, "code": "odd_error", "detail": "odd_error"}, "Slack refused it: odd_error"),
        (
            {"status": 200, "code": "not_in_channel"},
            "Slack refused it: not_in_channel; invite the app there: write /invite @its-name in that channel",
        ),
        (
            {"status": 200, "code": "missing_scope", "needed": "chat:write.public"},
            (
                "Slack refused it: missing_scope; "
                "add the scope chat:write.public under OAuth & Permissions and install the app again"
            ),
        ),
        (
            {"status": 200, "code": "missing_scope"},
            (
                "Slack refused it: missing_scope; "
                "add the scope chat:write under OAuth & Permissions and install the app again"
            ),
        ),
    ],
)
def test_the_reason_is_in_words(answer: dict[str, object], reason: str) -> None:
    assert refusal(**answer).reason == reason  # type: ignore[arg-type]


_ORDERS = (
    r"\b(invite|check|copy|ask|add|make|unarchive|name|install|switch on) \w|needs the channel's id instead"
)


@pytest.mark.parametrize("code", sorted(refusals._ADVICE))
def test_advice_tells_what_to_do(code: str) -> None:
    _, _, advice = refusal(status=200, code=code).reason.partition(f"Slack refused it: {code}; ")
    assert re.search(_ORDERS, advice), advice
    assert "{" not in advice


@given(st.integers(100, 599), st.text(), st.text(), st.text())
def test_any_answer_means_something(status: int, code: str, detail: str, needed: str) -> None:
    found = refusal(status=status, code=code, detail=detail, needed=needed)
    assert found.reason
    means = meaning(found)
    if status == 410:
        assert means == "dead"
    if status == 429 or 300 <= status < 400:
        assert means == "retried"
    if status >= 500:
        assert means != "retried"
