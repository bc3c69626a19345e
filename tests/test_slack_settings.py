"""What people get wrong about a Slack target, and what they are told."""

from datetime import timedelta
from pathlib import Path

import pytest

from notifier.config import load_config
from notifier.targets.slack.settings import SlackSettings
from tests.configs import HOOK, KEY, SLACK, SLACK_HOOK, SOURCE, TARGET, TOKEN, load, problems

NO_URL = "must be a URL that starts with http:// or https:// and names a host"
NO_HEADER = "has spaces around it, line breaks or characters that cannot stand in an HTTP header"
NO_DURATION = 'must be a duration in quotes, like "15s", "2m", "1h30m" or "3d"'
NOT_A_DURATION = 'not a duration; write it like "15s", "2m", "1h30m" or "3d"'
NO_CHANNEL = 'must be a channel\'s name such as "#data-backfills", or its id such as "C0123456789"'
NO_HASH = "must start with # when it is a name"
NO_HOOK = "is no incoming webhook: Slack's start with https://hooks.slack.com/services/"
WORKFLOW = f"{NO_HOOK}; this one starts a workflow and takes no messages"
NOBODY = "mentions nobody in Slack; write <@U…> for a person, <!subteam^S…> for a group, or <!here>"
USE_THE_BOT_TOKEN = (
    "use the bot token (xoxb-…): api.slack.com/apps, your app, OAuth & Permissions, Bot User OAuth Token"
)
URL_FOR_TOKEN = (
    "is a URL, not a bot token; an incoming webhook's belongs in webhook_url (the variable SLACK_WEBHOOK_URL)"
)
TOKEN_FOR_URL = (
    "is a token, not a URL; a bot token belongs in token, with a channel "
    "(the variables SLACK_BOT_TOKEN and SLACK_CHANNEL)"
)
NOTHING_TO_POST_WITH = (
    "is missing; set token (or token_file) and channel, or webhook_url (or webhook_url_file)"
)
NO_CARDS_BY_HOOK = (
    'goes with style "card": an incoming webhook can neither edit messages nor write in threads'
)
NO_CARDS_BY_MESSAGE = 'goes with style "card": style = "message" has no cards'
NO_CHANNEL_SET = 'is missing; set the channel\'s name, such as "#data-backfills", or its id'
ELSEWHERE = SOURCE + '[targets.team]\ntype = "slack"\nwebhook_url = "https://chat.example.com/hooks/x"\n'


def team(text: str, **environment: str) -> SlackSettings:
    target = load(text, **environment).settings.targets["team"]
    assert isinstance(target, SlackSettings)
    return target


def written(keys: str) -> str:
    """Return a config whose one target is of Slack and has these keys."""
    return SOURCE + f'[targets.team]\ntype = "slack"\n{keys}\n'


# ------------------------------------------------------------------------------------ what is fine


@pytest.mark.parametrize(
    "channel",
    [
        *("#data-backfills", "#a", "#größe", "#データ", "#data_1", "#" + "x" * 80),
        *(
            "C0123456789",
            "G0123456789",
            "D0123456789",
            "U0123456789",
            "W0123456789",
            "CABCDEFGH",
            "C024BE91L",
        ),
    ],
)
def test_a_channel_is_a_name_or_an_id(channel: str) -> None:
    assert team(SLACK.replace("#data-backfills", channel)).channel == channel


@pytest.mark.parametrize("token", ["xoxb-1-2-x", "xoxe.xoxb-1-x", "of-another-server"])
def test_a_bot_token_is_taken(token: str) -> None:
    settings = team(SLACK.replace(TOKEN, token))
    assert settings.token is not None
    assert settings.token.get_secret_value() == token


@pytest.mark.parametrize(
    "url",
    [
        HOOK,
        HOOK.replace("hooks.", "HOOKS."),
        "https://hooks.slack-gov.com/services/T1/B1/x",
        "https://mattermost.internal:8065/hooks/x",
        "https://slack.com.example.com/x",
    ],
)
def test_an_incoming_webhook_is_taken(url: str) -> None:
    settings = team(SLACK_HOOK.replace(HOOK, url))
    assert settings.webhook_url is not None
    assert settings.webhook_url.get_secret_value() == url


@pytest.mark.parametrize("style", ["card", "message"])
def test_a_token_allows_each_style(style: str) -> None:
    assert team(SLACK + f'style = "{style}"').style == style
    assert team(SLACK).style is None


