"""Who has signed in: cookies that prove themselves, so nothing is kept."""

import base64
import hashlib
import hmac
import time
from collections.abc import Callable

COOKIE = "notifier_session"
LASTS_SECONDS = 7 * 24 * 3600


class Sessions:
    """Makes and knows sessions. Who changes the token ends all of them; a restart ends none."""

    def __init__(self, token: str, now: Callable[[], float] = time.time) -> None:
        self._key = hashlib.sha256(b"session of backfill-notifier\0" + token.encode()).digest()
        self._now = now

    def make(self) -> str:
        """Return the cookie of a session that begins now."""
        until = str(int(self._now()) + LASTS_SECONDS)
        return f"{until}.{self._proof(until)}"

    def holds(self, cookie: str) -> bool:
        """Return whether this is the cookie of a session that was made with this token, and is not over."""
        until, _, proof = cookie.partition(".")
        if not hmac.compare_digest(proof.encode(errors="replace"), self._proof(until).encode()):
            return False
        return self._now() < int(until)

    def _proof(self, until: str) -> str:
        digest = hmac.digest(self._key, until.encode(errors="replace"), "sha256")
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")
