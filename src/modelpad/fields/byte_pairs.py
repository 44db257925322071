"""Byte-level byte-pair encoding, as in GPT-2: text to tokens and back, for serving.

Reads a `tokenizer.json` of the `tokenizers` library, and finds the same tokens. That library is not
used here: it is needed for training only, and would bring a client of a model hub along.

The method is from Sennrich et al. 2016 (https://arxiv.org/abs/1508.07909), on bytes as in Radford
et al. 2019.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from modelpad.errors import BundleInvalid
from modelpad.fields.token_patterns import GPT2, compile_pattern
from modelpad.foreign_json import (
    Json,
    as_list,
    as_object,
    integer_at,
    list_at,
    load_json,
    object_at,
    text_at,
)

MAX_VOCABULARY = 1_000_000
MAX_CACHED_WORDS = 50_000
MAX_CACHED_CHARS = 40  # of a word
MAX_SCANNED_BYTES = 64  # of a word whose pairs are searched one by one; else they are in a heap


def byte_characters() -> dict[str, int]:
    """The characters that stand for bytes in a vocabulary: printable ones, as GPT-2 chose them."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {
        chr(256 + place): byte for place, byte in enumerate(others)
    }


@dataclass(slots=True)
class ByteLevelTokenizer:
    """Turns text into tokens and tokens into bytes.

    `contents` are the bytes of each token, empty for a number that is no token. `pairs` is, for two
    adjacent tokens, how early they are merged and into which token; `bytes_to_tokens` the token of
    each byte. `added` are tokens with a text of their own, `special` those of them that only the
    model's author may use, such as the end of a text.
    """

    contents: list[bytes]
    pairs: Mapping[tuple[int, int], tuple[int, int]]
    bytes_to_tokens: Sequence[int]
    pattern: str = GPT2
    added: Mapping[str, int] = field(default_factory=dict)
    special: frozenset[int] = frozenset()
    merges_whole_words: bool = False
    _words: dict[str, tuple[int, ...]] = field(default_factory=dict, init=False, repr=False)
    _whole: dict[bytes, int] = field(default_factory=dict, init=False, repr=False)
    _ascii: re.Pattern[str] | None = field(default=None, init=False)
    _unicode: re.Pattern[str] | None = field(default=None, init=False)
    _split_added: re.Pattern[str] | None = field(default=None, init=False)
    _split_all: re.Pattern[str] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._ascii = compile_pattern(self.pattern, ascii_only=True)
        plain = {text for text, token in self.added.items() if token not in self.special}
        self._split_added = _match_any(plain)
        self._split_all = _match_any(self.added)
        if self.merges_whole_words:
            self._whole = {content: token for token, content in enumerate(self.contents)}

    @property
    def size(self) -> int:
        """The number of tokens; each is below it."""
        return len(self.contents)

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """The tokens of a text. Surrogate escapes (PEP 383) stand for bytes that are not UTF-8.

        With `special`, the names of special tokens become these tokens; a client's text must not.
        """
        splitter = self._split_all if special else self._split_added
        if splitter is None:
            return self._encode_plain(text)
        tokens: list[int] = []
        for place, part in enumerate(splitter.split(text)):
            if place % 2:
                tokens.append(self.added[part])
            else:
                tokens += self._encode_plain(part)
        return tokens

    def decode(self, tokens: Iterable[int]) -> bytes:
        """The bytes of tokens; special ones and numbers that are no tokens have none."""
        contents, special, size = self.contents, self.special, len(self.contents)
        return b"".join(
            contents[token] for token in tokens if 0 <= token < size and token not in special
        )

    def name(self, token: int) -> str:
        """What a token stands for, as text; special tokens by their name."""
        return self.contents[token].decode("utf-8", "replace") if token < self.size else ""

    def _encode_plain(self, text: str) -> list[int]:
        words = self._words
        if len(words) > MAX_CACHED_WORDS:
            words.clear()
        tokens: list[int] = []
        for word in self._divide(text):
            known = words.get(word)
            if known is None:
                known = self._merge(word.encode("utf-8", "surrogateescape"))
                if len(word) <= MAX_CACHED_CHARS:
                    words[word] = known
            tokens += known
        return tokens

    def _divide(self, text: str) -> Iterator[str]:
        """The words of a text: what the pattern matches, and what is between the matches."""
        pattern = self._ascii
        if not text.isascii():
            if self._unicode is None:
                self._unicode = compile_pattern(self.pattern)
            pattern = self._unicode
        assert pattern is not None
        end = 0
        for match in pattern.finditer(text):
            start, stop = match.span()
            if start > end:
                yield text[end:start]
            if stop > start:
                yield text[start:stop]
            end = stop
        if end < len(text):
            yield text[end:]

    def _merge(self, word: bytes) -> tuple[int, ...]:
        whole = self._whole.get(word)
        if whole is not None:
            return (whole,)
        tokens = [self.bytes_to_tokens[byte] for byte in word]
        if len(tokens) > MAX_SCANNED_BYTES:
            return merge_long(tokens, self.pairs)
        return merge_short(tokens, self.pairs)


