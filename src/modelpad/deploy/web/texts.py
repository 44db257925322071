"""How a page divides texts into tokens: the tokenizer's pattern in JavaScript's syntax."""

from __future__ import annotations

import re

from modelpad.bundle import Bundle, SequenceModel
from modelpad.fields.byte_pairs import ByteLevelTokenizer, load_tokenizer
from modelpad.fields.token_patterns import translate
from modelpad.foreign_json import Json

# What JavaScript has no words for: possessive quantifiers, atomic and named groups, conditions.
ONLY_PYTHON = re.compile(r"[*+?}]\+|\(\?(?:>|P|\()")
# It escapes nothing but its syntax.
NEEDLESS_ESCAPE = re.compile(r"\\([&~#'\"])")


def describe_sequence(bundle: Bundle, sequence: SequenceModel) -> dict[str, Json]:
    """The manifest's section, and the pattern of the tokenizer."""
    return {**sequence.to_dict(), "pattern": write_pattern(_load(bundle, sequence))}


def find_pattern_obstacle(bundle: Bundle, sequence: SequenceModel) -> str:
    """Why a page cannot divide texts as modelpad does; empty if it can."""
    if ONLY_PYTHON.search(write_pattern(_load(bundle, sequence))):
        return "the pattern of its tokenizer has a syntax that JavaScript does not have"
    return ""


def write_pattern(tokenizer: ByteLevelTokenizer) -> str:
    """The pattern with the characters of each class: the same in every browser, whatever version
    of Unicode it knows."""
    return NEEDLESS_ESCAPE.sub(r"\1", translate(tokenizer.pattern))


def _load(bundle: Bundle, sequence: SequenceModel) -> ByteLevelTokenizer:
    return load_tokenizer(bundle.path(sequence.tokenizer).read_bytes(), sequence.tokenizer)
