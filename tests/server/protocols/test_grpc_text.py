"""Texts over gRPC, with Triton's unchanged client: a response for each piece."""

from __future__ import annotations

import json
import queue
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("tokenizers")
client = pytest.importorskip("tritonclient.grpc")

from tests.text_graphs import write_writer  # noqa: E402

PROMPT = "My favorite part was when"
OPTIONS = {"max_tokens": 6, "temperature": 0}


@pytest.fixture(scope="module")
def triton(
    tmp_path_factory: pytest.TempPathFactory,
    start_serving: Callable[..., AbstractContextManager[tuple[Any, str]]],
) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("bundles")
    write_writer(folder / "writer")
    with (
        start_serving(str(folder / "writer"), store=folder / "store") as (_, address),
        client.InferenceServerClient(address) as connected,
    ):
        yield connected


def make_inputs(**values: Any) -> list[Any]:
    inputs = []
    for name, value in values.items():
        is_flag = isinstance(value, bool)
        inputs.append(client.InferInput(name, [1], "BOOL" if is_flag else "BYTES"))
        array = np.array([value if is_flag else value.encode()], bool if is_flag else object)
        inputs[-1].set_data_from_numpy(array)
    return inputs


def stream(triton: Any, *requests: list[Any]) -> list[Any]:
    """What comes until as many requests are answered to their end, or have failed."""
    found: queue.Queue[Any] = queue.Queue()
    triton.start_stream(callback=lambda result, error: found.put((result, error)))
    for number, inputs in enumerate(requests):
        triton.async_stream_infer("writer", inputs, request_id=str(number))
    taken, left = [], len(requests)
    while left:
        result, error = found.get(timeout=30)
        taken.append(error or result)
        is_last = error is not None or is_final(result)
        left -= is_last
    triton.stop_stream()
    return taken


def is_final(result: Any) -> bool:
    return bool(result.get_response().parameters["triton_final_response"].bool_param)


def read(result: Any, name: str = "text_output") -> str:
    return str(result.as_numpy(name)[0].decode())


def test_a_text_is_streamed_in_pieces(triton: Any) -> None:
    options = json.dumps(OPTIONS)
    asked = make_inputs(text_input=PROMPT, stream=True, sampling_parameters=options)
    pieces = stream(triton, asked)
    assert len(pieces) > 1
    whole = make_inputs(text_input=PROMPT, stream=False, sampling_parameters=options)
    (once,) = stream(triton, whole)
    assert read(once) == PROMPT + "".join(map(read, pieces))
    assert [is_final(each) for each in pieces] == [False] * (len(pieces) - 1) + [True]
    result = triton.infer("writer", whole)
    assert read(result) == read(once)


def test_the_models_own_names_work(triton: Any) -> None:
    inputs = make_inputs(prompt=PROMPT, exclude_input_in_output=True)
    result = triton.infer("writer", inputs, parameters={"max_tokens": 3, "seed": 1})
    assert not read(result, "text").startswith(PROMPT)
    assert triton.infer("writer", make_inputs(prompt=PROMPT)).as_numpy("text").shape == (1,)


def test_an_error_takes_a_responses_place(triton: Any) -> None:
    wrong = make_inputs(text_input=PROMPT, sampling_parameters='{"temperature": -1}')
    good = make_inputs(text_input=PROMPT, sampling_parameters=json.dumps(OPTIONS))
    first, second = stream(triton, wrong, good)
    assert "temperature must be" in str(first)
    assert read(second).startswith(PROMPT)
    inputs = make_inputs(text_input="x", stream=False)
    inputs[0].set_data_from_numpy(np.array([b"\xff"], object))
    with pytest.raises(client.InferenceServerException, match="not UTF-8"):
        triton.infer("writer", inputs)


def test_the_memory_of_many_strings_is_reserved_before_they_are_read(triton: Any) -> None:
    inputs = make_inputs(text_input="x", stream=False)
    inputs[0].set_shape([4_000_000])
    inputs[0]._raw_content = bytes(4 * 4_000_000)  # empty strings
    with pytest.raises(client.InferenceServerException, match="bytes of memory"):
        triton.infer("writer", inputs)
    (error,) = stream(triton, inputs)
    assert "bytes of memory" in str(error)
