"""What a job's own page shows, from its record: pure."""

from collections.abc import Iterator
from datetime import datetime

import msgspec

from notifier.catalogue import Catalogue
from notifier.deliveries import DeliveryItem, show_deliveries
from notifier.element import Details, read_details
from notifier.hours import QuietNow
from notifier.model import JobKey
from notifier.web.board import Row, make_row

_EVENTS = 200
"""The last ones; the API has all that are kept."""


class Dossier(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known about a job."""

    row: Row
    deliveries: dict[str, DeliveryItem]
    """By their ids."""
    facts: list[tuple[str, str]]
    element: str
    """As the API returned it, indented."""


def make_dossier(catalogue: Catalogue, key: JobKey, quiet: QuietNow) -> Dossier | None:
    """Return all that is known about a job; None when nothing is."""
    row, record = make_row(catalogue.records, key, quiet.now, _EVENTS), catalogue.records.job(key)
    if row is None or record is None:
        return None
    element = record.snapshot.element
    return Dossier(
        row=row,
        deliveries={each.id: each for each in show_deliveries(key, record, quiet)},
        facts=[*_facts(read_details(element))],
        element=msgspec.json.format(bytes(element), indent=2).decode(),
    )


def _facts(details: Details) -> Iterator[tuple[str, str]]:
    """Yield what a job was ordered to do, each fact with its name."""
    if details.table is not None:
        yield "Table", details.table
    if details.backfill_start is not None or details.backfill_end is not None:
        column = f" by {details.partition_key}" if details.partition_key else ""
        yield "Window", f"{_bound(details.backfill_start)} → {_bound(details.backfill_end)}{column}"
    if details.filter_column is not None:
        yield "Filter", f"{details.filter_column} in {_several(details.filter_values)}"
    named = [" ".join(filter(None, (each.type, each.name))) for each in details.destinations]
    if any(named):
        yield "Destinations", _several(tuple(filter(None, named)))
    if details.num_chunks is not None:
        yield "Chunks", f"{details.num_chunks:,}"


def _bound(value: str | None) -> str:
    """Return a bound of the window: a day where that says it all."""
    if value is None:
        return "…"
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        return value
    return f"{time:%Y-%m-%d}" if time.time() == datetime.min.time() else value


def _several(values: tuple[str, ...]) -> str:
    shown = ", ".join(values[:10])
    return f"{shown} and {len(values) - 10:,} more" if len(values) > 10 else shown
