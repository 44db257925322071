"""The label field."""

from __future__ import annotations

import numpy as np
import pytest

from modelpad.errors import ModelFailed
from modelpad.fields import Label


def test_a_label_ranks_its_scores() -> None:
    answer = Label("kind", ("a", "b", "c"), top=2).encode(np.array([0.1, 0.7, 0.2], np.float32))
    assert answer == {"label": "b", "confidence": 0.7, "scores": {"b": 0.7, "c": 0.2}}
    for wrong in (np.array([0.5, 0.5]), np.array([np.nan, 0.5, 0.5])):
        with pytest.raises(ModelFailed):
            Label("kind", ("a", "b", "c")).encode(wrong)
