"""`modelpad.serve`: servers of this process, which end with it; and the fixture for tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import modelpad
from modelpad.bundle import Bundle
from modelpad.errors import InvalidInput, ModelNotFound, PortInUse, UsageError
from modelpad.store import LocalStore


def read_policy(server: modelpad.Server) -> str:
    page = httpx.get(server.url, headers={"accept": "text/html"})
    return str(page.headers["content-security-policy"])


def test_a_server_for_a_program(digits: Bundle) -> None:
    with modelpad.serve("digits") as server:
        assert server.models == {"digits": 1}
        assert repr(server) == f"<Server of digits version 1 at {server.url}>"
        assert server.url in server._repr_html_()
        policy = read_policy(server)
        assert "frame-ancestors 'none'" in policy, "this is no notebook"
        with server.client() as client:
            path = digits.path("samples/7.png")
            assert client.predict(str(path)).label == client.predict(path).label == "7"
            with pytest.raises(InvalidInput, match="gone"):
                client.predict("gone.png")
        with pytest.raises(PortInUse):
            modelpad.serve("digits", port=int(server.url.rpartition(":")[2]))
    assert not server.is_running
    assert "stopped" in repr(server) + server._repr_html_()
    server.stop()


def test_models_of_any_origin(
    bundles: Path, tmp_path: Path, write_onnx: Callable[..., Path]
) -> None:
    store = tmp_path / "store"
    pick = modelpad.load(bundles / "pick")
    entry = LocalStore(store).push(pick.bundle, "kept")
    kept = modelpad.load("kept", store=store)
    file = write_onnx(tmp_path / "twice.onnx")
    with modelpad.serve(
        pick, kept, file, "half=" + str(bundles / "half_plus_two"), store=store
    ) as s:
        assert {*s.models} == {"pick", "kept", "twice", "half"}
        with s.client() as client:
            answers = client.predict_many(np.eye(3, dtype=np.float32), model="kept")
            assert [one.label for one in answers] == ["a", "b", "c"]
    with modelpad.serve(entry) as server:
        assert server.models == {"kept": 1}
    with kept.serve(frame_ancestors=["http://localhost:*"]) as server:
        policy = read_policy(server)
        assert "frame-ancestors 'self' http://localhost:*" in policy


def test_errors_are_those_of_the_command_line() -> None:
    with pytest.raises(ModelNotFound, match="no model 'digts'") as caught:
        modelpad.serve("digts")
    assert "Did you mean digits?" in caught.value.hint
    with pytest.raises(UsageError, match="not an origin"):
        modelpad.serve("digits", frame_ancestors=["localhost"])
    with pytest.raises(UsageError, match="int is not a model"):
        modelpad.serve(3)  # type: ignore[arg-type]


@pytest.mark.skipif(os.name != "posix", reason="kills a process")
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, None], ids=str)
def test_a_server_ends_with_its_program(end: signal.Signals | None, wait_for: Any) -> None:
    code = "import sys, modelpad; print(modelpad.serve('digits').url, flush=True); sys.stdin.read()"
    program = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    url = program.stdout.readline().strip()
    assert httpx.get(f"{url}/readyz").status_code == 200, "without a variable, it goes on"
    if end is None:
        program.communicate()
    else:
        program.send_signal(end)
        program.wait()
        program.communicate()

    def is_gone() -> bool:
        try:
            httpx.get(f"{url}/readyz", timeout=1)
        except httpx.TransportError:
            return True
        return False

    wait_for(is_gone)
