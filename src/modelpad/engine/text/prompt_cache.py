"""Remembers the states after texts that were read, so that no prompt is read twice.

A recurrent model's state is some kilobytes, so that thousands of prompts fit. What is found is
exactly what reading the text again would give.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from modelpad.engine.text.states import Array, StateTable, TextState

MIN_TOKENS = 8  # of a text worth remembering
ENTRY_BYTES = 1024  # of the objects and allocations of an entry, beside its arrays' content


@dataclass(frozen=True, slots=True)
class Remembered:
    """The state after a text, and the logits of the token that follows, if they are known."""

    state: TextState
    logits: Array | None
    bytes: int


class PromptCache:
    """The least recently used texts are forgotten when there are more than `max_bytes`."""

    def __init__(self, states: StateTable, max_bytes: int) -> None:
        self.used = 0
        self._states = states
        self._max_bytes = max_bytes
        self._entries: OrderedDict[bytes, Remembered] = OrderedDict()
        self._lengths: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, tokens: Sequence[int]) -> tuple[int, Remembered] | None:
        """The longest beginning of `tokens` that is remembered, by its length.

        The whole is found only if the logits behind it are known. The state must be copied.
        """
        if not self._lengths:
            return None
        body = np.array(tokens, np.int32).tobytes()
        for length in sorted(self._lengths, reverse=True):
            if length > len(tokens):
                continue
            key = body[: 4 * length]
            found = self._entries.get(key)
            if found is not None and (length < len(tokens) or found.logits is not None):
                self._entries.move_to_end(key)
                return length, found
        return None

    def add(self, tokens: Sequence[int], state: TextState, logits: Array | None = None) -> None:
        """Remembers the state after `tokens`, as a copy."""
        if len(tokens) < MIN_TOKENS or state.length != len(tokens):
            return
        key = np.array(tokens, np.int32).tobytes()
        if key in self._entries:
            self._entries.move_to_end(key)
            return
        size = ENTRY_BYTES + len(key) + self._states.count_bytes(state)
        size += 0 if logits is None else logits.nbytes
        if size > self._max_bytes:
            return
        copied = None if logits is None else logits.copy()
        self._entries[key] = Remembered(self._states.copy(state), copied, size)
        self._lengths[len(tokens)] += 1
        self.used += size
        while self.used > self._max_bytes:
            self._forget()

    def clear(self) -> None:
        """Forgets everything."""
        self._entries.clear()
        self._lengths.clear()
        self.used = 0

    def _forget(self) -> None:
        key, entry = self._entries.popitem(last=False)
        self.used -= entry.bytes
        length = len(key) // 4
        self._lengths[length] -= 1
        if not self._lengths[length]:
            del self._lengths[length]
