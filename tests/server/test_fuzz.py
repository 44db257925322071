"""Whatever is sent, the answer is one that is documented; never a defect of ours.

The decoders alone, gRPC's among them, are fuzzed by the targets in `fuzz/`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelpad.bundle import open_bundle
from modelpad.server import App, ModelTable, ServedModel, build_app
from modelpad.server.budget import Reservation
from modelpad.server.http.messages import Request, ServerLimits
from modelpad.zoo import zoo_bundles

TYPES = [
    "application/json",
    "image/png",
    "text/plain",
    "application/octet-stream",
    "application/x-ndjson",
    "multipart/form-data; boundary=x",
    "multipart/form-data",
    "",
    "application/x-www-form-urlencoded",
    "application/xml",
]
MODELS = ["digits", "mix", "half_plus_two", "echo", "pick", "nothing"]
PATHS = [
    "/predict/{}",
    "/v1/models/{}:predict",
    "/v1/models/{}:classify",
    "/v1/models/{}:regress",
    "/v2/models/{}/infer",
]
ALLOWED = {200, 400, 401, 404, 405, 413, 415, 422, 429}

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
)
WORDS = (
    "inputs instances examples outputs name shape datatype data parameters image first second x"
    " words row b64 signature_name id context binary_data_size classification timeout"
)
KEYS = st.sampled_from(WORDS.split())
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=25,
)
TENSORS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["first", "second", "x", "words", "row", "image"]),
        "shape": st.lists(st.integers(0, 5), max_size=3) | VALUES,
        "datatype": st.sampled_from(["INT32", "FP32", "BYTES", "BOOL", "FP16", "UINT64", "X"]),
        "data": st.lists(LEAVES, max_size=8) | VALUES,
    }
)
REQUESTS = st.fixed_dictionaries(
    {"inputs": st.lists(TENSORS, max_size=3)},
    optional={"outputs": VALUES, "parameters": VALUES, "id": VALUES},
)
BODIES = st.binary(max_size=300) | (VALUES | REQUESTS).map(lambda v: json.dumps(v).encode())


@pytest.fixture(scope="module")
def app(bundles: Path) -> Iterator[App]:
    folders = [*sorted(bundles.iterdir()), zoo_bundles()["digits"]]
    opened = [open_bundle(folder) for folder in folders]
    made = build_app(ModelTable(ServedModel.load(b.manifest.name, 1, b) for b in opened))
    yield made
    assert made.host.models is not None
    made.host.models.close()


def ask(app: App, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    async def read() -> tuple[bytes, bool]:
        return body, False

    async def go() -> tuple[int, bytes]:
        limits = ServerLimits(body_bytes=1 << 20)
        with Reservation(app.backend.budget) as held:
            held.grow(len(body))
            response = await app.respond(Request("POST", path, b"", headers, read, limits, held))
            parts = b"".join([part async for part in response.parts]) if response.parts else b""
        return response.status, response.body + parts

    answer = asyncio.run(go())
    assert app.backend.budget.used == 0
    return answer


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    path=st.sampled_from(PATHS),
    model=st.sampled_from(MODELS),
    body=BODIES,
    kind=st.sampled_from(TYPES),
    length=st.none() | st.sampled_from(["0", "5", "20", "999", "x"]),
    packed=st.sampled_from(["", "", "", "gzip", "deflate", "br"]),
)
@pytest.mark.slow
def test_any_body_has_a_documented_answer(
    app: App, path: str, model: str, body: bytes, kind: str, length: str | None, packed: str
) -> None:
    headers = {"content-type": kind}
    if length is not None:
        headers["inference-header-content-length"] = length
    if packed:
        headers["content-encoding"] = packed
    status, answer = ask(app, path.format(model), body, headers)
    assert status in ALLOWED, (status, answer)
    if status != 200:
        assert json.loads(answer)["error"]
