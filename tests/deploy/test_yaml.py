"""What is written is read back by PyYAML, which reads YAML 1.1 with all its traps."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelpad.deploy.yaml import Yaml, write_yaml

yaml = pytest.importorskip("yaml")

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: "e" not in repr(x))
    | st.text(st.characters(codec="utf-8", exclude_characters="\x85\u2028\u2029\ufeff"))
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abcdefghij.-/:", min_size=1), inner),
    max_leaves=20,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(VALUES)
def test_any_value_is_read_back(value: Any) -> None:
    assert yaml.safe_load(write_yaml(value)) == value


TRAPS = (
    *("", "yes", "No", "on", "~", "null", "1", "0x1f", "1_0", "1e3", ".inf", "12:30:00"),
    *("2001-01-01", "- a", "a: b", "a #b", "#a", "*a", "&a", "!a", "%a", "@a", "`a", "{a}"),
    *("[a]", "a ", " a", "a:", ":", "?", "|", ">", "=", "<<", "a\nb\n", "a\n\n b\n", "\n", "a\n"),
    *("tab\t", "é", "..."),
)


@pytest.mark.parametrize("text", TRAPS)
def test_texts_that_look_like_something_else(text: str) -> None:
    value: Any = {text or "k": text, "list": [text, [text], {"k": text}]}
    assert yaml.safe_load(write_yaml(value)) == value


def test_it_reads_as_people_write_it() -> None:
    value: Yaml = {
        "name": "web",
        "ports": ["8080:8080"],
        "run": "a\nb\n",
        "nested": [{"a": 1, "b": []}],
    }
    assert write_yaml(value, {"x": None}, comment="Why.\nMore.").decode() == (
        "# Why.\n# More.\n"
        'name: web\nports:\n  - "8080:8080"\nrun: |\n  a\n  b\nnested:\n  - a: 1\n    b: []\n'
        "---\nx: null\n"
    )
