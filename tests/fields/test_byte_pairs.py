"""Byte-level BPE: the same tokens as the `tokenizers` library, and back to the same bytes."""

from __future__ import annotations

import gzip
import json
import random
import time
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelpad.errors import BundleInvalid
from modelpad.fields.byte_pairs import ByteLevelTokenizer, load_tokenizer, merge_long, merge_short
from modelpad.fields.token_patterns import GPT2, compile_pattern, translate

pytest.importorskip("onnx")
pytest.importorskip("tokenizers")

import tokenizers

from tests.text_graphs import SENTENCES, train_tokenizer

# As GPT-4 divides texts.
CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@cache
def make_record() -> bytes:
    return train_tokenizer(600)


def change(**changes: Any) -> bytes:
    record = json.loads(make_record())
    for path, value in changes.items():
        *parents, last = path.split("__")
        target = record
        for key in parents:
            target = target[key]
        target[last] = value
    return json.dumps(record).encode()


def with_pattern(pattern: str) -> bytes:
    split = {
        "type": "Split",
        "pattern": {"Regex": pattern},
        "behavior": "Isolated",
        "invert": False,
    }
    level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": False,
    }
    return change(pre_tokenizer={"type": "Sequence", "pretokenizers": [split, level]})


@cache
def load_both(pattern: str = "") -> tuple[ByteLevelTokenizer, Any]:
    body = with_pattern(pattern) if pattern else make_record()
    return load_tokenizer(body), tokenizers.Tokenizer.from_str(body.decode())


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_every_byte_string_round_trips(body: bytes) -> None:
    ours, _ = load_both()
    assert ours.decode(ours.encode(body.decode("utf-8", "surrogateescape"))) == body


@pytest.mark.parametrize("pattern", ["", CL100K])
@settings(max_examples=400, deadline=None)
@given(
    text=st.text(max_size=60)
    | st.lists(
        st.sampled_from([*"ab é東٣²\n\r\t\x1c\x85\u2003'sS ", "they'll", "<|endoftext|>"]),
        max_size=30,
    ).map("".join)
)
def test_it_finds_the_tokens_of_the_library(pattern: str, text: str) -> None:
    ours, theirs = load_both(pattern)
    assert ours.encode(text, special=True) == theirs.encode(text).ids


def test_it_agrees_on_reviews(data_root: Path) -> None:
    path = data_root / "imdb" / "train.jsonl.gz"
    if not path.exists():
        pytest.skip("there are no reviews")
    ours, theirs = load_both()
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line, _ in zip(lines, range(400), strict=False)]
    for text in texts:
        tokens = ours.encode(text)
        assert tokens == theirs.encode(text).ids
        assert ours.decode(tokens).decode() == text


def test_a_clients_text_never_becomes_a_special_token() -> None:
    ours, _ = load_both()
    assert 0 not in ours.encode("a<|endoftext|>b")
    assert ours.encode("a<|endoftext|>b", special=True).count(0) == 1
    assert ours.decode(ours.encode("a<|endoftext|>b")) == b"a<|endoftext|>b"
    assert ours.decode([0, 10**9, -1]) == b""
    assert ours.name(0) == "<|endoftext|>"


def test_an_added_token_that_is_not_special_is_found_in_texts() -> None:
    added = {
        "id": load_both()[0].size,
        "content": "\n\n\n",
        "special": False,
        "lstrip": False,
        "rstrip": False,
        "single_word": False,
        "normalized": False,
    }
    body = change(added_tokens=[*json.loads(make_record())["added_tokens"], added])
    theirs = tokenizers.Tokenizer.from_str(body.decode())
    assert load_tokenizer(body).encode("a\n\n\n\nb") == theirs.encode("a\n\n\n\nb").ids


@settings(max_examples=200, deadline=None)
@given(st.text("abcdefgh", max_size=90))
def test_both_ways_to_merge_agree(word: str) -> None:
    ours, _ = load_both()
    tokens = [ours.bytes_to_tokens[byte] for byte in word.encode()]
    assert merge_long([*tokens], ours.pairs) == merge_short([*tokens], ours.pairs)


def test_a_word_as_long_as_a_request_takes_no_quadratic_time() -> None:
    ours, _ = load_both()
    word = "".join(random.Random(1).choices("thepart", k=200_000))
    begun = time.process_time()
    assert ours.decode(ours.encode(word)).decode() == word
    assert time.process_time() - begun < 10


@pytest.mark.parametrize(
    "changes",
    [
        {"model__type": "WordPiece"},
        {"model__vocab": {"a": 0}},
        {"model__vocab": {"a": 10**9}},
        {"model__vocab": []},
        {"model__merges": ["a"]},
        {"model__merges": [["nowhere", "x"]]},
        {"model__byte_fallback": True},
        {"normalizer": {"type": "NFC"}},
        {"decoder": None},
        {"pre_tokenizer": {"type": "Whitespace"}},
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True}},
        {"added_tokens": [{"id": 0, "content": ""}]},
        {"added_tokens": [{"id": "0", "content": "x"}]},
    ],
)
def test_other_tokenizers_are_rejected(changes: dict[str, Any]) -> None:
    with pytest.raises(BundleInvalid, match=r"tokenizer\.json is not a byte-level BPE tokenizer"):
        load_tokenizer(change(**changes))


@pytest.mark.parametrize(
    "pattern",
    [r"\p{Greek}", r"[\P{L}]", r"\w+", r"a.b", r"a$", r"[a[b]]", r"[a&&b]", "(", "a" * 3000, "\\"],
)
def test_patterns_that_might_mean_something_else_are_rejected(pattern: str) -> None:
    with pytest.raises(ValueError):
        compile_pattern(pattern)


def test_ascii_text_needs_no_unicode_classes() -> None:
    assert len(translate(GPT2, ascii_only=True)) < 150
    text = " ".join(SENTENCES[:3])
    matches = [compile_pattern(GPT2, ascii_only=only).findall(text) for only in (True, False)]
    assert matches[0] == matches[1]
