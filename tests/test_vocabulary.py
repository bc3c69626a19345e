"""Words of others as labels."""

from notifier.vocabulary import Vocabulary


def test_known_words_and_the_first_thirty_others_pass() -> None:
    vocabulary = Vocabulary(["staging"], "other")
    words = [f"word-{number}" for number in range(30)]
    assert [vocabulary(word) for word in words] == words
    assert vocabulary("one-more") == "other"
    assert [vocabulary(word) for word in (*words, "staging")] == [*words, "staging"]


def test_a_word_that_is_too_long_does_not_pass() -> None:
    assert Vocabulary([], "other")("x" * 61) == "other"
    assert Vocabulary([], "other")("x" * 60) == "x" * 60
