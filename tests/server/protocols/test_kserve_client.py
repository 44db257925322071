"""KServe's own inference client, unchanged, against a server; `make test-frameworks` runs this."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import numpy as np
import pytest

from modelpad.bundle import Bundle
from modelpad.server import ModelTable, build_app
from modelpad.server.grpc.listener import GrpcServer
from modelpad.server.http.server import HttpServer
from modelpad.server.http.sockets import Address, open_socket

kserve = pytest.importorskip("kserve")
grpc = pytest.importorskip("grpc")

FIRST = np.arange(8, dtype=np.int32).reshape(2, 4)
SECOND = np.full((2, 4), 3, np.int32)


def ask(protocol: str, act: Callable[[Any], Awaitable[Any]]) -> Any:
    """What `act` gets of a client of that protocol."""

    async def run() -> Any:
        config = kserve.RESTConfig(protocol=protocol)
        async with kserve.InferenceRESTClient(config) as client:
            return await act(client)

    return asyncio.run(run())


def ask_grpc(address: str, act: Callable[[Any], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with kserve.InferenceGRPCClient(address) as client:
            return await act(client)

    return asyncio.run(run())


def make_request(binary: bool, model: str = "mix") -> Any:
    inputs = []
    for name, array in (("first", FIRST), ("second", SECOND)):
        inputs.append(kserve.InferInput(name, list(array.shape), "INT32"))
        inputs[-1].set_data_from_numpy(array, binary_data=binary)
    return kserve.InferRequest(model, inputs, request_id="seven")


def check_answer(answer: Any) -> None:
    assert (answer.id, answer.model_name) == ("seven", "mix")
    found = {each.name: each.as_numpy() for each in answer.outputs}
    np.testing.assert_array_equal(found["total"], FIRST + SECOND)
    np.testing.assert_array_equal(found["apart"], FIRST - SECOND)


def test_v1(protocols: str) -> None:
    url = f"http://{protocols}"
    assert ask("v1", lambda client: client.is_server_live(url)) is True
    assert ask("v1", lambda client: client.is_model_ready(url, "mix")) is True
    rows = {"instances": [0.0, 2.0]}
    answer = ask("v1", lambda client: client.infer(url, rows, model_name="half_plus_two"))
    assert answer == {"predictions": [2.0, 3.0]}
    for act in (
        lambda client: client.infer(url, rows, model_name="nothing"),
        lambda client: client.is_model_ready(url, "nothing"),
    ):
        with pytest.raises(httpx.HTTPStatusError, match=r"No model named 'nothing'.*404"):
            ask("v1", act)


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_v2_inference(protocols: str, binary: bool) -> None:
    url = f"http://{protocols}"
    request = make_request(binary)
    check_answer(ask("v2", lambda client: client.infer(url, request, model_name="mix")))
    with pytest.raises(httpx.HTTPStatusError, match=r"unknown model.*404"):
        ask("v2", lambda client: client.infer(url, request, model_name="nothing"))
    alone = kserve.InferRequest("mix", request.inputs[:1])
    with pytest.raises(httpx.HTTPStatusError, match=r"'second' is missing.*400"):
        ask("v2", lambda client: client.infer(url, alone, model_name="mix"))


def test_v2_health(protocols: str) -> None:
    url = f"http://{protocols}"
    assert ask("v2", lambda client: client.is_server_live(url)) is True
    assert ask("v2", lambda client: client.is_server_ready(url)) is True
    assert ask("v2", lambda client: client.is_model_ready(url, "mix")) is True
    assert ask("v2", lambda client: client.is_model_ready(url, "nothing")) is False


def test_v2_pictures(protocols: str, digits: Bundle) -> None:
    pictures = [digits.path(f"samples/{n}.png").read_bytes() for n in (4, 7)]
    given = kserve.InferInput("image", [2], "BYTES")
    given.set_data_from_numpy(np.array(pictures, dtype=object), binary_data=True)
    request = kserve.InferRequest("digits", [given])
    url = f"http://{protocols}"
    answer = ask("v2", lambda client: client.infer(url, request, model_name="digits"))
    assert answer.outputs[0].as_numpy().argmax(axis=1).tolist() == [4, 7]


@pytest.mark.parametrize("binary", [True, False], ids=["raw", "typed"])
def test_grpc_inference(grpc_address: str, binary: bool) -> None:
    check_answer(ask_grpc(grpc_address, lambda client: client.infer(make_request(binary))))
    with pytest.raises(grpc.RpcError) as caught:
        ask_grpc(grpc_address, lambda client: client.infer(make_request(binary, "nothing")))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_grpc_health(grpc_address: str) -> None:
    assert ask_grpc(grpc_address, lambda client: client.is_server_live()) is True
    assert ask_grpc(grpc_address, lambda client: client.is_server_ready()) is True
    assert ask_grpc(grpc_address, lambda client: client.is_model_ready("mix")) is True
    assert ask_grpc(grpc_address, lambda client: client.is_model_ready("nothing")) is False


@pytest.mark.parametrize("stopping", [False, True], ids=["opening", "stopping"])
def test_a_server_that_is_not_ready(stopping: bool) -> None:
    """It lives; to v1 its models answer 503, which the client reads as not ready."""

    async def run() -> None:
        app = build_app(ModelTable([]) if stopping else None)
        app.host.stopping = stopping
        server, calls = HttpServer(app.respond), GrpcServer(app.backend)
        listener = open_socket(Address(port=0))
        await server.listen(listener)
        port = await calls.listen(Address(port=0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v1")) as client:
            assert await client.is_server_live(url) is True
            assert await client.is_model_ready(url, "mix") is False
        async with kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v2")) as client:
            assert await client.is_server_live(url) is True
            assert await client.is_model_ready(url, "mix") is False
            with pytest.raises(httpx.HTTPStatusError, match="503"):
                await client.is_server_ready(url)
        async with kserve.InferenceGRPCClient(f"127.0.0.1:{port}") as client:
            assert await client.is_server_live() is True
            assert await client.is_server_ready() is False
            assert await client.is_model_ready("mix") is False
        await calls.stop(1)
        await server.stop(1)

    asyncio.run(run())
