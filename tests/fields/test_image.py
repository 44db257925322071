"""The image field."""

from __future__ import annotations

import base64
import io
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from modelpad.fields import Image


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_an_image_is_resized_for_the_graph(kind: str) -> None:
    file = io.BytesIO()
    Pillow.new("RGB", (40, 30), (255, 0, 0)).save(file, kind)
    for value in (file.getvalue(), {"b64": base64.b64encode(file.getvalue()).decode()}):
        pixels = Image("photo", 8, 6, 3).decode(value)
        assert pixels.shape == (8, 6, 3)
        assert pixels[:, :, 0].mean() > 240


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]))
def test_a_picture_survives_encoding_and_decoding(height: int, width: int, channels: int) -> None:
    field = Image("photo", None, None, channels)
    rng = np.random.default_rng(height * 10 + width)
    pixels = rng.integers(0, 256, (height, width, channels)).astype(np.float32)
    np.testing.assert_array_equal(field.decode(field.encode(pixels)), pixels)


def test_a_large_picture_needs_little_more_memory_than_its_arrays() -> None:
    field = Image("photo", None, None)
    file = io.BytesIO()
    Pillow.new("RGB", (2500, 1000), (200, 100, 50)).save(file, "JPEG")
    tracemalloc.start()
    try:
        pixels = field.decode(file.getvalue())
        _, decoding = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        written = field.to_pixels(pixels)
        _, encoding = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    strips = 10_000_000
    assert decoding < pixels.nbytes + strips
    assert encoding - before < written.nbytes + strips
