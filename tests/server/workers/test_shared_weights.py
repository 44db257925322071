"""Two workers and one large graph: its weights are in memory once."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelpad.bundle import Bundle
from modelpad.fields import Signature, Tensor

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

SIDE = 1448
WEIGHTS_BYTES = 4 * SIDE * SIDE  # 8 MB
FIELDS = re.compile(r"^(Pss|Private_Dirty|Anonymous): +(\d+) kB$", re.MULTILINE)


@pytest.fixture
def large(tmp_path: Path, build_bundle: Any) -> Bundle:
    weights = np.random.default_rng(0).standard_normal((SIDE, SIDE)).astype(np.float32)
    value = numpy_helper.from_array(weights, "w")
    nodes = [
        helper.make_node("Constant", [], ["w"], value=value),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    kind = TensorProto.FLOAT
    signature = Signature((Tensor("x", "float32", (SIDE,)),), (Tensor("y", "float32", (SIDE,)),))
    made: Bundle = build_bundle(
        tmp_path, "large", nodes, [("x", kind, [SIDE])], [("y", kind, [SIDE])], signature
    )
    return made


def read_weights(pid: int, cache: Path) -> dict[str, int]:
    """The kilobytes that a process has mapped of files in the cache, by kind."""
    total = {"Pss": 0, "Private_Dirty": 0, "Anonymous": 0}
    smaps = Path(f"/proc/{pid}/smaps").read_text()
    for part in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", smaps, flags=re.MULTILINE):
        if str(cache) in part:
            for name, size in FIELDS.findall(part):
                total[name] += int(size)
    return total


def test_workers_share_the_weights(
    serve: Any, large: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELPAD_CACHE", str(tmp_path / "cache"))
    options = ("--workers", "2", "--min-shared-mb", "1")
    running = serve(str(large.folder), *options, store=tmp_path / "store")
    row = np.linspace(-1, 1, SIDE).tolist()
    answers = set()
    for _ in range(4):  # a new connection each: workers take turns
        answer = httpx.post(f"{running.url}/v1/models/large:predict", json={"instances": [row]})
        assert answer.status_code == 200
        answers.add(answer.text)
    assert len(answers) == 1
    workers = psutil.Process(running.process.pid).children()
    mapped = [read_weights(worker.pid, tmp_path / "cache") for worker in workers]
    assert len(mapped) == 2
    for sizes in mapped:
        assert sizes["Anonymous"] == 0
        assert sizes["Pss"] < 0.75 * WEIGHTS_BYTES / 1024  # half each, or not yet all of it
    assert sum(sizes["Pss"] for sizes in mapped) > 0.9 * WEIGHTS_BYTES / 1024