def test_a_webhook_url_allows_the_style_message() -> None:
    assert team(SLACK_HOOK + 'style = "message"').style == "message"


@pytest.mark.parametrize(
    ("text", "has_cards"),
    [
        (SLACK, True),
        (SLACK + 'style = "card"', True),
        (SLACK + 'style = "message"', False),
        (SLACK_HOOK, False),
        (SLACK_HOOK + 'style = "message"', False),
    ],
)
def test_with_a_token_each_job_has_a_card_unless_the_style_is_another(text: str, has_cards: bool) -> None:
    assert team(text).has_cards == has_cards


@pytest.mark.parametrize("style", ["", 'style = "card"\n'])
def test_cards_can_be_refreshed_less_often_and_replies_broadcast(style: str) -> None:
    settings = team(SLACK + style)
    assert (settings.card_refresh, settings.broadcast) == (timedelta(seconds=30), [])
    settings = team(SLACK + style + 'card_refresh = "2m"\nbroadcast = ["backfill.failed", "*.stalled"]')
    assert settings.card_refresh == timedelta(minutes=2)
    assert settings.broadcast == ["backfill.failed", "*.stalled"]


def test_what_is_broadcast_to_nobody_is_told_as_a_warning() -> None:
    assert load(SLACK + 'broadcast = ["backfill.f*", "*"]').warnings == []
    [warning] = load(SLACK + 'broadcast = ["backfill.fail", "backfill.failed"]').warnings
    assert warning.startswith('team: broadcast of "backfill.fail", which is no known type of event')
    assert 'did you mean "backfill.failed"?' in warning


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        ("backfill.failed", "<@U0123456789>"),
        ("backfill.failed", "<@W0123456789> and <@U1>, please"),
        ("backfill.*", "<!subteam^S0123456789|@data-team>"),
        ("*.down", "<!channel>"),
        ("*", "<!everyone>"),
        ("BACKFILL.Failed", "<!here>"),
        ("backfill.status_progress", "<!here>"),
        ("backfill.paused", "<!here|here>"),
    ],
)
def test_mentions_are_for_types_of_events_and_globs_of_them(type_: str, text: str) -> None:
    assert team(SLACK + f'mentions = {{ "{type_}" = "{text}" }}').mentions == {type_: text}
    assert team(SLACK + f"[targets.team.mentions]\n'{type_}' = '{text}'").mentions == {type_: text}


@pytest.mark.parametrize("text", ["@here", "data-team", "@all <@U1>"])
def test_other_servers_may_have_other_mentions(text: str) -> None:
    mentions = f'mentions = {{ "backfill.failed" = "{text}" }}'
    assert team(ELSEWHERE + mentions).mentions == {"backfill.failed": text}
    Path("hook").write_text("https://chat.example.com/hooks/x\n")
    assert team(written(f'webhook_url_file = "hook"\n{mentions}')).mentions == {"backfill.failed": text}


@pytest.mark.parametrize("url", ["https://slack.example.com/api", "https://slack.example.com/api/"])
def test_the_url_of_the_api_ends_in_a_slash(url: str) -> None:
    assert team(SLACK + f'api_url = "{url}"').api_url == "https://slack.example.com/api/"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (SLACK, "Slack, #data-backfills by a bot token, a card a job"),
        (
            SLACK + 'api_url = "https://slack.example.com/api"',
            "Slack, #data-backfills by a bot token at https://slack.example.com, a card a job",
        ),
        (SLACK + 'style = "card"', "Slack, #data-backfills by a bot token, a card a job"),
        (SLACK + 'style = "message"', "Slack, #data-backfills by a bot token, a message an event"),
        (SLACK_HOOK, "Slack, by an incoming webhook of https://hooks.slack.com"),
        (ELSEWHERE, "Slack, by an incoming webhook of https://chat.example.com"),
    ],
)
def test_what_is_shown_of_a_target_says_where_messages_go(text: str, shown: str) -> None:
    assert team(text).shown == shown


