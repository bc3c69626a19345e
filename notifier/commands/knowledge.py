"""Where commands learn what is known: from the daemon that holds the state, else from its file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import urlencode

from notifier import __version__
from notifier.catalogue import Catalogue
from notifier.commands.link import Link, find_daemon
from notifier.deliveries import DeliveryItem, list_deliveries
from notifier.items import JobItem, MuteItem, count_mutes, list_jobs, list_mutes
from notifier.model import DeliveryState, utc_now
from notifier.page import LARGEST_LIMIT, Page
from notifier.records import Records
from notifier.store.reading import read_state
from notifier.views import Status, list_sources, list_targets

_Item = TypeVar("_Item")


class Knowledge(Protocol):
    """What commands ask for. All of it raises StoreError when there is no answer."""

    def status(self) -> Status:
        """Return what the notifier is doing."""

    def jobs(self, wanted: int | None) -> Iterator[JobItem]:
        """Yield all jobs, newest first; `wanted` is how many of them will be looked at."""

    def mutes(self) -> Iterator[MuteItem]:
        """Yield the mutes that hold, newest first."""

    def deliveries(self, state: DeliveryState | None, wanted: int | None) -> Iterator[DeliveryItem]:
        """Yield all deliveries (of a state), newest first."""


def find_knowledge(state: Path) -> Knowledge:
    """Return what answers for a state; it raises StoreError, as this does, when nothing does."""
    link = find_daemon(state)
    return _File(state) if link is None else _Daemon(link)


class _Daemon:
    def __init__(self, link: Link) -> None:
        self._link = link

    def status(self) -> Status:
        return self._link.get("/api/v1/status", Status)

    def jobs(self, wanted: int | None) -> Iterator[JobItem]:
        return self._pages("/api/v1/jobs", {}, Page[JobItem], wanted)

    def mutes(self) -> Iterator[MuteItem]:
        return self._pages("/api/v1/mutes", {}, Page[MuteItem], None)

    def deliveries(self, state: DeliveryState | None, wanted: int | None) -> Iterator[DeliveryItem]:
        query: dict[str, str] = {} if state is None else {"state": state}
        return self._pages("/api/v1/deliveries", query, Page[DeliveryItem], wanted)

    def _pages(
        self, path: str, query: dict[str, str], type_: type[Page[_Item]], wanted: int | None
    ) -> Iterator[_Item]:
        cursor: dict[str, str] | None = {}
        limit = LARGEST_LIMIT if wanted is None else min(wanted, LARGEST_LIMIT)
        while cursor is not None:
            words = urlencode({**query, "limit": limit, **cursor})
            page = self._link.get(f"{path}?{words}", type_)
            yield from page.items
            cursor = None if page.next_cursor is None else {"cursor": page.next_cursor}


class _File:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._records = Records()
        self._records.load(read_state(path), str(path))
        self._catalogue = Catalogue(self._records)

    def status(self) -> Status:
        return Status(
            running=False,
            version=__version__,
            state=str(self._path),
            sources=list_sources(self._catalogue),
            targets=list_targets(self._catalogue),
            mutes=count_mutes(self._records, utc_now()),
        )

    def jobs(self, wanted: int | None) -> Iterator[JobItem]:
        return iter(list_jobs(self._catalogue, now=utc_now(), limit=wanted or _ALL).items)

    def mutes(self) -> Iterator[MuteItem]:
        return iter(list_mutes(self._records, now=utc_now(), limit=_ALL).items)

    def deliveries(self, state: DeliveryState | None, wanted: int | None) -> Iterator[DeliveryItem]:
        return iter(list_deliveries(self._catalogue, state=state, limit=wanted or _ALL).items)


_ALL = 10**9