def merge_short(
    tokens: list[int], pairs: Mapping[tuple[int, int], tuple[int, int]]
) -> tuple[int, ...]:
    """Merges the earliest pair, the leftmost of equal ones, until none is left."""
    while len(tokens) > 1:
        best, place = None, 0
        for at, pair in enumerate(pairwise(tokens)):
            found = pairs.get(pair)
            if found is not None and (best is None or found[0] < best[0]):
                best, place = found, at
        if best is None:
            break
        tokens[place : place + 2] = [best[1]]
    return tuple(tokens)


def merge_long(
    tokens: list[int], pairs: Mapping[tuple[int, int], tuple[int, int]]
) -> tuple[int, ...]:
    """The same with a heap, in time n log n: a word may be as long as a request."""
    count = len(tokens)
    after, before = [*range(1, count + 1)], [*range(-1, count - 1)]
    heap: list[tuple[int, int, int, int]] = []

    def push(left: int) -> None:
        right = after[left]
        if right < count:
            found = pairs.get((tokens[left], tokens[right]))
            if found is not None:
                heapq.heappush(heap, (found[0], left, right, found[1]))

    for place in range(count - 1):
        push(place)
    while heap:
        rank, left, right, merged = heapq.heappop(heap)
        if tokens[left] < 0 or tokens[right] < 0 or after[left] != right:
            continue
        if pairs.get((tokens[left], tokens[right])) != (rank, merged):
            continue
        tokens[left], tokens[right] = merged, -1
        after[left] = after[right]
        if after[left] < count:
            before[after[left]] = left
        if before[left] >= 0:
            push(before[left])
        push(left)
    return tuple(token for token in tokens if token >= 0)


def load_tokenizer(body: bytes, file: str = "tokenizer.json") -> ByteLevelTokenizer:
    """Reads a `tokenizer.json`.

    Raises `BundleInvalid` if it is damaged, or is not byte-level byte-pair encoding.
    """
    try:
        record = as_object(load_json(body), "the tokenizer")
        return _read(record)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise BundleInvalid(
            f"{file} is not a byte-level BPE tokenizer: {type(error).__name__} {error}.",
            hint="Write the bundle again from its source model.",
        ) from error


