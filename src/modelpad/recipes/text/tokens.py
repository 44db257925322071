"""Texts as tokens: a byte-level BPE vocabulary, and corpora of token numbers in one array."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer

START = 0
START_TOKEN = "<|endoftext|>"
VOCABULARY = 8192
MAX_VOCABULARY = 1 << 16
PIECE = 1000  # texts that are encoded at once

Numbers = NDArray[np.uint16]


@dataclass(frozen=True, slots=True, eq=False)
class Corpus:
    """Token numbers of texts, one after the other, each after a start token.

    `tokens` uint16 (N,); text k is `tokens[offsets[k]:offsets[k + 1]]`, `offsets` int64 (K + 1,).
    `bytes_of` and `words_of` int64 (K,) count each text's bytes in UTF-8, and its words between
    white space.
    """

    tokens: Numbers
    offsets: NDArray[np.int64]
    bytes_of: NDArray[np.int64]
    words_of: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def text(self, index: int) -> Numbers:
        """The tokens of a text, with the start token."""
        return self.tokens[self.offsets[index] : self.offsets[index + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The number of tokens of each text, int64 (K,)."""
        return np.diff(self.offsets)

    def shuffled(self, seed: int) -> Numbers:
        """All tokens, with the texts in a random order."""
        order = np.random.default_rng(seed).permutation(len(self))
        return np.concatenate([self.text(index) for index in order.tolist()])

    def first(self, count: int) -> Corpus:
        """The first texts."""
        offsets = self.offsets[: count + 1]
        tokens = self.tokens[: offsets[-1]]
        return Corpus(tokens, offsets, self.bytes_of[:count], self.words_of[:count])

    def take(self, indices: NDArray[np.int64]) -> Corpus:
        """Some of the texts, in that order."""
        parts = [self.text(index) for index in indices.tolist()]
        return join_parts(parts, self.bytes_of[indices], self.words_of[indices])


def join_parts(
    parts: Sequence[Numbers], bytes_of: NDArray[np.int64], words_of: NDArray[np.int64]
) -> Corpus:
    """A corpus of the tokens of each text."""
    offsets = np.cumsum([0, *map(len, parts)], dtype=np.int64)
    tokens = np.concatenate(parts) if parts else np.empty(0, np.uint16)
    return Corpus(tokens, offsets, bytes_of, words_of)


def train_tokenizer(texts: Iterable[str], vocabulary: int = VOCABULARY) -> Tokenizer:
    """A byte-level BPE tokenizer (Sennrich et al. 2016; Radford et al. 2019); the same texts give
    the same one.

    Every text can be encoded, and decoded to the same bytes. There may be fewer tokens than
    `vocabulary` if there is little text.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[START_TOKEN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def load_tokenizer(content: str) -> Tokenizer:
    """The tokenizer in a `tokenizer.json`."""
    from tokenizers import Tokenizer

    return Tokenizer.from_str(content)


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> Corpus:
    """The texts as token numbers, each after the start token."""
    parts: list[Numbers] = []
    tokenizer.encode_special_tokens = True  # their names in a text are ordinary characters
    for piece in divide(texts):
        for encoded in tokenizer.encode_batch_fast(piece, add_special_tokens=False):
            parts.append(np.array([START, *encoded.ids], np.uint16))
    sizes = [len(text.encode("utf-8", "surrogatepass")) for text in texts]
    words = [len(text.split()) for text in texts]
    return join_parts(parts, np.array(sizes, np.int64), np.array(words, np.int64))


def divide(texts: Sequence[str]) -> Iterator[list[str]]:
    """The texts in lists of limited length."""
    for start in range(0, len(texts), PIECE):
        yield list(texts[start : start + PIECE])


def count_tokens(corpus: Corpus, vocabulary: int) -> NDArray[np.int64]:
    """How often each token occurs, int64 (V,)."""
    return np.bincount(corpus.tokens, minlength=vocabulary)
