"""A SavedModel only computes, and writes nothing, unless it is trusted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelpad.errors import NotTrusted

tensorflow = pytest.importorskip("tensorflow")
pytest.importorskip("tf2onnx")


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """A SavedModel of a function of `x` (batch, 4)."""

    def go(body: Callable[[Any], Any]) -> Path:
        class Module(tensorflow.Module):  # type: ignore[name-defined, misc]
            def __init__(self) -> None:
                self.weight = tensorflow.Variable([2.0])

            @tensorflow.function(  # type: ignore[untyped-decorator]
                input_signature=[tensorflow.TensorSpec([None, 4], tensorflow.float32, name="x")]
            )
            def run(self, x: Any) -> Any:
                return {"y": body(x) * self.weight}

        module = Module()
        tensorflow.saved_model.save(module, str(tmp_path / "saved"), signatures=module.run)
        return tmp_path / "saved"

    return go


BODIES: dict[str, Callable[[Any], Any]] = {
    "ReadFile": lambda x: x + float(0) * tensorflow.cast(
        tensorflow.strings.length(tensorflow.io.read_file("/etc/hostname")), tensorflow.float32
    ),
    "MatchingFiles": lambda x: x + tensorflow.cast(
        tensorflow.size(tensorflow.io.matching_files("/etc/*")), tensorflow.float32
    ),
    "ImmutableConst": lambda x: x + tensorflow.raw_ops.ImmutableConst(
        dtype=tensorflow.float32, shape=[1], memory_region_name="/etc/hostname"
    ),
    "CacheDataset": lambda x: x + tensorflow.data.Dataset.range(2).cache("/tmp/x").reduce(
        tensorflow.constant(0.0), lambda total, _: total
    ),
    "PrintV2": lambda x: (tensorflow.print(x), x)[1],
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
def test_operations_that_do_more_than_compute(
    name: str, save: Callable[..., Path], open_foreign: Any
) -> None:
    with pytest.raises(NotTrusted, match=name):
        open_foreign(save(BODIES[name]))


def test_links_inside(save: Callable[..., Path], tmp_path: Path, open_foreign: Any) -> None:
    path = save(lambda x: x)
    (path / "variables").rename(tmp_path / "elsewhere")
    (path / "variables").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotTrusted, match="link"):
        open_foreign(path)


def test_its_own_saving_is_disabled(
    save: Callable[..., Path], tmp_path: Path, open_foreign: Any
) -> None:
    """The function that saves takes a path, and may be called by any other."""
    from tensorflow.core.protobuf import saved_model_pb2

    source = open_foreign(save(lambda x: x))
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((source.path / "saved_model.pb").read_bytes())
    library = saved.meta_graphs[0].graph_def.library.function
    savers = [each for each in library if "traced_save" in each.signature.name]
    assert savers
    assert not {node.op for each in savers for node in each.node_def} & {"SaveV2"}
    assert [spec.shape for spec in source.outputs] == [(None, 4)]
    assert source.export().graph.node