def test_variables_and_files_hold_what_is_secret() -> None:
    Path("token").write_text(f"{TOKEN}\n")
    Path("hook").write_text(f"\n{HOOK}\n")
    by_file = team(written('token_file = "token"\nchannel = "#x"'))
    by_variable = team(written('token = "${T}"\nchannel = "${C}"'), T=TOKEN, C="#x")
    assert by_file.token == by_variable.token
    assert by_file.token is not None
    assert by_file.token.get_secret_value() == TOKEN
    hook = team(written('webhook_url_file = "hook"'))
    assert hook.webhook_url is not None
    assert hook.webhook_url.get_secret_value() == HOOK
    assert "that-is-secret" not in f"{by_file!r} {by_variable} {hook!r} {hook.shown}"


# ----------------------------------------------------------------------------------- what is wrong


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("xapp-1-that-is-secret", f"is an app-level token (xapp-…); {USE_THE_BOT_TOKEN}"),
        ("xoxp-1-that-is-secret", f"is a user token (xoxp-…); {USE_THE_BOT_TOKEN}"),
        ("xoxe.xoxp-1-that-is-secret", f"is a user token (xoxe.xoxp-…); {USE_THE_BOT_TOKEN}"),
        ("xoxe-1-that-is-secret", f"is a refresh token (xoxe-…); {USE_THE_BOT_TOKEN}"),
        ("xoxc-1-that-is-secret", f"is a browser's token (xoxc-…); {USE_THE_BOT_TOKEN}"),
        ("xoxd-1-that-is-secret", f"is a browser's cookie (xoxd-…); {USE_THE_BOT_TOKEN}"),
        ("xoxs-1-that-is-secret", f"is a browser's token (xoxs-…); {USE_THE_BOT_TOKEN}"),
        (
            "0123456789abcdef0123456789abcdef",
            f"looks like an app's signing or client secret; {USE_THE_BOT_TOKEN}",
        ),
        (HOOK, URL_FOR_TOKEN),
        ("http://localhost/that-is-secret", URL_FOR_TOKEN),
        (f"Bearer {TOKEN}", "begins with Bearer; write what follows alone"),
        (f"{TOKEN} ", NO_HEADER),
        ("xöxb-that-is-secret", NO_HEADER),
        ("", "is empty"),
        ("  ", "is empty"),
        ("${NO}", "the environment variable NO is not set"),
    ],
)
def test_what_is_no_bot_token_is_told_for_what_it_is(token: str, message: str) -> None:
    assert problems(SLACK.replace(TOKEN, token)) == [("targets.team.token", message)]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (TOKEN, TOKEN_FOR_URL),
        ("xapp-1-that-is-secret", TOKEN_FOR_URL),
        ("https://hooks.slack.com/triggers/T1/1/that-is-secret", WORKFLOW),
        ("https://hooks.slack.com/workflows/T1/1/that-is-secret", WORKFLOW),
        ("https://HOOKS.slack.com/triggers/T1/1/that-is-secret", WORKFLOW),
        ("https://hooks.slack.com/", NO_HOOK),
        ("http://hooks.slack.com/services/T1/B1/that-is-secret", NO_HOOK),
        ("https://acme.slack.com/archives/C0123456789", NO_HOOK),
        ("https://slack.com/api/", NO_HOOK),
        ("hooks.slack.com/services/T1/B1/that-is-secret", NO_URL),
        ("#data-backfills", NO_URL),
        ("https://", NO_URL),
        ("https://[::1/that-is-secret", NO_URL),
        (f"{HOOK} ", NO_URL),
        ("", NO_URL),
        ("${NO}", "the environment variable NO is not set"),
        ("https://${NO}/hooks", "the environment variable NO is not set"),
    ],
)
def test_what_is_no_incoming_webhook_is_told_for_what_it_is(url: str, message: str) -> None:
    expected = [("targets.team.webhook_url", message)]
    assert problems(SLACK_HOOK.replace(HOOK, url)) == expected
    if "${" not in url:
        mention = 'mentions = { "backfill.failed" = "<!here>" }'
        assert problems(SLACK_HOOK.replace(HOOK, url) + mention) == expected


