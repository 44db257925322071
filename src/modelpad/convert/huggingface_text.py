"""Tokenizers of Hugging Face models, and sequences of tokens that are hard for a graph."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from modelpad.convert.source import TensorSpec
from modelpad.errors import ModelpadError
from modelpad.fields import Tokenizer
from modelpad.fields.arrays import Arrays

FILE = "tokenizer.json"
VOCABULARIES = (
    FILE,
    "vocab.txt",
    "vocab.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
)
ANY_LENGTH = 512  # tokens, where neither the tokenizer nor the model has a limit
LENGTHS = (1, 2, 5, 17)
MAX_SAMPLE_LENGTH = 512
PADDED = (9, 6)  # tokens, and how many of them are not padding
TEXTS = (
    "a good film",
    "The price rose by 3.5 % in May — to 1,200 EUR!",
    "Ünïcode, 日本語 and 🙂",
    "two  spaces\nand a line",
    "word " * 5000,
)


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a model's tokenizer gives.

    `names` are the inputs that the model takes of them. `tokenizer`, with its file's content, is
    None where the `tokenizers` library alone gives other tokens than transformers.
    """

    names: tuple[str, ...]
    special_ids: tuple[int, ...]
    pad_id: int
    longest: int
    tokenizer: Tokenizer | None
    body: bytes


def read_tokens(
    transformers: ModuleType, path: Path, model: Any, *, trust: bool = False
) -> Tokens | None:
    """The tokenizer in a model's folder; None if there is none that transformers can load."""
    if not any((path / name).is_file() for name in VOCABULARIES):
        return None  # transformers would make up an empty one
    try:
        loaded = transformers.AutoTokenizer.from_pretrained(
            str(path), local_files_only=True, trust_remote_code=trust
        )
    except Exception:  # whatever its code raises: the raw contract does not need it
        return None
    parameters = inspect.signature(model.forward).parameters
    names = _order_names([name for name in loaded.model_input_names if name in parameters])
    longest = find_longest(model, loaded.model_max_length)
    special = sorted({int(token) for token in loaded.all_special_ids})
    pad = loaded.pad_token_id
    tokenizer, body = _export_tokenizer(loaded, names, longest)
    return Tokens(names, tuple(special), 0 if pad is None else int(pad), longest, tokenizer, body)


def find_longest(model: Any, tokenizer_limit: int) -> int:
    """The most tokens that a model takes, special ones included."""
    limits = [tokenizer_limit] if tokenizer_limit < 10**9 else []
    positions = getattr(model.config, "max_position_embeddings", None)
    if isinstance(positions, int) and positions > 0:
        limits.append(positions - _count_reserved(model, positions))
    return min(limits, default=ANY_LENGTH)


def _count_reserved(model: Any, positions: int) -> int:
    """RoBERTa's and its relatives' positions start after that of padding."""
    for name, layer in model.named_modules():
        padding = getattr(layer, "padding_idx", None)
        if "position" in name and padding is not None and layer.num_embeddings == positions:
            return int(padding) + 1
    return 0


def _order_names(names: Sequence[str]) -> tuple[str, ...]:
    """The tokens first, then their mask, then the rest."""
    first = ("input_ids", "attention_mask")
    known = [name for name in first if name in names]
    return (*known, *(name for name in names if name not in first))


def _export_tokenizer(
    loaded: Any, names: Sequence[str], longest: int
) -> tuple[Tokenizer | None, bytes]:
    """The tokenizer and its file, if it gives the same tokens as transformers on some texts."""
    known = ("input_ids", "attention_mask", "token_type_ids")
    backend = getattr(loaded, "backend_tokenizer", None)
    if backend is None or "input_ids" not in names or set(names) - set(known):
        return None, b""
    mask, segments = (name if name in names else None for name in known[1:])
    tokenizer = Tokenizer(FILE, longest, "input_ids", mask, segments)
    expected = [loaded(text, truncation=True, max_length=longest) for text in TEXTS]
    backend.enable_truncation(longest, direction=loaded.truncation_side)
    backend.no_padding()
    body: bytes = backend.to_str().encode("utf-8")
    try:
        encode = tokenizer.load(lambda _: body)
    except ModelpadError:
        return None, b""
    for text, wanted in zip(TEXTS, expected, strict=True):
        got = encode(text)
        if any(got[name].tolist() != list(wanted[name]) for name in tokenizer.tensors):
            return None, b""
    return tokenizer, body


def make_token_samples(
    inputs: Sequence[TensorSpec], config: Any, tokens: Tokens | None
) -> tuple[Arrays, ...]:
    """Raw inputs of single items: several lengths up to the longest, padding, special tokens."""
    vocabulary = int(getattr(config, "vocab_size", 0) or inputs[0].limit or 2)
    longest = min(tokens.longest if tokens else max(LENGTHS), MAX_SAMPLE_LENGTH)
    pad = tokens.pad_id if tokens else 0
    rng = np.random.default_rng(11)
    rows = [rng.integers(0, vocabulary, min(length, longest)) for length in (*LENGTHS, longest)]
    rows += [np.array([0, vocabulary - 1]), np.array([0, *(tokens.special_ids if tokens else ())])]
    samples = [_make_item(inputs, row, len(row)) for row in rows]
    length, filled = (min(each, longest) for each in PADDED)
    for _ in range(2):
        padded = np.full(length, pad)
        padded[:filled] = rng.integers(0, vocabulary, filled)
        samples.append(_make_item(inputs, padded, filled))
    return tuple(samples)


def _make_item(inputs: Sequence[TensorSpec], ids: Any, filled: int) -> Arrays:
    """`ids` with ones in the mask for the first `filled`, and two segments."""
    positions = np.arange(len(ids))
    values: Mapping[str, Any] = {
        "input_ids": ids,
        "attention_mask": positions < filled,
        "token_type_ids": (positions >= (filled + 1) // 2) & (positions < filled),
    }
    zeros = np.zeros(len(ids))
    return {spec.name: np.asarray(values.get(spec.name, zeros), np.int64) for spec in inputs}
