"""How events look in Slack, and which of them matter most. Pure."""

import msgspec


class Look(msgspec.Struct, frozen=True):
    """An emoji, the colour of the bar beside a message, and what follows a number of such events."""

    emoji: str
    colour: str
    words: str = ""
    """"" when the type itself says it."""


_LOOKS = {
    "backfill.staging": Look("📦", "#868e96"),
    "backfill.transporting": Look("🚚", "#1d9bd1"),
    "backfill.completed": Look("✅", "#2eb67d"),
    "backfill.failed": Look("❌", "#e01e5a"),
    "backfill.cancelled": Look("🚫", "#ecb22e"),
    "backfill.progress": Look("📈", "#1d9bd1", "progressed"),
    "backfill.stalled": Look("⏳", "#ecb22e"),
    "backfill.resumed": Look("▶️", "#1d9bd1"),
    "backfill.removed": Look("❓", "#ecb22e", "no longer listed"),
    "source.down": Look("🚨", "#e01e5a", "source down"),
    "source.up": Look("🟢", "#2eb67d", "source up"),
    "target.down": Look("🚨", "#e01e5a", "target down"),
    "target.up": Look("🟢", "#2eb67d", "target up"),
    "delivery.dead": Look("📭", "#e01e5a", "given up"),
}
_UNKNOWN = Look("🔹", "#868e96")

_BY_WEIGHT = (
    "backfill.failed",
    "source.down",
    "target.down",
    "delivery.dead",
    "backfill.stalled",
    "backfill.removed",
    "backfill.cancelled",
    "",  # what nobody knows yet
    "source.up",
    "target.up",
    "backfill.resumed",
    "backfill.completed",
    "backfill.transporting",
    "backfill.staging",
    "backfill.progress",
)
_WEIGHTS = {type_: place for place, type_ in enumerate(_BY_WEIGHT)}


def look_of(type_: str) -> Look:
    """Return how events of this type look."""
    return _LOOKS.get(type_, _UNKNOWN)


def words_of(type_: str) -> str:
    """Return what follows a number of events of this type: `failed`, `source down`, a foreign status."""
    return look_of(type_).words or type_.removeprefix("backfill.")


def rank_of(type_: str) -> int:
    """Return the place of this type of event among all: what matters most comes first."""
    return _WEIGHTS.get(type_, _WEIGHTS[""])
