"""The score field."""

from __future__ import annotations

import pytest

from modelpad.errors import InvalidInput
from modelpad.fields import Score


@pytest.mark.parametrize("value", [2**130, 1e300, 10**400, float("inf"), True])
def test_a_score_beyond_float32_is_rejected(value: float) -> None:
    assert Score("x").decode(2**70) == 2.0**70
    with pytest.raises(InvalidInput):
        Score("x").decode(value)
