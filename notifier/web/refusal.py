"""What could not be answered, in words: JSON for programs, a page with a way back for people."""

from aiohttp import web

from notifier.web.frame import page, root_of
from notifier.web.reply import Error, reply

_FOR_PROGRAMS = ("/api/", "/metrics", "/healthz", "/readyz")
"""How the addresses begin that are never pages."""
_TITLES = {
    400: "That cannot be shown",
    401: "Sign in first",
    403: "That is not allowed",
    404: "There is no such page",
    405: "That cannot be done here",
    503: "No answer just now",
}
_WORDS = {
    404: "Nothing is at this address.",
    503: "The notifier could not answer this.",
}
"""What is said where the error itself says no more than its name."""


def refuse(request: web.Request, words: str, status: int) -> web.Response:
    """Return the answer that says so: as a page to who asked for one."""
    if request.path.startswith(_FOR_PROGRAMS) or "text/html" not in request.headers.get("Accept", ""):
        return reply(Error(words), status)
    has_words = not words.startswith(f"{status}: ")
    context = {
        "root": root_of(request.raw_path),
        "title": _TITLES.get(status, "That did not work"),
        "words": words if has_words else _WORDS.get(status, ""),
        "is_passing": status == 503,
    }
    return page("refusal.html", context, status)
