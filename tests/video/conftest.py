"""A painter that the tests of this folder share."""

from __future__ import annotations

import pytest

from modelpad.store import ResolvedBundle
from tests.video_parts import write_painter


@pytest.fixture(scope="session")
def negative(tmp_path_factory: pytest.TempPathFactory) -> ResolvedBundle:
    folder = tmp_path_factory.mktemp("painter") / "negative"
    return ResolvedBundle("negative", 1, write_painter(folder))
