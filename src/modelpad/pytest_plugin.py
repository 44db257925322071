"""Fixtures for tests of programs that use models; pytest loads them where modelpad is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from modelpad.api.serving import Server


@pytest.fixture(scope="session")
def modelpad_serve() -> Iterator[Callable[..., Server]]:
    """Starts servers as `modelpad.serve` does, each once a session, and stops them at its end.

    def test_my_app(modelpad_serve):
        server = modelpad_serve("digits")
        assert my_app.classify("seven.png", server.url) == "7"
    """
    from modelpad.api.serving import serve

    running: dict[str, Server] = {}

    def start(*models: Any, **options: Any) -> Server:
        key = repr((models, sorted(options.items())))
        if key not in running or not running[key].is_running:
            running[key] = serve(*models, **options)
        return running[key]

    yield start
    for server in running.values():
        server.stop()
