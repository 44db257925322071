"""Reading pictures from bytes and text."""

from __future__ import annotations

import io
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from modelpad.errors import InvalidInput, TooLarge
from modelpad.fields import Image, Sketch
from modelpad.fields.picture import read_picture


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_picture_or_an_invalid_input(body: bytes) -> None:
    with suppress(InvalidInput, TooLarge):  # a few bytes can be a picture: b"P4 1 1 \0" is one
        assert min(read_picture(body, field="image").size) > 0


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_a_picture_or_an_invalid_input(text: str) -> None:
    with pytest.raises((InvalidInput, TooLarge)):
        read_picture(text, field="image")


def test_a_float_picture_with_nan_is_rejected() -> None:
    file = io.BytesIO()
    Pillow.fromarray(np.array([[0.0, np.nan], [1.0, 0.5]], np.float32)).save(file, "TIFF")
    for field in (Sketch(), Image("photo", 2, 2, 1)):
        with pytest.raises(InvalidInput, match="NaN"):
            field.decode(file.getvalue())