def _read(record: Mapping[str, Json]) -> ByteLevelTokenizer:
    model = object_at(record, "model")
    if model.get("type", "BPE") != "BPE":
        raise ValueError(f"the model is {model.get('type')!r:.40}")
    unsupported = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")
    for option in unsupported:
        if model.get(option):
            raise ValueError(f"{option} is not supported")
    if record.get("normalizer") is not None:
        raise ValueError("a normalizer is not supported")
    if text_at(as_object(record.get("decoder"), "decoder"), "type") != "ByteLevel":
        raise ValueError("the decoder is not ByteLevel")
    vocabulary = {name: _token(token) for name, token in object_at(model, "vocab").items()}
    added = [
        as_object(each, "an added token")
        for each in as_list(record.get("added_tokens") or [], "added_tokens")
    ]
    names = {text_at(each, "content"): integer_at(each, "id") for each in added}
    special = {integer_at(each, "id") for each in added if each.get("special")}
    if any(each.get("lstrip") or each.get("rstrip") or each.get("single_word") for each in added):
        raise ValueError("an added token takes the spaces around it")
    if "" in names:
        raise ValueError("an added token is empty")
    contents = _list_contents(vocabulary, {name: _token(token) for name, token in names.items()})
    characters = byte_characters()
    return ByteLevelTokenizer(
        contents=contents,
        pairs=_read_merges(list_at(model, "merges"), vocabulary),
        bytes_to_tokens=_order([(byte, vocabulary[char]) for char, byte in characters.items()]),
        pattern=_read_pattern(as_object(record.get("pre_tokenizer"), "pre_tokenizer")),
        added=names,
        special=frozenset(special),
        merges_whole_words=bool(model.get("ignore_merges")),
    )


def _token(value: Json) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < MAX_VOCABULARY:
        raise ValueError(f"{value!r:.40} is not a token")
    return value


def _order(pairs: list[tuple[int, int]]) -> list[int]:
    return [token for _, token in sorted(pairs)]


def _list_contents(vocabulary: Mapping[str, int], added: Mapping[str, int]) -> list[bytes]:
    contents = [b""] * (1 + max([*vocabulary.values(), *added.values()]))
    plain = {name: token for name, token in vocabulary.items() if name not in added}
    together, start = _read_bytes("".join(plain)), 0
    for name, token in plain.items():
        contents[token] = together[start : start + len(name)]
        start += len(name)
    for name, token in added.items():
        contents[token] = name.encode()
    return contents


def _read_bytes(text: str) -> bytes:
    """The bytes that characters stand for. Raises `KeyError` for one that stands for none."""
    characters = byte_characters()
    unknown = {*text} - characters.keys()
    if unknown:
        raise KeyError(min(unknown))
    return text.translate({ord(char): byte for char, byte in characters.items()}).encode("latin-1")


def _read_merges(
    merges: list[Json], vocabulary: Mapping[str, int]
) -> dict[tuple[int, int], tuple[int, int]]:
    """The pairs with their ranks. Older files have a string with a space for each pair."""
    pairs: dict[tuple[int, int], tuple[int, int]] = {}
    for rank, merge in enumerate(merges):
        parts = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(parts, list) or len(parts) != 2:
            raise ValueError(f"the merge {rank} is not a pair")
        left, right = str(parts[0]), str(parts[1])
        pairs[vocabulary[left], vocabulary[right]] = rank, vocabulary[left + right]
    return pairs


def _read_pattern(record: Mapping[str, Json]) -> str:
    """The pattern by which a text is divided before its words are encoded."""
    steps = [record]
    if record.get("type") == "Sequence":
        steps = [as_object(each, "a step") for each in list_at(record, "pretokenizers")]
    last = steps[-1]
    if last.get("type") != "ByteLevel" or last.get("add_prefix_space"):
        raise ValueError("the pre-tokenizer is not ByteLevel without a prefix space")
    own = last.get("use_regex", True)
    if len(steps) == 1 and own:
        return GPT2
    if len(steps) != 2 or own or steps[0].get("type") != "Split":
        raise ValueError("the pre-tokenizer is not one Split before ByteLevel")
    split = steps[0]
    if split.get("behavior") != "Isolated" or split.get("invert"):
        raise ValueError("the Split does not isolate what it matches")
    return text_at(object_at(split, "pattern"), "Regex")


def _match_any(names: Iterable[str]) -> re.Pattern[str] | None:
    """Matches one of the names, the longest first; None if there are none."""
    ordered = sorted(names, key=len, reverse=True)
    return re.compile("(" + "|".join(map(re.escape, ordered)) + ")") if ordered else None
