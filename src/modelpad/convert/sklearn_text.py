"""Text vectorizers of scikit-learn as ONNX nodes that find exactly the same tokens.

The text is lower-cased and stripped of accents character by character, from tables made by Python.
Words are matched by ONNX Runtime's Tokenizer, numbered, freed of stop words, and counted as n-grams
by TfIdfVectorizer; characters likewise.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from modelpad.convert.sklearn_nodes import END, MICROSOFT, ML, Nodes, int64s, join_graph
from modelpad.convert.sklearn_patterns import TokenPattern, everything, translate, white_space
from modelpad.errors import ConversionFailed

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import CountVectorizer

SAME = "same"  # what the table of characters gives for those that stay as they are
SIGMA = "Σ"  # in lower case, it depends on the letters around it
OTHER, IGNORED, CASED = 0, 1, 2


def check_vectorizer(vectorizer: Any) -> None:
    """Raises `ConversionFailed` if a vectorizer runs Python functions, or does not read text."""
    name = type(vectorizer).__name__
    for option in ("tokenizer", "preprocessor", "analyzer", "strip_accents"):
        if callable(getattr(vectorizer, option)):
            raise ConversionFailed(
                f"The {name} calls a Python function as its {option},"
                " which an ONNX graph cannot contain.",
                hint="Fit it with token_pattern and the built-in analyzers instead.",
            )
    if vectorizer.input != "content":
        raise ConversionFailed(
            f"The {name} opens files (input={vectorizer.input!r}); a graph only takes their text.",
            hint="Set its input to 'content'.",
        )


def count_ngrams(nodes: Nodes, vectorizer: CountVectorizer, text: str) -> str:
    """The counts of a fitted vectorizer's n-grams, float32 [rows, vocabulary]."""
    check_vectorizer(vectorizer)
    clean = normalize(nodes, vectorizer, text, "".join(vectorizer.vocabulary_))
    if vectorizer.analyzer == "word":
        ids, grams = number_words(nodes, vectorizer, clean)
    else:
        ids, grams = number_characters(nodes, vectorizer, clean)
    counts = count(nodes, ids, grams, len(vectorizer.vocabulary_))
    return nodes("Sign", counts) if vectorizer.binary else counts


def weigh(nodes: Nodes, transformer: Any, counts: str) -> str:
    """TF-IDF weights of counts, float64, as a fitted TfidfTransformer computes them."""
    weights = nodes.cast(counts, "float64")
    if transformer.sublinear_tf:
        present = nodes("Greater", weights, np.zeros(1))
        logarithm = nodes("Log", nodes("Where", present, weights, np.ones(1)))
        more = nodes("Add", logarithm, np.ones(1))
        weights = nodes("Where", present, more, np.zeros(1))
    if transformer.use_idf:
        weights = nodes("Mul", weights, np.asarray(transformer.idf_, np.float64))
    return scale_rows(nodes, weights, transformer.norm)


def scale_rows(nodes: Nodes, weights: str, norm: str | None, dtype: type = np.float64) -> str:
    """Rows of length 1, except for rows of zeros."""
    if norm is None:
        return weights
    if norm == "max":
        length = nodes("ReduceMax", nodes("Abs", weights), int64s(1), keepdims=1)
    else:
        length = nodes(f"Reduce{norm.upper()}", weights, int64s(1), keepdims=1)
    empty = nodes("Equal", length, np.zeros(1, dtype))
    return nodes("Div", weights, nodes("Where", empty, np.ones(1, dtype), length))


