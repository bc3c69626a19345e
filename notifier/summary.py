"""What happened to a job, in one line for people."""

from datetime import datetime, timedelta

from notifier.duration import spell_duration
from notifier.element import Details
from notifier.model import is_active

_NAME_LENGTH = 150
_JOINERS = "\u200c\u200d"  # they make one emoji of several, and shape Persian and Indic words
_ERROR_LENGTH = 300


def summarize(
    *,
    job_id: str,
    status: str,
    previous_status: str | None,
    details: Details,
    first_seen: datetime,
    now: datetime,
) -> str:
    """Return a line such as `USDC transfers Jan 2024 completed in 3h 12m (1000 chunks)`."""
    name = job_title(details, job_id)
    took = spell_duration(_age(details, first_seen, now))
    again = " again" if previous_status is not None and not is_active(previous_status) else ""
    match status:
        case "staging":
            words = f"is staging{again}"
        case "transporting":
            words = f"is transporting{again}{_chunks(details)}"
        case "completed":
            words = f"completed in {took}{_chunks(details)}"
        case "failed":
            words = f"failed after {took}{_reached(details)}{_error(details)}"
        case "cancelled":
            words = f"was cancelled after {took}{_reached(details)}"
        case _:
            words = f"is now {one_line(status, _NAME_LENGTH) or 'of an empty status'}"
    return f"{name} {words}"


def say_progress(details: Details, job_id: str) -> str:
    """Return a line such as `USDC transfers Jan 2024 is at 50 % (500 of 1000 chunks)`."""
    total, left = details.num_chunks, details.chunks_left
    done = "" if total is None or left is None else f" ({max(0, total - left)} of {total} chunks)"
    return f"{job_title(details, job_id)} is{_reached(details)}{done}"


def say_stall(details: Details, job_id: str, *, status: str, lasted: timedelta, again: bool = False) -> str:
    """Return a line such as `USDC transfers Jan 2024 has not moved for 30m at 42.3 %`."""
    still = "still " if again else ""
    name, length = job_title(details, job_id), spell_duration(lasted)
    if status == "staging":
        return f"{name} {still}has been staging for {length}"
    return f"{name} {still}has not moved for {length}{_reached(details)}"


def say_failed_still(details: Details, job_id: str, *, lasted: timedelta) -> str:
    """Return a line such as `USDC transfers Jan 2024 failed 2h ago and is still failed: no memory`."""
    length = spell_duration(lasted)
    return f"{job_title(details, job_id)} failed {length} ago and is still failed{_error(details)}"


def say_resumed(details: Details, job_id: str, *, lasted: timedelta | None = None) -> str:
    """Return a line such as `USDC transfers Jan 2024 moves again after 45m at 43 %`."""
    after = "" if lasted is None else f" after {spell_duration(lasted)}"
    return f"{job_title(details, job_id)} moves again{after}{_reached(details)}"


def say_removed(details: Details, job_id: str, *, status: str) -> str:
    """Return a line such as `USDC transfers Jan 2024 is no longer listed; it was transporting at 42.3 %`."""
    was = one_line(status, _NAME_LENGTH) or "of an empty status"
    return f"{job_title(details, job_id)} is no longer listed; it was {was}{_reached(details)}"


def say_listed_again(details: Details, job_id: str, *, status: str) -> str:
    """Return a line such as `USDC transfers Jan 2024 is listed again: transporting at 42.3 %`."""
    now = one_line(status, _NAME_LENGTH) or "of an empty status"
    return f"{job_title(details, job_id)} is listed again: {now}{_reached(details)}"


def job_title(details: Details, job_id: str) -> str:
    """Return what a job is called in messages: its name, else its id."""
    return one_line(details.job_name or "", _NAME_LENGTH) or f"job {one_line(job_id, _NAME_LENGTH)}"


def headline(summary: str, details: Details, job_id: str) -> tuple[str, str]:
    """Return a summary's job and what happened to it, without an error: both are shown elsewhere."""
    name = job_title(details, job_id)
    words = summary.removesuffix(_error(details))
    return (name, words.removeprefix(name).strip()) if words.startswith(name) else ("", words)


def percent_done(details: Details) -> float | None:
    """Return the share of delivered chunks in percent, one decimal; 100.0 only when all are delivered."""
    total, left = details.num_chunks, details.chunks_left
    if total is None or left is None or total == 0:
        return None
    done = max(0, total - left)
    return 100.0 if done == total else min(99.9, round(100 * done / total, 1))


def whole_percent_done(details: Details) -> int | None:
    """Return the share of delivered chunks in percent, rounded down."""
    total, left = details.num_chunks, details.chunks_left
    if total is None or left is None or total == 0:
        return None
    return 100 * max(0, total - left) // total


def one_line(text: str, length: int) -> str:
    """Return the text on one line without control characters, at most `length` characters."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() or c in _JOINERS else " " for c in text)
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


def counted(count: int, one: str, many: str = "") -> str:
    """Return a number of things, such as `1 job` and `1,000 jobs`."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def _age(details: Details, first_seen: datetime, now: datetime) -> timedelta:
    start = details.time_created or first_seen
    end = details.time_completed or now
    return end - start if end >= start else timedelta(0)


def _chunks(details: Details) -> str:
    if details.num_chunks is None:
        return ""
    return f" ({details.num_chunks} chunk{'' if details.num_chunks == 1 else 's'})"


def _error(details: Details) -> str:
    error = one_line(details.error_message or "", _ERROR_LENGTH)
    return f": {error}" if error else ""


def _reached(details: Details) -> str:
    percent = percent_done(details)
    return "" if percent is None else f" at {percent:g} %"
