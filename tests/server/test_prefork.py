"""What is created before workers are forked."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from modelpad.errors import PortInUse, UsageError
from modelpad.server.options import (
    ModelOptions,
    NetworkOptions,
    SecurityOptions,
    ServeOptions,
    WorkerOptions,
)
from modelpad.server.prefork import bind, prepare_shared_state

NOWHERE = ModelOptions(Path("/nowhere"), Path("/nowhere"))


def test_a_port_in_use_is_known_before_models_are_loaded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse):
            bind(NetworkOptions(port=port))
        with pytest.raises(PortInUse, match=str(port)) as caught:
            bind(NetworkOptions(port=0, grpc_port=port))
    assert "--grpc-port" in caught.value.hint


def test_http_and_grpc_need_ports_of_their_own(free_port: int) -> None:
    with pytest.raises(UsageError, match="cannot both use port"):
        bind(NetworkOptions(port=free_port, grpc_port=free_port))


def test_workers_share_a_rate_only_if_there_is_one() -> None:
    network = NetworkOptions(port=0)
    limited = ServeOptions(NOWHERE, network, SecurityOptions(rate_limit=2.0))
    with prepare_shared_state(limited).listener as listener:
        assert listener.getsockname()[1] > 0
    shared = prepare_shared_state(limited)
    shared.listener.close()
    assert shared.rates is not None
    assert shared.rates.rate == 2.0
    unlimited = prepare_shared_state(ServeOptions(NOWHERE, network))
    unlimited.listener.close()
    assert unlimited.rates is None


def test_memory_is_not_capped_where_drivers_reserve_more_than_they_use() -> None:
    for device, capped in (("cpu", True), ("cuda", False)):
        models = ModelOptions(Path("/nowhere"), Path("/nowhere"), device=device)
        options = ServeOptions(
            models, NetworkOptions(port=0), workers=WorkerOptions(max_memory_bytes=5)
        )
        shared = prepare_shared_state(options)
        shared.listener.close()
        assert (shared.memory.worker_bytes, shared.memory.capped) == (5, capped)
