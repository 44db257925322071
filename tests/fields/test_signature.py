"""Signatures."""

from __future__ import annotations

import pytest

from modelpad.fields import Label, Signature, Sketch


def test_a_signature_has_no_name_twice() -> None:
    with pytest.raises(ValueError, match="duplicate"):
        Signature((Sketch(), Sketch()), (Label("label", ("a", "b")),))
