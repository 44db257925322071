"""Turns tokens into text as they come, and ends it before a stop string.

What may become part of a stop string is held back, and so are bytes that are not a whole character
yet: whoever has received a part of the text never has to take it back.
"""

from __future__ import annotations

import codecs
import math
from collections.abc import Sequence

_Decoder = codecs.getincrementaldecoder("utf-8")


class TextStream:
    """The text of one sequence of tokens. Bytes that are not UTF-8 become U+FFFD."""

    __slots__ = ("_decoder", "_held", "_in_word", "_stop", "_words_left", "found_stop", "released")

    def __init__(self, stop: Sequence[str] = (), max_words: int = 0) -> None:
        """The text ends before a string of `stop`, and after `max_words` words, unless it is 0."""
        self.released = 0
        """The number of characters returned so far."""
        self.found_stop = False
        """Whether a stop string was found."""
        self._stop = tuple(stop)
        self._decoder = _Decoder("replace")
        self._held = ""
        self._words_left = max_words or math.inf
        self._in_word = False

    @property
    def stopped(self) -> bool:
        """Whether the text has ended, by a stop string or the number of words."""
        return self.found_stop or self._words_left <= 0

    @property
    def length(self) -> int:
        """The number of characters decoded so far, with those that are held back."""
        return self.released + len(self._held)

    def add(self, content: bytes, *, may_stop: bool = True) -> str:
        """The text to send after these bytes. Without `may_stop`, no stop string is looked for."""
        return self._release(self._decoder.decode(content), may_stop)

    def finish(self) -> str:
        """The rest of the text, when there are no more bytes."""
        text = self._release(self._decoder.decode(b"", True), True)
        if self.stopped:
            return text
        rest, self._held = self._held, ""
        self.released += len(rest)
        return text + rest

    def _release(self, new: str, may_stop: bool) -> str:
        if self.stopped:
            return ""
        held, keep = self._held + new, 0
        if self._stop and may_stop and held:
            starts = [start for stop in self._stop if (start := held.find(stop)) >= 0]
            if starts:
                self.found_stop, keep = True, len(held) - min(starts)
            else:
                keep = max(count_begun(held, stop) for stop in self._stop)
        text = self._cut_words(held[: len(held) - keep])
        self._held = "" if self.stopped else held[len(held) - keep :]
        self.released += len(text)
        return text

    def _cut_words(self, text: str) -> str:
        """The text up to the end of the last word, if that is in it."""
        if self._words_left == math.inf:
            return text
        for at, char in enumerate(text):
            if self._in_word and char.isspace():
                self._words_left -= 1
                if self._words_left <= 0:
                    return text[:at]
            self._in_word = not char.isspace()
        return text


def count_begun(text: str, stop: str) -> int:
    """How many characters at the end of `text` are the beginning of `stop`."""
    for count in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:count]):
            return count
    return 0
