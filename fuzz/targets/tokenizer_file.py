"""The `tokenizer.json` of a bundle, and texts that it encodes."""

from __future__ import annotations

from modelpad.fields.byte_pairs import load_tokenizer

DECODERS = ("modelpad.fields.byte_pairs", "modelpad.fields.token_patterns")


def fuzz(data: bytes) -> None:
    """Reads the file; encodes and decodes a text with it."""
    tokenizer = load_tokenizer(data)
    text = data[-200:]
    tokens = tokenizer.encode(text.decode("utf-8", "surrogateescape"))
    assert all(0 <= token < tokenizer.size for token in tokens)
    assert tokenizer.decode(tokens) == text or tokenizer.special
