"""Allium's API: one listing of all jobs of an organisation."""

import asyncio
import ssl
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Literal

import aiohttp
import msgspec
from pydantic import AfterValidator, Field

from notifier.fields import (
    OPTIONAL_URL_SCHEMA,
    BaseUrl,
    Bytes,
    Duration,
    HeaderSecret,
    Name,
    OptionalUrl,
    PositiveDuration,
    Section,
    Size,
    check_http_url,
    wrong,
)
from notifier.listing import Listing, ListingError, read_listing
from notifier.model import Fault, utc_now
from notifier.rules import JobRules, Milestones, RuleBook, Rules
from notifier.transport import (
    USER_AGENT,
    TooLargeError,
    describe_fault,
    read_body,
    read_start,
    retry_after,
    shown,
)
from notifier.turnstile import Turnstile

_READ_OF_ERROR = 4096
_SOON = timedelta(seconds=2)
"""More than requests of one key are apart."""


def _job_link(value: str) -> str:
    if not value:
        return value
    if "{" in value.replace("{job_id}", "") or "}" in value.replace("{job_id}", ""):
        raise wrong("has braces other than {job_id}, the one placeholder there is")
    return check_http_url(value.replace("{job_id}", "job")) and value


class SourceSettings(Section):
    """An Allium organisation whose backfills are polled."""

    name: Name = "allium"
    """What the source is called in messages and in the state; a renamed source is a new one."""
    api_key: HeaderSecret
    """The organisation's API key."""
    api_key_file: str | None = None
    """A file that holds the API key."""
    base_url: BaseUrl = "https://api.allium.so"
    """Where the API is."""
    insecure_http: bool = False
    """Whether the API key may go over plain http to another machine."""
    job_link: Annotated[str, AfterValidator(_job_link), OPTIONAL_URL_SCHEMA] = ""
    """The page that a message's title leads to; `{job_id}` in it stands for the job's id."""
    poll_every: PositiveDuration = timedelta(seconds=15)
    """The time between polls while any job is active."""
    poll_idle_every: PositiveDuration = timedelta(minutes=1)
    """The time between polls while no job is active."""
    timeout: PositiveDuration = timedelta(seconds=30)
    """The longest one poll may take."""
    max_body: Size = Bytes(256 * 2**20)
    """The most decoded bytes one reply may have."""
    proxy: OptionalUrl = ""
    """An HTTP proxy to go through."""
    ca_file: str = ""
    """A file of certificates to trust instead of the system's, as PEM."""
    first_poll: Literal["baseline", "announce"] = "baseline"
    """What the very first poll does: "baseline" only stores what it finds, "announce" also announces it."""
    stalled_after: Duration = timedelta(minutes=30)
    """How long an active job may show no progress; "0s" turns it off."""
    staging_stalled_after: Duration = timedelta(hours=6)
    """How long a job may be staging, which shows no progress; "0s" turns it off."""
    milestones: Milestones = Field(default_factory=lambda: [25, 50, 75])
    """Percentages of delivered chunks that are announced; [] turns it off."""
    down_after: PositiveDuration = timedelta(minutes=5)
    """How long no poll may be good before the source counts as down."""
    remind_every: Duration = timedelta(0)
    """How often a source that is down, a stalled and a failed job are announced again; "0s" turns it off."""
    jobs: list[JobRules] = Field(default_factory=list)
    """What is otherwise for some of its jobs."""

    @property
    def rules(self) -> RuleBook:
        """What is told of its jobs beside their status."""
        rules = Rules(
            stalled_after=self.stalled_after,
            staging_stalled_after=self.staging_stalled_after,
            milestones=tuple(self.milestones),
            remind_every=self.remind_every,
        )
        return RuleBook(rules, self.jobs)

    @property
    def account(self) -> tuple[str, str]:
        """What the API counts requests by: where it is, and the key."""
        return self.base_url.rstrip("/"), self.api_key.get_secret_value()


class SourceError(Exception):
    """A poll was no observation. `reason` is for people and holds no secret.

    `answered` says that there was an answer, if no good one: the API can be reached.
    """

    def __init__(
        self, fault: Fault, reason: str, *, retry_after: timedelta | None = None, answered: bool = True
    ) -> None:
        super().__init__(reason)
        self.answered = answered
        self.fault = fault
        self.reason = reason
        self.retry_after = retry_after


