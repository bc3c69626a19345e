"""Which words of others may be labels of metrics: they can invent any number of them."""

from collections.abc import Collection

_MOST = 30
_LONGEST = 60


class Vocabulary:
    """Lets the known words pass and the first thirty others; what is too much, or too long, is `other`."""

    def __init__(self, known: Collection[str], other: str) -> None:
        self.known = tuple(known)
        self._other = other
        self._words = set(known)

    def __call__(self, word: str) -> str:
        """Return what stands for a word."""
        if word in self._words:
            return word
        if len(self._words) >= len(self.known) + _MOST or len(word) > _LONGEST:
            return self._other
        self._words.add(word)
        return word
