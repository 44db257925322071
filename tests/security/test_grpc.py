"""What hostile clients may cost over gRPC: a real server, real sockets, resident memory."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

grpc = pytest.importorskip("grpc")

from modelpad.server.protocols.messages import load_message  # noqa: E402

MB = 1e6
KEY = "secret-of-ann"
WITH_KEY = (("x-api-key", KEY),)
INFER = "/inference.GRPCInferenceService/ModelInfer"
# A message of two bytes for each empty tensor, of which it has four million.
BOMB = b"\x2a\x00" * 4_000_000


def weigh(process: psutil.Process) -> int:
    """Resident bytes of a server's processes."""
    return sum(each.memory_info().rss for each in [process, *process.children()])


@pytest.fixture(scope="module")
def guarded(
    bundles: Path, tmp_path_factory: pytest.TempPathFactory, start_serving: Any
) -> Iterator[tuple[str, psutil.Process]]:
    """A server that wants keys: its gRPC address, and its process."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "keys").write_text(f"ann={KEY}")
    with start_serving(
        str(bundles / "pick"), "--workers", "1", "--api-keys", str(folder / "keys"), store=folder
    ) as (running, address):
        yield address, psutil.Process(running.process.pid)


def call(
    address: str, path: str, message: bytes, metadata: Any = (), compression: Any = None
) -> Any:
    """The status code of one call."""
    with grpc.insecure_channel(address) as channel:
        try:
            channel.unary_unary(path)(
                message, metadata=metadata, compression=compression, timeout=20
            )
        except grpc.RpcError as error:
            return error.code()
        return grpc.StatusCode.OK


def write_row() -> bytes:
    request = load_message("inference.ModelInferRequest")(model_name="pick")
    tensor = request.inputs.add(name="row", datatype="FP32", shape=[1, 3])
    tensor.contents.fp32_contents.extend([0, 9, 0])
    return bytes(request.SerializeToString())


def watch_peak(process: psutil.Process, act: Callable[[], Any]) -> tuple[Any, float]:
    """What `act` gives, and how many MB the server grew at most meanwhile."""
    from concurrent.futures import ThreadPoolExecutor

    before = peak = weigh(process)
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(act)
        while not done.done():
            peak = max(peak, weigh(process))
            time.sleep(0.005)
    peak = max(peak, weigh(process))
    return done.result(), (peak - before) / MB


def test_a_bomb_without_a_key_costs_no_memory(guarded: tuple[str, psutil.Process]) -> None:
    address, process = guarded
    assert call(address, INFER, write_row(), WITH_KEY) is grpc.StatusCode.OK
    assert len(gzip.compress(BOMB)) < 30_000

    def attack() -> list[Any]:
        return [call(address, INFER, BOMB, compression=grpc.Compression.Gzip) for _ in range(2)]

    codes, grown = watch_peak(process, attack)
    assert set(codes) == {grpc.StatusCode.UNAUTHENTICATED}
    assert grown < 30