def normalize(nodes: Nodes, vectorizer: Any, text: str, alphabet: str | None) -> str:
    """The text in lower case and without accents, as the vectorizer wants it: string [rows].

    `alphabet` are the characters that matter, if they are known.
    """
    text = nodes("Reshape", text, int64s(-1))
    if not vectorizer.lowercase and vectorizer.strip_accents is None:
        return text
    table = character_table(bool(vectorizer.lowercase), vectorizer.strip_accents)
    characters = split_characters(nodes, text)
    mapped = _map_characters(nodes, table, characters, vectorizer.strip_accents == "ascii")
    is_greek = alphabet is None or not {"σ", "ς"}.isdisjoint(alphabet)
    if vectorizer.lowercase and vectorizer.strip_accents != "ascii" and is_greek:
        mapped = _set_final_sigma(nodes, characters, mapped)
    rows = nodes("Expand", np.array([[""]], object), nodes.shape(nodes.rows(mapped), int64s(1)))
    parts = nodes("Concat", mapped, rows, axis=1)
    loop = nodes("Loop", np.array(64), np.array(True), parts, body=join_graph())
    return nodes("Reshape", loop, int64s(-1))


def split_characters(nodes: Nodes, text: str) -> str:
    """The characters of each text, string [rows, longest], padded with empty ones."""
    options: dict[str, Any] = {"mark": 0, "mincharnum": 1, "pad_value": "", "separators": [""]}
    return nodes("Tokenizer", text, domain=MICROSOFT, **options)


def _map_characters(
    nodes: Nodes, table: Mapping[str, str], characters: str, only_ascii: bool
) -> str:
    mapped = nodes(
        "LabelEncoder",
        characters,
        domain=ML,
        keys_strings=list(table),
        values_strings=list(table.values()),
        default_string="" if only_ascii else SAME,
    )
    if only_ascii:
        return mapped
    same = nodes("Equal", mapped, np.array([SAME], object))
    return nodes("Where", same, characters, mapped)


@cache
def character_table(lowercase: bool, accents: str | None) -> Mapping[str, str]:
    """What each character becomes, where it changes; for `ascii`, what becomes anything at all."""
    from sklearn.feature_extraction.text import strip_accents_ascii, strip_accents_unicode

    strip = {"ascii": strip_accents_ascii, "unicode": strip_accents_unicode}.get(accents or "", str)
    table = {}
    for point in everything():
        character = chr(point)
        changed = strip(character.lower() if lowercase else character)
        if changed if accents == "ascii" else changed != character:
            table[character] = changed
    return table


@cache
def letter_cases() -> Mapping[str, int]:
    """The characters that decide how a Σ before or after them is written in lower case."""
    cases = {}
    for character in map(chr, everything()):
        if (character + SIGMA).lower()[-1] == "ς":
            cases[character] = CASED
        elif ("A" + character + SIGMA).lower()[-1] == "ς":
            cases[character] = IGNORED
    return cases


def _set_final_sigma(nodes: Nodes, characters: str, mapped: str) -> str:
    """Writes a Σ at the end of a word as ς: after a cased letter, and not before one."""
    cases = encode(nodes, characters, letter_cases(), OTHER)
    counted = nodes("Not", nodes("Equal", cases, int64s(IGNORED)))
    rank = nodes("CumSum", nodes.cast(counted, "int64"), np.array(1))
    size = nodes("Add", nodes.width(cases), int64s(2))
    last = nodes("Sub", size, int64s(1))
    zeros = nodes("ConstantOfShape", nodes.shape(nodes.rows(cases), size))
    blank = nodes.cast(zeros, "int64")
    place = nodes("Where", counted, rank, last)
    ordered = nodes("ScatterElements", blank, place, cases, axis=1)
    cased = nodes("Equal", ordered, int64s(CASED))
    before = nodes("Sub", rank, int64s(1))
    after = nodes("Add", rank, int64s(1))
    here = nodes("Equal", characters, np.array([SIGMA], object))
    first = nodes("Max", before, int64s(0))
    follows = nodes("GatherElements", cased, first, axis=1)
    precedes = nodes("GatherElements", cased, after, axis=1)
    final = nodes("And", nodes("And", here, follows), nodes("Not", precedes))
    return nodes("Where", final, np.array(["ς"], object), mapped)


