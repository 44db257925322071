"""What hostile clients may cost over gRPC: a real server, real sockets, resident memory."""

from __future__ import annotations

import gzip
import os
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

grpc = pytest.importorskip("grpc")

from modelpad.errors import InvalidInput, TooLarge  # noqa: E402
from modelpad.server.grpc.calls import decompress, read_size  # noqa: E402
from modelpad.server.grpc.connections import find_peer  # noqa: E402
from modelpad.server.protocols.message_size import (  # noqa: E402
    MAX_FIELDS,
    estimate_bytes,
)
from modelpad.server.protocols.protobuf import (  # noqa: E402
    load_message,
    parse_message,
    write_field,
    write_values,
)

MB = 1e6
KEY = "secret-of-ann"
WITH_KEY = (("x-api-key", KEY),)
CHECK = "/grpc.health.v1.Health/Check"
SERVICES = {
    "inference": ["GRPCInferenceService"],
    "tensorflow.serving": ["PredictionService", "ModelService"],
    "grpc.health.v1": ["Health"],
}
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


@pytest.mark.parametrize("kind", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_a_bomb_with_a_key_is_refused_within_the_budget(
    guarded: tuple[str, psutil.Process], kind: Any
) -> None:
    address, process = guarded
    code, grown = watch_peak(process, lambda: call(address, INFER, BOMB, WITH_KEY, kind))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert grown < 100


def test_compressed_messages_of_ordinary_size_are_understood(
    guarded: tuple[str, psutil.Process],
) -> None:
    for kind in (grpc.Compression.Gzip, grpc.Compression.Deflate):
        assert call(guarded[0], INFER, write_row(), WITH_KEY, kind) is grpc.StatusCode.OK


def test_what_is_sent_without_a_key_stays_with_its_sender(
    guarded: tuple[str, psutil.Process], open_http2: Any
) -> None:
    """Calls without a key get no window for their messages, the health check's included."""
    address, process = guarded

    def attack() -> list[int]:
        sent = []
        for path in [INFER, CHECK] * 10:
            client = open_http2(address)
            sent.append(client.begin_message(client.open(path), 31 << 20, 31 << 20))
        return sent

    sent, grown = watch_peak(process, attack)
    assert max(sent) <= 1 << 17
    assert grown < 20


def test_stalled_uploads_fit_the_budget_together(
    guarded: tuple[str, psutil.Process], open_http2: Any, wait_for: Any
) -> None:
    """Those that could not all be held are refused; when they end, the memory is free again."""
    address, process = guarded
    before = weigh(process)
    clients = []

    def attack() -> None:
        for _ in range(12):
            client = open_http2(address)
            stream = client.open(INFER, *WITH_KEY)
            client.begin_message(stream, 31 << 20, 30 << 20)
            clients.append(client)

    _, grown = watch_peak(process, attack)
    for client in clients:
        while client.read(0.3):
            pass
    assert sum(bool(client.ended) for client in clients) >= 6  # six times 32 MB is the budget
    assert grown < 290
    for client in clients:
        client.socket.close()
    wait_for(lambda: call(address, INFER, write_row(), WITH_KEY) is grpc.StatusCode.OK)
    wait_for(lambda: weigh(process) < before + 40 * MB)


def test_a_message_over_the_limit_is_refused_when_it_begins(
    guarded: tuple[str, psutil.Process], open_http2: Any
) -> None:
    client = open_http2(guarded[0])
    stream = client.open(INFER, *WITH_KEY)
    assert client.begin_message(stream, 3 << 30, 200 << 20) < 100 << 20


def test_endless_headers_cost_a_connection_and_little_memory(
    guarded: tuple[str, psutil.Process], open_http2: Any, write_frame: Any, write_header: Any
) -> None:
    address, process = guarded
    client = open_http2(address)
    stream = client.open(INFER, flags=0)
    more = write_frame(9, 0, stream, write_header(("x-a", "b" * 10)) * 900)

    def attack() -> None:
        end = time.monotonic() + 30
        while client.send(more) and time.monotonic() < end:
            pass

    _, grown = watch_peak(process, attack)
    assert client.closed
    assert grown < 60 + 25 * client.sent / MB  # what it sends until the next check, as objects
    assert call(address, INFER, write_row(), WITH_KEY) is grpc.StatusCode.OK


def test_resets_without_end_cost_a_connection(
    guarded: tuple[str, psutil.Process], open_http2: Any, write_frame: Any
) -> None:
    address, process = guarded
    client = open_http2(address)

    def attack() -> None:
        end = time.monotonic() + 30
        while not client.closed and time.monotonic() < end:
            stream = client.open(INFER)
            client.send(write_frame(3, 0, stream, b"\0\0\0\x08"))
            if stream % 100 == 1:
                client.read(0.0001)

    _, grown = watch_peak(process, attack)
    assert client.closed
    assert grown < 40 + 20 * client.sent / MB  # a few kilobytes for each call
    assert call(address, INFER, write_row(), WITH_KEY) is grpc.StatusCode.OK


def test_a_client_that_is_refused_may_try_again_on_its_connection(
    guarded: tuple[str, psutil.Process],
) -> None:
    """Fifty calls with a wrong key and a message of a megabyte, then one with the right key.

    After ten wrong keys an address is told to wait, which a right key need not.
    """
    with grpc.insecure_channel(guarded[0]) as channel:
        ask, codes = channel.unary_unary(INFER), set()
        for _ in range(50):
            with pytest.raises(grpc.RpcError) as caught:
                ask(bytes(1 << 20), metadata=[("x-api-key", "another-one")], timeout=10)
            codes.add(caught.value.code())
        assert codes <= {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert ask(write_row(), metadata=WITH_KEY, timeout=10)


LIMITED = """
import sys
from modelpad.cli.main import main
from modelpad.server import assembly
import modelpad.server.grpc.calls as calls
calls.STREAM_IDLE_S = 1.0
make = assembly.ServerLimits
assembly.ServerLimits = lambda **given: make(**given, body_s=1.0, header_s=1.0)
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def hasty(
    bundles: Path, tmp_path_factory: pytest.TempPathFactory, start_serving: Any
) -> Iterator[tuple[str, psutil.Process]]:
    """A server without keys, whose clients get a second for everything."""
    with start_serving(
        str(bundles / "half_plus_two"),
        "--workers",
        "1",
        store=tmp_path_factory.mktemp("hasty"),
        program=("-c", LIMITED),
    ) as (running, address):
        yield address, psutil.Process(running.process.pid)


def test_silent_connections_are_closed(hasty: tuple[str, psutil.Process], wait_for: Any) -> None:
    host, _, port = hasty[0].rpartition(":")
    silent = [socket.create_connection((host, int(port))) for _ in range(20)]
    for each in silent:
        each.settimeout(10)
        while each.recv(1024):
            pass
        each.close()


@pytest.mark.parametrize("path", ["ModelInfer", "ModelStreamInfer"])
def test_a_call_without_a_message_ends(
    hasty: tuple[str, psutil.Process], open_http2: Any, wait_for: Any, path: str
) -> None:
    client = open_http2(hasty[0])
    stream = client.open(f"/inference.GRPCInferenceService/{path}")
    wait_for(lambda: client.read(0.1) and stream in client.ended)


@pytest.mark.slow
def test_a_client_that_does_not_read_loses_its_connection(
    hasty: tuple[str, psutil.Process], open_http2: Any, write_frame: Any, wait_for: Any
) -> None:
    address, _ = hasty
    rows = np.zeros(1 << 20, np.float32)
    request = load_message("inference.ModelInferRequest")(model_name="half_plus_two")
    request.inputs.add(name="x", datatype="FP32", shape=rows.shape)
    request.raw_input_contents.append(rows.tobytes())
    message = request.SerializeToString()
    client = open_http2(address)
    stream = client.open(INFER)
    framed = b"\0" + len(message).to_bytes(4, "big") + message
    while framed and not client.closed:
        room = min(client.window[0], client.window[stream], 16_384)
        if room > 0:
            client.send(write_frame(0, int(len(framed) <= room), stream, framed[:room]))
            framed = framed[room:]
            client.window[0] -= room
            client.window[stream] -= room
        else:
            client.read(0.1)
    wait_for(lambda: client.read(0.1) < client.closed)  # nothing more, as it is closed


def test_streams_have_a_bound(hasty: tuple[str, psutil.Process], wait_for: Any) -> None:
    from modelpad.server.grpc.listener import MAX_STREAMS

    with grpc.insecure_channel(hasty[0]) as channel:
        begin = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
        over = threading.Event()
        streams = [begin(iter(lambda: over.wait() and None, None)) for _ in range(MAX_STREAMS)]

        def is_refused() -> bool:
            try:
                next(begin(iter(())), None)
            except grpc.RpcError as error:
                return error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            return False

        try:
            wait_for(is_refused)
        finally:
            over.set()
            for each in streams:
                each.cancel()


def test_connections_have_a_bound_below_the_files(
    bundles: Path, tmp_path: Path, start_serving: Any
) -> None:
    """With few files to open, silent sockets leave room for the rest of the server."""
    program = (
        "-c",
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (160, 160))\n"
        "from modelpad.cli.main import main; import sys; sys.exit(main(sys.argv[1:]))",
    )
    with start_serving(
        str(bundles / "pick"), "--workers", "1", store=tmp_path, program=program
    ) as (running, address):
        host, _, port = address.rpartition(":")
        silent = [socket.create_connection((host, int(port))) for _ in range(200)]
        time.sleep(0.5)  # it accepts and closes some; more files may not be opened
        assert psutil.Process(running.process.pid).num_fds() < 100
        for each in silent:
            each.close()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\x2a\x00" * (MAX_FIELDS + 1), TooLarge),
        (b"\x2a\xff\xff\xff\xff\x0f", InvalidInput),
        (b"\x2a\x05\x0a", InvalidInput),
        (b"\x2b\x2c", InvalidInput),
        (b"\xff" * 20, InvalidInput),
        (b"\x09\x00", InvalidInput),
    ],
)
def test_what_is_no_message_is_refused_before_it_is_parsed(data: bytes, expected: Any) -> None:
    with pytest.raises(expected):
        estimate_bytes(data, "inference.ModelInferRequest")


MEASURED = r"""
import resource, sys
import numpy as np
from modelpad.server.protocols.grpc_inference import read_tensors
from modelpad.server.protocols.message_size import estimate_bytes
from modelpad.server.protocols.protobuf import parse_message, write_field
kind, count = sys.argv[1], 50_000 if sys.argv[1] == "tensors" else 1_000_000
number, element = {"int64": (3, b"\x01"), "uint32": (4, b"\x01"), "fp32": (6, bytes(4)),
                   "bytes": (8, b"")}.get(kind, (0, b""))
name = "inference.ModelInferRequest"
if kind == "tensors":
    data = b"".join(write_field(5, b"")) * count
elif kind == "bytes":
    count = 50_000
    contents = b"".join(write_field(8, b"")) * count
    data = b"".join(write_field(5, *write_field(5, contents)))
else:
    contents = b"".join(write_field(number, element * count))
    head = b"\x12" + bytes([len(kind)]) + kind.upper().encode()
    shape = b"".join(write_field(3, b"\xc0\x84\x3d"))
    data = b"".join(write_field(5, head, shape, *write_field(5, contents)))
estimated = estimate_bytes(data, name)
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
message = parse_message(name, data)
if kind in ("int64", "uint32", "fp32"):
    arrays = read_tensors(message, None)
else:
    found = [each.name for each in message.inputs], list(message.inputs)
print((peak() - before) / estimated)
"""


@pytest.mark.parametrize("kind", ["int64", "uint32", "fp32", "bytes", "tensors"])
def test_the_estimate_is_no_less_than_what_a_message_takes(kind: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, kind], capture_output=True, text=True, env=os.environ
    )
    assert not done.stderr
    assert float(done.stdout) <= 1.1


def test_decompression_stops_at_the_size_that_was_reserved() -> None:
    data = bytes(100_000)
    for packed in (gzip.compress(data), zlib.compress(data)):
        size = read_size(packed, 200_000)
        assert decompress(packed, size) == data
        with pytest.raises(InvalidInput):
            decompress(packed, 99_999)
        with pytest.raises(InvalidInput):
            decompress(packed[:-9], size)
        with pytest.raises(InvalidInput):
            decompress(packed + b"more", size)
    with pytest.raises(TooLarge):
        read_size(gzip.compress(data), 99_999)
    lying = gzip.compress(data)[:-4] + (5).to_bytes(4, "little")
    with pytest.raises(InvalidInput):
        decompress(lying, read_size(lying, 200_000))


def test_no_message_begins_as_if_it_were_compressed() -> None:
    """The first bytes tell a compressed message from one that is not."""
    from modelpad.server.protocols.protobuf import _load_pool

    pool = _load_pool()
    for package in ("inference", "tensorflow.serving", "grpc.health.v1"):
        for service in SERVICES[package]:
            for method in pool.FindServiceByName(f"{package}.{service}").methods:
                numbers = method.input_type.fields_by_number
                assert 15 not in numbers  # 0x78, deflate
                assert 3 not in numbers or numbers[3].type != 10  # 0x1f would be a group


@pytest.mark.parametrize(
    ("dtype", "field"),
    [
        ("float32", "fp32_contents"),
        ("float64", "fp64_contents"),
        ("int64", "int64_contents"),
        ("uint8", "uint_contents"),
        ("bool", "bool_contents"),
    ],
)
def test_values_written_in_parts_are_read_as_one_field(dtype: str, field: str) -> None:
    array = (np.arange(40_000) % 200).astype(dtype)
    parts = list(write_values("inference.InferTensorContents", field, array))
    read = parse_message("inference.InferTensorContents", b"".join(parts))
    np.testing.assert_array_equal(np.array(getattr(read, field)), array)
    assert b"".join(write_field(5, b"ab", b"c")) == b"\x2a\x03abc"


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:127.0.0.1:54321", ("127.0.0.1", 54321)),
        ("ipv6:%5B::1%5D:54321", ("::1", 54321)),
        ("ipv6:%5Bfe80::1%25eth0%5D:1", ("fe80::1", 1)),
        ("ipv6:%5B::ffff:10.0.0.1%5D:80", ("10.0.0.1", 80)),
        ("unix:", ("", 0)),
        ("unknown", ("", 0)),
    ],
)
def test_the_address_of_a_peer(peer: str, address: tuple[str, int]) -> None:
    assert find_peer(peer) == address