@pytest.mark.parametrize(
    ("channel", "message"),
    [
        *((name, f'{NO_HASH}: write "#{name.lower()}"') for name in ("data-backfills", "Data", "GENERAL")),
        *((name, NO_HASH) for name in ("c0123456789", "data_1", "sk-1-that-is-secret")),
        ("#Data", 'must be in lower case, as the names of Slack\'s channels are: write "#data"'),
        ("#C0123456789", "must be in lower case, as the names of Slack's channels are"),
        *((name, NO_CHANNEL) for name in ("", " ", "#", "##data", "#data backfills", "data backfills")),
        *((name, NO_CHANNEL) for name in ("#a,#b", " #data", "#data ", "#data/", "<#C0123456789|data>")),
        *((name, NO_CHANNEL) for name in ("#" + "x" * 81, "#data.", "#@me", HOOK, "*")),
        (
            "@ada",
            "is a person; to write to one use their id, such as U0123456789 (Profile, Copy member ID)",
        ),
        (
            "https://acme.slack.com/archives/C0123456789/p1700000000000000",
            'is a link; write the id that is in it: "C0123456789"',
        ),
        (TOKEN, "is a token; it belongs in token (the variable SLACK_BOT_TOKEN)"),
        ("${NO}", "the environment variable NO is not set"),
    ],
)
def test_what_is_no_channel_is_told_for_what_it_is(channel: str, message: str) -> None:
    expected = [("targets.team.channel", message)]
    assert problems(SLACK.replace("#data-backfills", channel)) == expected


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("", [("token", NOTHING_TO_POST_WITH)]),
        ('channel = "#x"', [("token", NOTHING_TO_POST_WITH)]),
        (f'token = "{TOKEN}"', [("channel", NO_CHANNEL_SET)]),
        (
            f'token = "{TOKEN}"\nchannel = "#x"\nwebhook_url = "{HOOK}"',
            [
                (
                    "webhook_url",
                    "is set beside token; keep one of them: a token with a channel, or a webhook_url",
                )
            ],
        ),
        (
            f'token_file = "token"\nchannel = "#x"\nwebhook_url = "{HOOK}"',
            [
                (
                    "webhook_url",
                    "is set beside token_file; keep one of them: a token with a channel, or a webhook_url",
                )
            ],
        ),
        (
            f'token = "{TOKEN}"\nwebhook_url_file = "hook"',
            [
                (
                    "webhook_url_file",
                    "is set beside token; keep one of them: a token with a channel, or a webhook_url",
                )
            ],
        ),
        (
            f'webhook_url = "{HOOK}"\nchannel = "#x"\napi_url = "https://slack.com/api/"\nstyle = "card"',
            [
                ("api_url", "goes with a token; an incoming webhook has its own URL"),
                ("channel", "goes with a token; an incoming webhook writes to the channel it was made for"),
                ("style", '"card" needs a token: what an incoming webhook posted cannot be changed'),
            ],
        ),
        # what goes with cards only
        (
            f'webhook_url = "{HOOK}"\ncard_refresh = "1m"\nbroadcast = ["backfill.failed"]',
            [("card_refresh", NO_CARDS_BY_HOOK), ("broadcast", NO_CARDS_BY_HOOK)],
        ),
        (
            'webhook_url_file = "hook"\nstyle = "message"\nbroadcast = []',
            [("broadcast", NO_CARDS_BY_HOOK)],
        ),
        (
            f'webhook_url = "{HOOK}"\nstyle = "card"\ncard_refresh = "1m"',
            [
                ("style", '"card" needs a token: what an incoming webhook posted cannot be changed'),
                ("card_refresh", NO_CARDS_BY_HOOK),
            ],
        ),
        (
            f'token = "{TOKEN}"\nchannel = "#x"\nstyle = "message"\ncard_refresh = "1m"',
            [("card_refresh", NO_CARDS_BY_MESSAGE)],
        ),
        (
            'token_file = "token"\nchannel = "#x"\nstyle = "message"\nbroadcast = ["*"]\ncard_refresh = "30s"',
            [("card_refresh", NO_CARDS_BY_MESSAGE), ("broadcast", NO_CARDS_BY_MESSAGE)],
        ),
        ('card_refresh = "1m"\nbroadcast = ["*"]', [("token", NOTHING_TO_POST_WITH)]),
        (
            f'token = "{TOKEN}"\nstyle = "message"\nbroadcast = ["*"]',
            [("channel", NO_CHANNEL_SET), ("broadcast", NO_CARDS_BY_MESSAGE)],
        ),
        (
            f'token = "{TOKEN}"\nchannel = "#x"\ncard_refesh = "1m"\nbroadcasts = ["*"]',
            [
                ("card_refesh", 'unknown key; did you mean "card_refresh"?'),
                ("broadcasts", 'unknown key; did you mean "broadcast"?'),
            ],
        ),
        (
            f'token = "{TOKEN}"\ntoken_file = "token"\nchannel = "#x"',
            [("token_file", "is set beside token; keep one of them")],
        ),
        (
            f'webhook_url = "{HOOK}"\nwebhook_url_file = "hook"',
            [("webhook_url_file", "is set beside webhook_url; keep one of them")],
        ),
        (
            'token_file = "missing"\nchannel = "#x"',
            [("token_file", "the file it names cannot be read: no such file or directory")],
        ),
        (
            f'token_file = "{TOKEN}"\nchannel = "#x"',
            [("token_file", "the file it names cannot be read: no such file or directory")],
        ),
        ('token_file = "empty"\nchannel = "#x"', [("token_file", "empty is empty")]),
        ('token_file = "hook"\nchannel = "#x"', [("token", URL_FOR_TOKEN)]),
        ('webhook_url_file = "token"', [("webhook_url", TOKEN_FOR_URL)]),
        (
            'webhook_url_file = "missing"\nmentions = { "backfill.failed" = "@here" }',
            [("webhook_url_file", "the file it names cannot be read: no such file or directory")],
        ),
        (
            'webhook_url_file = "hook"\nmentions = { "backfill.failed" = "@here" }',
            [('mentions."backfill.failed"', NOBODY)],
        ),
        (
            'token = "${NO}"\nchannel = "${NO}"',
            [
                ("channel", "the environment variable NO is not set"),
                ("token", "the environment variable NO is not set"),
            ],
        ),
        (
            'token = "${NO}"',
            [("channel", NO_CHANNEL_SET), ("token", "the environment variable NO is not set")],
        ),
        (
            'webhook_url = "${NO}"\nmentions = { "backfill.failed" = "@here" }',
            [("webhook_url", "the environment variable NO is not set")],
        ),
        ('token_file = "${NO}"\nchannel = "#x"', [("token_file", "the environment variable NO is not set")]),
        (
            "token = 1\nchannel = 2",
            [("channel", "must be a string in quotes"), ("token", "must be a string")],
        ),
        (
            f'token = "{TOKEN}"\nchannel = ["#a", "#b"]',
            [("channel", "must be a string in quotes")],
        ),
        (f'token = ["{TOKEN}"]\nchannel = "#x"', [("token", "must be a string")]),
        (f'webhook_url = {{ url = "{HOOK}" }}', [("webhook_url", "must be a string")]),
        # keys that are not known
        (
            f'token = "{TOKEN}"\nchannel = "#x"\nchanel = "#y"',
            [("chanel", 'unknown key; did you mean "channel"?')],
        ),
        (
            f'token = "{TOKEN}"\nchanel = "#x"',
            [("chanel", 'unknown key; did you mean "channel"?'), ("channel", NO_CHANNEL_SET)],
        ),
        (
            f'bot_token = "{TOKEN}"\nchannel = "#x"',
            [("bot_token", 'unknown key; did you mean "token"?'), ("token", NOTHING_TO_POST_WITH)],
        ),
        *(
            (
                f'{key} = "{HOOK}"',
                [("token", NOTHING_TO_POST_WITH), (key, 'unknown key; did you mean "webhook_url"?')],
            )
            for key in ("url", "webhook", "hook_url", "Webhook_URL")
        ),
        (
            'url_file = "hook"',
            [("token", NOTHING_TO_POST_WITH), ("url_file", 'unknown key; did you mean "webhook_url_file"?')],
        ),
        (
            f'token = "{TOKEN}"\nchannel = "#x"\nsecret = "s"\nheaders = {{}}\nusername = "bot"',
            [
                ("headers", 'unknown key; it belongs to targets of type "webhook"'),
                ("secret", 'unknown key; it belongs to targets of type "webhook"'),
                ("username", "unknown key"),
            ],
        ),
    ],
)
def test_keys_that_do_not_go_together_are_told_each_by_itself(
    keys: str, expected: list[tuple[str, str]]
) -> None:
    Path("token").write_text(TOKEN)
    Path("hook").write_text(HOOK)
    Path("empty").touch()
    places = sorted((f"targets.team.{key}", message) for key, message in expected)
    assert sorted(problems(written(keys))) == places


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ('style = "cards"', 'must be one of "card" or "message"'),
        ('style = "Card"', 'must be one of "card" or "message"'),
        ('style = ""', 'must be one of "card" or "message"'),
        ("style = 1", 'must be one of "card" or "message"'),
        ('style = ["card"]', 'must be one of "card" or "message"'),
        ('style = "${NO}"', "the environment variable NO is not set"),
        ('api_url = ""', NO_URL),
        ('api_url = "slack.com/api"', NO_URL),
        ("api_url = 1", "must be a string in quotes"),
        (
            'api_url = "https://user:1-that-is-secret@slack.example.com/api"',
            "has a user name in it; Slack's API takes the token alone",
        ),
        (
            'api_url = "https://slack.com/api/?a=b"',
            "must end before ? and #: the API's methods are added to it",
        ),
        ("card_refresh = 30", NO_DURATION),
        ('card_refresh = "often"', NOT_A_DURATION),
        ('card_refresh = ""', NOT_A_DURATION),
        ('card_refresh = "0s"', "must be longer than 0s"),
        ('card_refresh = "${NO}"', "the environment variable NO is not set"),
        ('broadcast = "backfill.failed"', "must be a list in brackets"),
        ("broadcast = true", "must be a list in brackets"),
        ("timeout = 15", NO_DURATION),
        ('timeout = "0s"', "must be longer than 0s"),
        ('proxy = "socks5://h"', NO_URL),
        ('ca_file = "missing"', "missing cannot be used as certificates: no such file or directory"),
    ],
)
def test_a_wrong_value_is_told_with_its_key(key: str, message: str) -> None:
    assert problems(SLACK + key) == [(f"targets.team.{key.partition(' ')[0]}", message)]