class Fingerprint(msgspec.Struct, frozen=True):
    """What tells an unchanged reply without reading it."""

    etag: str | None
    digest: bytes
    """Of the decoded body: XXH3, 128 bits."""


class Reply(msgspec.Struct, frozen=True):
    """A good reply; `listing` is None when it says the same as the known one."""

    fingerprint: Fingerprint
    listing: Listing | None


class AlliumSource:
    """One organisation's listing over HTTP.

    The turnstile is that of its key, if others share it. A 429 that says for how long holds them, too; after
    one that does not say, each is slowed down by its own alone.
    """

    def __init__(
        self,
        settings: SourceSettings,
        *,
        session: aiohttp.ClientSession,
        tls: ssl.SSLContext | bool,
        turnstile: Turnstile | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.name = settings.name
        self._url = f"{settings.base_url.rstrip('/')}/api/v1/beam/backfills"
        self._key = settings.api_key.get_secret_value()
        self.timeout = settings.timeout
        self._timeout = aiohttp.ClientTimeout(total=settings.timeout.total_seconds())
        self._max_body = settings.max_body
        self._proxy = settings.proxy or None
        self._session = session
        self._tls = tls
        self._turnstile = turnstile
        self._now = now

    async def turn(self) -> None:
        """Return when it may `fetch`: at once, unless others of the same key ask, too.

        Raises SourceError when that is no time soon.
        """
        if self._turnstile is None:
            return
        longest = max(self.timeout, _SOON)
        if (left := await self._turnstile.turn(longest.total_seconds())) > 0:
            reason = "the API asked another source of the same key to wait"
            raise SourceError("throttled", reason, retry_after=timedelta(seconds=left))

    async def fetch(self, known: Fingerprint | None) -> Reply:
        """Return the listing as it is now. Raises SourceError when the reply is no observation.

        With the fingerprint of the last processed reply an unchanged one is not decoded.
        """
        headers = {"X-API-Key": self._key, "Accept": "application/json", "User-Agent": USER_AGENT}
        if known is not None and known.etag is not None:
            headers["If-None-Match"] = known.etag
        try:
            async with self._session.get(
                self._url,
                headers=headers,
                allow_redirects=False,
                timeout=self._timeout,
                ssl=self._tls,
                proxy=self._proxy,
            ) as response:
                if response.status == 304 and known is not None and known.etag is not None:
                    return Reply(known, None)
                if response.status != 200:
                    raise await self._refusal(response)
                body, digest = await read_body(response, self._max_body)
                etag = response.headers.get("ETag")
        except TooLargeError as error:
            raise SourceError("failed", "the reply is larger than max_body allows") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise SourceError("failed", describe_fault(error), answered=False) from error
        fingerprint = Fingerprint(etag, digest)
        if known is not None and known.digest == digest:
            return Reply(fingerprint, None)
        try:
            return Reply(fingerprint, await asyncio.to_thread(read_listing, body))
        except ListingError as error:
            raise SourceError("failed", str(error)) from error

    async def _refusal(self, response: aiohttp.ClientResponse) -> SourceError:
        status = response.status
        if status in (401, 403):
            return SourceError(
                "refused", f"the API key of source {self.name} was refused ({status}); is api_key right?"
            )
        if 300 <= status < 400 and status != 304:
            return SourceError("failed", f"the API answered {status}, a redirect; is base_url right?")
        words = shown(_error_message(await read_start(response, _READ_OF_ERROR)), [self._key])
        reason = f"the API answered {status}" + (f": {words}" if words else "")
        wait = retry_after(response, self._now())
        if status == 429 and wait is not None and self._turnstile is not None:
            self._turnstile.hold(wait.total_seconds())
        return SourceError("throttled" if status == 429 else "failed", reason, retry_after=wait)


def _error_message(body: bytes) -> str:
    """Return what an error body says; Allium's vary between `message`, `detail`, `error` and plain text."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        text = body.decode(errors="replace").strip()
        return "" if text.startswith("<") else text
    if isinstance(value, dict):
        for key in ("message", "detail", "error"):
            if isinstance(value.get(key), str):
                return str(value[key])
    return ""
