"""HashingVectorizer of scikit-learn as ONNX nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from modelpad.convert.sklearn_nodes import MICROSOFT, Nodes, int64s
from modelpad.convert.sklearn_patterns import translate, white_space
from modelpad.convert.sklearn_text import (
    check_spaces,
    check_vectorizer,
    compact,
    encode,
    find_words,
    neighbours,
    normalize,
    scale_rows,
    split_characters,
    stop_words,
)
from modelpad.errors import ConversionFailed

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import HashingVectorizer


def hash_ngrams(nodes: Nodes, vectorizer: HashingVectorizer, text: str) -> str:
    """The vectorizer's output, float32 [rows, n_features].

    Raises `ConversionFailed` for options that have no exact counterpart.
    """
    check_vectorizer(vectorizer)
    if vectorizer.binary and vectorizer.alternate_sign:
        raise ConversionFailed(
            "A HashingVectorizer with binary=True and alternate_sign=True also counts n-grams that"
            " cancel each other, which a graph cannot see.",
            hint="Fit it with alternate_sign=False.",
        )
    clean = normalize(nodes, vectorizer, text, None)
    is_word = vectorizer.analyzer == "word"
    tokens = _words(nodes, vectorizer, clean) if is_word else _characters(nodes, vectorizer, clean)
    hashes, signs = _hash(nodes, vectorizer, tokens, " " if is_word else "")
    size = nodes.shape(nodes.rows(tokens), int64s(vectorizer.n_features))
    zeros = nodes("ConstantOfShape", size)
    counts = nodes("ScatterElements", zeros, hashes, signs, axis=1, reduction="add")
    if vectorizer.binary:
        counts = nodes("Sign", counts)
    return scale_rows(nodes, counts, vectorizer.norm, np.float32)


def _words(nodes: Nodes, vectorizer: HashingVectorizer, text: str) -> str:
    pattern = translate(vectorizer.token_pattern)
    check_spaces(vectorizer, pattern)
    words = find_words(nodes, text, pattern)
    dropped = dict.fromkeys(("", *sorted(stop_words(vectorizer))), 0)
    return _compact(nodes, words, nodes.cast(encode(nodes, words, dropped, 1), "bool"))


def _characters(nodes: Nodes, vectorizer: HashingVectorizer, text: str) -> str:
    if vectorizer.analyzer == "char_wb":
        raise ConversionFailed(
            "A HashingVectorizer with analyzer='char_wb' is not supported.",
            hint="Use analyzer='char', or a TfidfVectorizer, which supports char_wb.",
        )
    characters = split_characters(nodes, text)
    spaces = {chr(point): 1 for point in white_space()}
    space = nodes.cast(encode(nodes, characters, spaces, 0), "bool")
    before, after = neighbours(nodes, space)
    run = nodes("And", space, nodes("Or", before, after))
    spaced = nodes("Where", run, np.array([" "], object), characters)
    present = nodes("Not", nodes("Equal", characters, np.array([""], object)))
    kept = nodes("And", present, nodes("Not", nodes("And", space, before)))
    return _compact(nodes, spaced, kept)


def _compact(nodes: Nodes, tokens: str, kept: str) -> str:
    """Moves the tokens that are kept to the left of each row, with empty ones after them."""
    width = nodes.width(tokens)
    above = nodes("Squeeze", nodes("Add", width, int64s(1)))
    places = nodes("Range", np.array(1), above, np.array(1))
    chosen = nodes("Where", kept, places, int64s(0))
    order = compact(nodes, chosen, kept)
    blank = nodes("Expand", np.array([[""]], object), nodes.shape(nodes.rows(tokens), int64s(1)))
    return nodes("GatherElements", nodes("Concat", blank, tokens, axis=1), order, axis=1)


def _hash(
    nodes: Nodes, vectorizer: HashingVectorizer, tokens: str, between: str
) -> tuple[str, str]:
    """The column and the sign of each n-gram; the sign is 0 after the last one."""
    least, most = vectorizer.ngram_range
    width = nodes.width(tokens)
    size = nodes.shape(nodes.rows(tokens), int64s(most))
    blank = nodes("Expand", np.array([[""]], object), size)
    padded = nodes("Concat", tokens, blank, axis=1)
    columns, signs = [], []
    gram = last = tokens
    for length in range(1, most + 1):
        if length > 1:
            end = nodes("Add", width, int64s(length - 1))
            last = nodes.slice(padded, length - 1, end)
            link = nodes("StringConcat", gram, np.array([between], object)) if between else gram
            gram = nodes("StringConcat", link, last)
        if length < least:
            continue
        number = nodes("MurmurHash3", gram, domain=MICROSOFT, positive=0, seed=0)
        wide = nodes.cast(number, "int64")
        columns.append(nodes("Mod", nodes("Abs", wide), int64s(vectorizer.n_features)))
        one, minus = np.ones(1, np.float32), -np.ones(1, np.float32)
        sign = nodes("Where", nodes("Less", wide, int64s(0)), minus, one)
        sign = sign if vectorizer.alternate_sign else nodes("Abs", sign)
        absent = nodes("Equal", last, np.array([""], object))
        signs.append(nodes("Where", absent, np.zeros(1, np.float32), sign))
    return nodes("Concat", *columns, axis=1), nodes("Concat", *signs, axis=1)