@pytest.mark.parametrize(
    ("globs", "message"),
    [
        ('["backfill.failed", ""]', "is empty"),
        ('["backfill.failed", " "]', "is empty"),
        ('["backfill.failed", 1]', "must be a string in quotes"),
        ('["backfill.failed", ["*"]]', "must be a string in quotes"),
        ('["backfill.failed", "${NO}"]', "the environment variable NO is not set"),
    ],
)
def test_what_is_no_glob_is_told_with_its_place(globs: str, message: str) -> None:
    assert problems(SLACK + f"broadcast = {globs}") == [("targets.team.broadcast[1]", message)]


@pytest.mark.parametrize(
    ("mentions", "where", "message"),
    [
        *(
            (f'{{ "backfill.failed" = "{text}" }}', '."backfill.failed"', NOBODY)
            for text in ("@here", "data-team", "@U0123456789", "<@u0123>", "<here>", "#x", "<#C0123456789>")
        ),
        ('{ "backfill.failed" = "" }', '."backfill.failed"', "must be one line of 1 to 500 characters"),
        ('{ "backfill.failed" = " " }', '."backfill.failed"', "must be one line of 1 to 500 characters"),
        (
            '{ "backfill.failed" = "<!here>\\nnow" }',
            '."backfill.failed"',
            "must be one line of 1 to 500 characters",
        ),
        (
            f'{{ "backfill.failed" = "<!here>{"x" * 500}" }}',
            '."backfill.failed"',
            "must be one line of 1 to 500 characters",
        ),
        *(
            (
                f'{{ "backfill.failed" = {value} }}',
                '."backfill.failed"',
                'must be one string in quotes, such as "<@U0123456789> <!here>"',
            )
            for value in ("1", "true", "[]", '["<@U1>", "<@U2>"]')
        ),
        (
            '{ "backfill.failed" = "${NO}" }',
            '."backfill.failed"',
            "the environment variable NO is not set",
        ),
        (
            '{ "backfill.failed" = "<@${NO}>" }',
            '."backfill.failed"',
            "the environment variable NO is not set",
        ),
        ('{ failed = "<!here>" }', ".failed", 'is no type of event; did you mean "backfill.failed"?'),
        (
            '{ Completed = "<!here>" }',
            ".Completed",
            'is no type of event; did you mean "backfill.completed"?',
        ),
        (
            '{ "backfil.failed" = "<!here>" }',
            '."backfil.failed"',
            'is no type of event; did you mean "backfill.failed"?',
        ),
        ('{ "sources.*" = "<!here>" }', '."sources.*"', 'is no type of event; did you mean "source.up"?'),
        ('{ error = "<!here>" }', ".error", 'is no type of event; one is "backfill.failed"'),
        ('{ "" = "<!here>" }', '.""', 'is no type of event; one is "backfill.failed"'),
        (
            '{ backfill = { failed = "<!here>" } }',
            "",
            'needs the types of events in quotes, as in "backfill.failed" = "<!here>"',
        ),
        (
            '{ backfill.failed = "<!here>" }',
            "",
            'needs the types of events in quotes, as in "backfill.failed" = "<!here>"',
        ),
        ('"<!here>"', "", 'must be a table, such as { "backfill.failed" = "<!here>" }'),
        ('["<!here>"]', "", 'must be a table, such as { "backfill.failed" = "<!here>" }'),
        ('"${NO}"', "", "the environment variable NO is not set"),
    ],
)
def test_a_mention_that_would_reach_nobody_is_a_problem(mentions: str, where: str, message: str) -> None:
    expected = [(f"targets.team.mentions{where}", message)]
    assert problems(SLACK + f"mentions = {mentions}") == expected
    assert problems(SLACK_HOOK + f"mentions = {mentions}") == expected
    if message is not NOBODY:
        assert problems(ELSEWHERE + f"mentions = {mentions}") == expected


