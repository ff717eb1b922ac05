"""How text is compared: without case and accents, Vietnamese đ included, and word by word."""

import unicodedata
from html import escape


def folded(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in plain if not unicodedata.combining(char)).replace("đ", "d")


def words(text: str) -> list[str]:
    """The folded words of a text; punctuation and symbols only part them."""
    return _spaced(folded(text)).split()


def marked(text: str, wanted: list[str]) -> str | None:
    """The text as HTML, with `<em>` around its words that are wanted, the last one also as a beginning.

    None where it has none of them. What is marked is the text as it was written, accents and all.
    """
    # Folding goes character by character, so each folded one can be traced to where it came from.
    traced = [(char, at) for at, original in enumerate(text) for char in folded(original)]
    spaced = _spaced("".join(char for char, _ in traced))
    shown, done, position = "", 0, 0
    for word in spaced.split():
        position = spaced.index(word, position)
        begin, end = traced[position][1], traced[position + len(word) - 1][1] + 1
        position += len(word)
        if (word in wanted or word.startswith(wanted[-1])) and begin >= done:
            while end < len(text) and not folded(text[end]):  # accents that follow their letter
                end += 1
            shown += f"{escape(text[done:begin])}<em>{escape(text[begin:end])}</em>"
            done = end
    return shown + escape(text[done:]) if done else None


def _spaced(text: str) -> str:
    """With a space for all that is no letter, number or mark: some scripts write vowels as marks."""
    return "".join(char if unicodedata.category(char)[0] in "LNM" else " " for char in text)