def encode(nodes: Nodes, texts: str, table: Mapping[str, int], other: int) -> str:
    """Numbers of strings, int64; `other` for those that the table does not contain."""
    return nodes(
        "LabelEncoder",
        texts,
        domain=ML,
        keys_strings=list(table) or [SAME],
        values_int64s=list(table.values()) or [other],
        default_int64=other,
    )


def find_words(nodes: Nodes, text: str, pattern: TokenPattern) -> str:
    """The words of each text, string [rows, most], padded with empty ones."""
    options: dict[str, Any] = {
        "mark": 0,
        "mincharnum": 1,
        "pad_value": "",
        "tokenexp": pattern.find,
    }
    words = nodes("Tokenizer", text, domain=MICROSOFT, **options)
    if not pattern.keep:
        return words
    kept = nodes("RegexFullMatch", words, pattern=pattern.keep)
    return nodes("Where", kept, words, np.array([""], object))


Grams = Mapping[tuple[int, ...], int]
"""The column of each n-gram of numbers."""


def number_words(nodes: Nodes, vectorizer: Any, text: str) -> tuple[str, Grams]:
    """Numbered words without stop words, and the vocabulary's n-grams of such numbers."""
    pattern = translate(vectorizer.token_pattern)
    least, most = vectorizer.ngram_range
    check_spaces(vectorizer, pattern)
    split = {
        name: tuple(name.split(" ")) if most > 1 else (name,) for name in vectorizer.vocabulary_
    }
    split = {name: words for name, words in split.items() if least <= len(words) <= most}
    stops = stop_words(vectorizer)
    known = {word for words in split.values() for word in words} - stops
    numbers = {word: at + 1 for at, word in enumerate(sorted(known))}
    grams = {
        tuple(numbers[word] for word in words): int(vectorizer.vocabulary_[name])
        for name, words in split.items()
        if stops.isdisjoint(words)
    }
    words = find_words(nodes, text, pattern)
    dropped = dict.fromkeys(("", *sorted(stops)), 0)
    ids = encode(nodes, words, {**numbers, **dropped}, len(numbers) + 1)
    if most > 1 and (stops or pattern.keep):
        ids = compact(nodes, ids, nodes("Greater", ids, int64s(0)))
    return ids, grams


def stop_words(vectorizer: Any) -> frozenset[str]:
    """The vectorizer's stop words, as it compares them with words."""
    return frozenset(map(str, vectorizer.get_stop_words() or ()))


def check_spaces(vectorizer: Any, pattern: TokenPattern) -> None:
    """Raises `ConversionFailed` if the words of an n-gram cannot be told apart."""
    if vectorizer.ngram_range[1] > 1 and ord(" ") in pattern.characters:
        raise ConversionFailed(
            f"The tokens of {vectorizer.token_pattern!r} may contain spaces, so n-grams of several"
            " tokens are ambiguous.",
            hint="Fit the vectorizer with ngram_range=(1, 1), or with tokens without spaces.",
        )


def compact(nodes: Nodes, ids: str, kept: str) -> str:
    """Moves the numbers that are kept to the left of each row, with zeros after them."""
    position = nodes("Sub", nodes("CumSum", nodes.cast(kept, "int64"), np.array(1)), int64s(1))
    width = nodes.width(ids)
    place = nodes("Where", kept, position, width)
    size = nodes.shape(nodes.rows(ids), nodes("Add", width, int64s(1)))
    blank = nodes.cast(nodes("ConstantOfShape", size), "int64")
    values = nodes("Where", kept, ids, int64s(0))
    return nodes("ScatterElements", blank, place, values, axis=1)