def test_several_wrong_mentions_are_told_each() -> None:
    mentions = (
        'mentions = { "backfill.failed" = "@here", "backfill.stalled" = 1, done = "<!here>", "*" = "" }'
    )
    assert sorted(problems(SLACK + mentions)) == [
        ('targets.team.mentions."*"', "must be one line of 1 to 500 characters"),
        ('targets.team.mentions."backfill.failed"', NOBODY),
        (
            'targets.team.mentions."backfill.stalled"',
            'must be one string in quotes, such as "<@U0123456789> <!here>"',
        ),
        ("targets.team.mentions.done", 'is no type of event; one is "backfill.failed"'),
    ]


# ------------------------------------------------------------------------- the environment alone


def test_the_environment_alone_makes_three_targets() -> None:
    Path("hook").write_text(f"{HOOK}\n")
    config = load_config(
        None,
        {
            "ALLIUM_API_KEY": KEY,
            "SLACK_BOT_TOKEN": TOKEN,
            "SLACK_CHANNEL": "C0123456789",
            "SLACK_WEBHOOK_URL_FILE": "hook",
            "WEBHOOK_URL": "https://ops.example.com/that-is-secret",
        },
    )
    assert {name: target.shown for name, target in config.settings.targets.items()} == {
        "slack": "Slack, C0123456789 by a bot token, a card a job",
        "slack-webhook": "Slack, by an incoming webhook of https://hooks.slack.com",
        "webhook": "webhook at https://ops.example.com, not signed",
    }
    assert config.warnings == []
    assert "that-is-secret" not in repr(config)


