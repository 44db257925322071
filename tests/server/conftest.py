"""Parts that tests of several protocols use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from modelpad.bundle import Bundle


@pytest.fixture
def client(server: Any) -> Iterator[httpx.Client]:
    """A client of the shared server."""
    with httpx.Client(base_url=server.url, timeout=20) as http:
        yield http


@pytest.fixture(scope="session")
def seven(digits: Bundle) -> bytes:
    """A PNG of a seven."""
    return digits.path("samples/7.png").read_bytes()