def number_characters(nodes: Nodes, vectorizer: Any, text: str) -> tuple[str, Grams]:
    """Numbered characters, and the vocabulary's n-grams of such numbers."""
    least, most = vectorizer.ngram_range
    vocabulary = {name: int(at) for name, at in vectorizer.vocabulary_.items()}
    padded = vectorizer.analyzer == "char_wb"
    possible = {
        name: at
        for name, at in vocabulary.items()
        if (is_padded_gram(name, least, most) if padded else least <= len(name) <= most)
    }
    letters = sorted({" "}.union(*possible))
    numbers = {letter: at + 1 for at, letter in enumerate(letters)}
    grams = {tuple(numbers[one] for one in name): at for name, at in possible.items()}
    characters = split_characters(nodes, text)
    other = len(numbers) + 1
    ids = encode(nodes, characters, {**numbers, "": 0}, other)
    spaces = {chr(point): 1 for point in white_space()}
    space = nodes.cast(encode(nodes, characters, spaces, 0), "bool")
    number = _separate_words if padded else _collapse_spaces
    return number(nodes, ids, space, numbers[" "]), grams


def is_padded_gram(name: str, least: int, most: int) -> bool:
    """Whether `char_wb` can produce an n-gram: part of a word with a space on each side."""
    if name == " ":
        return least == 1
    inner = name.removeprefix(" ").removesuffix(" ")
    if not inner or any(letter.isspace() for letter in inner):
        return False
    is_word = name.startswith(" ") and name.endswith(" ")
    return len(name) <= most and (len(name) >= least or is_word)


def neighbours(nodes: Nodes, flags: str) -> tuple[str, str]:
    """The flags of the characters before and after each; false outside the text."""
    column = nodes.shape(nodes.rows(flags), int64s(1))
    blank = nodes.cast(nodes("ConstantOfShape", column), "bool")
    longer = nodes("Concat", blank, flags, blank, axis=1)
    return nodes.slice(longer, 0, -2), nodes.slice(longer, 2, END)


def _collapse_spaces(nodes: Nodes, ids: str, space: str, number: int) -> str:
    """Two or more white-space characters become one space; a single one stays as it is."""
    before, after = neighbours(nodes, space)
    run = nodes("And", space, nodes("Or", before, after))
    spaced = nodes("Where", run, int64s(number), ids)
    kept = nodes("Not", nodes("And", space, before))
    return compact(nodes, spaced, kept)


def _separate_words(nodes: Nodes, ids: str, space: str, number: int) -> str:
    """Each word with a space before and after it, and a zero between words."""
    word = nodes("And", nodes("Not", space), nodes("Greater", ids, int64s(0)))
    before, after = neighbours(nodes, word)
    begins, ends = (nodes("And", word, nodes("Not", side)) for side in (before, after))
    absent = int64s(-1)
    slots = [
        nodes("Where", begins, int64s(number), absent),
        nodes("Where", word, ids, absent),
        nodes("Where", ends, int64s(number), absent),
        nodes("Where", ends, int64s(0), absent),
    ]
    stacked = nodes("Concat", *(nodes("Unsqueeze", one, int64s(2)) for one in slots), axis=2)
    size = nodes("Mul", nodes.width(ids), int64s(len(slots)))
    flat = nodes("Reshape", stacked, nodes.shape(nodes.rows(ids), size), allowzero=1)
    return compact(nodes, flat, nodes("GreaterOrEqual", flat, int64s(0)))


def count(nodes: Nodes, ids: str, grams: Grams, columns: int) -> str:
    """How often each n-gram occurs, float32 [rows, columns]."""
    never = -1  # a number that no word has, for columns without an n-gram
    missing = set(range(columns)) - set(grams.values())
    pool: list[tuple[tuple[int, ...], int]] = sorted(
        (*grams.items(), *(((never - at,), at) for at in missing)),
        key=lambda item: (len(item[0]), item[0]),
    )
    longest = max(len(gram) for gram, _ in pool)
    starts, flat = [0] * longest, 0
    for size in range(1, longest + 1):
        starts[size - 1] = flat
        flat += sum(size for gram, _ in pool if len(gram) == size)
    return nodes(
        "TfIdfVectorizer",
        ids,
        mode="TF",
        min_gram_length=min(len(gram) for gram, _ in pool),
        max_gram_length=longest,
        max_skip_count=0,
        pool_int64s=[number for gram, _ in pool for number in gram],
        ngram_counts=starts,
        ngram_indexes=[at for _, at in pool],
    )