def test_the_bot_token_can_be_in_a_file() -> None:
    Path("token").write_text(f"{TOKEN}\n")
    environment = {"ALLIUM_API_KEY": KEY, "SLACK_BOT_TOKEN_FILE": "token", "SLACK_CHANNEL": "#x"}
    target = load_config(None, environment).settings.targets["slack"]
    assert isinstance(target, SlackSettings)
    assert target.token is not None
    assert target.token.get_secret_value() == TOKEN


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"SLACK_BOT_TOKEN": TOKEN}, [("SLACK_CHANNEL", NO_CHANNEL_SET)]),
        ({"SLACK_BOT_TOKEN": TOKEN, "SLACK_CHANNEL": ""}, [("SLACK_CHANNEL", NO_CHANNEL_SET)]),
        *(
            (
                {"SLACK_CHANNEL": "#x"} | more,
                [("SLACK_BOT_TOKEN", "is not set; set it, or SLACK_BOT_TOKEN_FILE, or unset SLACK_CHANNEL")],
            )
            for more in ({}, {"SLACK_BOT_TOKEN": ""}, {"SLACK_WEBHOOK_URL": HOOK})
        ),
        ({"SLACK_BOT_TOKEN": HOOK, "SLACK_CHANNEL": "#x"}, [("SLACK_BOT_TOKEN", URL_FOR_TOKEN)]),
        (
            {"SLACK_BOT_TOKEN": "xapp-that-is-secret", "SLACK_CHANNEL": "data"},
            [
                ("SLACK_BOT_TOKEN", f"is an app-level token (xapp-…); {USE_THE_BOT_TOKEN}"),
                ("SLACK_CHANNEL", f'{NO_HASH}: write "#data"'),
            ],
        ),
        (
            {"SLACK_BOT_TOKEN": TOKEN, "SLACK_CHANNEL": TOKEN},
            [("SLACK_CHANNEL", "is a token; it belongs in token (the variable SLACK_BOT_TOKEN)")],
        ),
        (
            {"SLACK_BOT_TOKEN": TOKEN, "SLACK_BOT_TOKEN_FILE": "token", "SLACK_CHANNEL": "#x"},
            [("SLACK_BOT_TOKEN_FILE", "is set beside SLACK_BOT_TOKEN; keep one of them")],
        ),
        (
            {"SLACK_BOT_TOKEN_FILE": TOKEN, "SLACK_CHANNEL": "#x"},
            [("SLACK_BOT_TOKEN_FILE", "the file it names cannot be read: no such file or directory")],
        ),
        ({"SLACK_WEBHOOK_URL": TOKEN}, [("SLACK_WEBHOOK_URL", TOKEN_FOR_URL)]),
        (
            {"SLACK_WEBHOOK_URL": "https://hooks.slack.com/triggers/that-is-secret"},
            [("SLACK_WEBHOOK_URL", WORKFLOW)],
        ),
        (
            {"SLACK_WEBHOOK_URL_FILE": "missing"},
            [("SLACK_WEBHOOK_URL_FILE", "the file it names cannot be read: no such file or directory")],
        ),
        (
            {"SLACK_WEBHOOK_URL": HOOK, "SLACK_WEBHOOK_URL_FILE": "hook"},
            [("SLACK_WEBHOOK_URL_FILE", "is set beside SLACK_WEBHOOK_URL; keep one of them")],
        ),
        (
            {
                "ALLIUM_API_KEY": "",
                "SLACK_BOT_TOKEN": "xoxp-that-is-secret",
                "SLACK_CHANNEL": "@ada",
                "SLACK_WEBHOOK_URL": "that-is-secret",
                "WEBHOOK_URL": "that-is-secret",
            },
            [
                ("ALLIUM_API_KEY", "is not set; set it, or ALLIUM_API_KEY_FILE"),
                ("SLACK_BOT_TOKEN", f"is a user token (xoxp-…); {USE_THE_BOT_TOKEN}"),
                (
                    "SLACK_CHANNEL",
                    "is a person; to write to one use their id, such as U0123456789 (Profile, Copy member ID)",
                ),
                ("SLACK_WEBHOOK_URL", NO_URL),
                ("WEBHOOK_URL", NO_URL),
            ],
        ),
    ],
)
def test_what_is_wrong_with_the_environment_names_the_variables(
    environment: dict[str, str], expected: list[tuple[str, str]]
) -> None:
    assert sorted(problems(None, **{"ALLIUM_API_KEY": KEY} | environment)) == sorted(expected)


