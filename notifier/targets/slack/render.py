"""Events as Slack messages, by what the config says of mentions and links. Pure."""

from collections.abc import Mapping, Sequence

import msgspec

from notifier.model import Event, JobRecord
from notifier.payload import Payload, read_payload
from notifier.sending import SendError
from notifier.targets.slack.digest import render_digest, render_plain_digest
from notifier.targets.slack.message import Message, as_plain_text, mention_for, render

DIGEST_LIMIT = 1000
"""The most events in one digest."""


class Renderer:
    """What a target's messages look like; `job_links` by the names of sources."""

    def __init__(self, *, job_links: Mapping[str, str], mentions: Mapping[str, str]) -> None:
        self._job_links = job_links
        self._mentions = mentions

    def message(
        self, events: Sequence[Event], record: JobRecord | None = None, *, plain: bool = False
    ) -> Message:
        """Return an event of a job, as its record is, as a message, several as a digest.

        Raises SendError without a payload.
        """
        payload = payload_of(events[0])
        link = self.link_of(payload.data.source)
        if len(events) > 1:
            draw = render_plain_digest if plain else render_digest
            return draw(events, source=payload.data.source, job_link=link, mentions=self._mentions)
        message = render(payload, job_link=link, mention=self.mention(payload), record=record)
        return as_plain_text(message) if plain else message

    def link_of(self, source: str) -> str:
        """Return where the title of a source's job leads, before its id is put in."""
        return self._job_links.get(source, "")

    def mention(self, payload: Payload) -> str:
        """Return whom the event mentions."""
        return mention_for(payload.type, self._mentions)


def payload_of(event: Event) -> Payload:
    """Return what an event tells. Raises SendError when that is no longer stored."""
    if event.payload is msgspec.UNSET:
        raise SendError("the payload is no longer stored", refused="message")
    return read_payload(event.payload)
