"""What the server and its models are: metadata, configuration, statistics."""

from __future__ import annotations

from collections.abc import Sequence

from modelpad import __version__
from modelpad.engine import TensorInfo
from modelpad.server.http.messages import Response, respond_json
from modelpad.server.model_table import ServedVersions
from modelpad.server.models import ServedModel
from modelpad.server.observability.metrics import ModelCounts
from modelpad.server.protocols.openinference.datatypes import DATATYPES

EXTENSIONS = [
    "binary_tensor_data",
    "classification",
    "generate",
    "model_configuration",
    "statistics",
]


def list_extensions(*, admin: bool) -> list[str]:
    """The extensions of the protocol; the model repository only where there are admins."""
    return sorted([*EXTENSIONS, *(["model_repository"] if admin else [])])


def describe_server(*, admin: bool) -> Response:
    """`GET /v2`."""
    server = {"name": "modelpad", "version": __version__}
    return respond_json(server | {"extensions": list_extensions(admin=admin)})


def describe_model(served: ServedVersions, model: ServedModel) -> Response:
    """`GET /v2/models/{model}`: its tensors."""
    return respond_json(
        {
            "name": model.name,
            "versions": [str(version) for version in sorted(served.versions)],
            "platform": model.platform,
            "inputs": [_describe(info) for info in model.inputs],
            "outputs": [_describe(info) for info in model.outputs],
        }
    )


def show_config(model: ServedModel) -> Response:
    """`.../config`: as `perf_analyzer` reads it; the batch is not among the `dims`."""

    def list_tensors(infos: Sequence[TensorInfo]) -> list[dict[str, object]]:
        return [
            {
                "name": info.name,
                "data_type": "TYPE_STRING"
                if info.dtype == "string"
                else f"TYPE_{DATATYPES[info.dtype]}",
                "dims": list(info.shape[1:]) or [1],
            }
            for info in infos
        ]

    return respond_json(
        {
            "name": model.name,
            "platform": model.platform,
            "backend": model.backend,
            "version_policy": {"latest": {"num_versions": 1}},
            "max_batch_size": max(1, model.batcher.batches.max_batch_size),
            "input": list_tensors(model.inputs),
            "output": list_tensors(model.outputs),
        }
    )


def show_stats(model: ServedModel, counts: ModelCounts) -> Response:
    """`.../stats`: counts and nanoseconds since the start."""

    def duration(count: int, seconds: float) -> dict[str, int]:
        return {"count": count, "ns": int(seconds * 1e9)}

    done = counts.requests - counts.failures
    stats = {
        "name": model.name,
        "version": str(model.version),
        "last_inference": int(counts.last * 1000),
        "inference_count": counts.items,
        "execution_count": counts.batches,
        "inference_stats": {
            "success": duration(done, counts.seconds),
            "fail": duration(counts.failures, 0.0),
            "queue": duration(counts.requests, counts.queue_s),
            "compute_input": duration(counts.batches, counts.prepare_s),
            "compute_infer": duration(counts.batches, counts.inference_s),
            "compute_output": duration(counts.batches, counts.encode_s),
        },
        "batch_stats": [],
    }
    return respond_json({"model_stats": [stats]})


def _describe(info: TensorInfo) -> dict[str, object]:
    return {"name": info.name, "datatype": DATATYPES[info.dtype], "shape": list(info.shape)}