@pytest.mark.parametrize("url", [HOOK, "https://hooks.slack.com/triggers/T1/that-is-secret"])
def test_slacks_own_webhook_is_no_target_of_type_webhook(url: str) -> None:
    message = (
        "is an incoming webhook of Slack, which does not take events as they are: "
        'make it type = "slack" with this as webhook_url (the variable SLACK_WEBHOOK_URL)'
    )
    assert problems(None, ALLIUM_API_KEY=KEY, WEBHOOK_URL=url) == [("WEBHOOK_URL", message)]
    assert problems(TARGET.replace("https://ops.example.com/hooks", url)) == [("targets.ops.url", message)]


def test_a_method_s_url_is_no_api_url() -> None:
    text = SLACK + 'api_url = "https://slack.com/api/chat.postMessage"'
    message = "must end before the name of a method, which is added to it"
    assert problems(text) == [("targets.team.api_url", message)]


def test_what_would_be_posted_twice_or_expire_is_warned_of() -> None:
    again = SLACK.partition("[targets.team]")[2]
    text = f"{SLACK}[targets.again]{again}".replace(TOKEN, f"xoxe.{TOKEN}")
    rotated = "its token is a rotated one, which expires after 12 hours; switch token rotation off in the app"
    assert load(text).warnings == [
        f"team: {rotated}",
        f"again: {rotated}",
        "team and again write to the same channel: what goes to both is posted there twice",
    ]
