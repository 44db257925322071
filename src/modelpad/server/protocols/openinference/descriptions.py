"""What the server and its models are, as plain values: metadata, configuration, statistics.

Triton's JSON and its gRPC messages have the same fields, so both are made from these.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from modelpad import __version__
from modelpad.engine import TensorInfo
from modelpad.fields.tensor import MAX_ELEMENTS
from modelpad.server.model_table import ModelTable, ServedVersions
from modelpad.server.models import ServedModel
from modelpad.server.observability.metrics import Metrics, ModelCounts
from modelpad.server.protocols.openinference.datatypes import is_batched, name_datatype

Record = dict[str, object]

EXTENSIONS = [
    "binary_tensor_data",
    "classification",
    "generate",
    "model_configuration",
    "statistics",
]
MAX_BATCH = 10_000  # what is declared for models of small items
CHANNELS = (1, 3, 4)


def list_extensions(*, admin: bool) -> list[str]:
    """The extensions of the protocol; the model repository only where there are admins."""
    return sorted([*EXTENSIONS, *(["model_repository"] if admin else [])])


def describe_server(*, admin: bool) -> Record:
    """`GET /v2`."""
    return {
        "name": "modelpad",
        "version": __version__,
        "extensions": list_extensions(admin=admin),
    }


def describe_model(served: ServedVersions, model: ServedModel) -> Record:
    """`GET /v2/models/{model}`: its tensors, shaped exactly as the graph declares them."""
    return {
        "name": model.name,
        "versions": [str(version) for version in sorted(served.versions)],
        "platform": model.platform,
        "inputs": [_describe(info) for info in model.inputs],
        "outputs": [_describe(info) for info in model.outputs],
    }


def _describe(info: TensorInfo) -> Record:
    return {
        "name": info.name,
        "datatype": name_datatype(info.dtype),
        "shape": list(info.shape),
    }


def describe_config(model: ServedModel) -> Record:
    """`.../config`, as `perf_analyzer` reads it.

    Where all tensors begin with the batch axis, it is not among the `dims`, and requests may have
    up to `max_batch_size` items. Otherwise `max_batch_size` is 0, and `dims` are whole shapes.
    """
    batched = is_batched(model)
    pictures = _list_pictures(model)
    config: Record = {
        "name": model.name,
        "platform": model.platform,
        "backend": model.backend,
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": _count_batch(model.inputs) if batched else 0,
        "input": [
            _configure(info, batched)
            | {"format": _find_format(info) if info.name in pictures else "FORMAT_NONE"}
            for info in model.inputs
        ],
        "output": [_configure(info, batched) for info in model.outputs],
        "model_transaction_policy": {"decoupled": False},
    }
    if batched:
        limits = model.batcher.batches
        config["dynamic_batching"] = {
            "preferred_batch_size": [max(1, limits.max_batch_size)],
            "max_queue_delay_microseconds": round(limits.wait_s * 1e6),
        }
    return config


def _configure(info: TensorInfo, batched: bool) -> Record:
    datatype = name_datatype(info.dtype)
    return {
        "name": info.name,
        "data_type": "TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}",
        "dims": list(info.shape[1:] if batched else info.shape),
    }


def _count_batch(inputs: Sequence[TensorInfo]) -> int:
    """How many items a request may have, by the limit on the elements of a tensor."""
    largest = max((math.prod(map(abs, info.shape[1:])) for info in inputs), default=1)
    return max(1, min(MAX_BATCH, MAX_ELEMENTS // max(1, largest)))


def _list_pictures(model: ServedModel) -> set[str]:
    """The input tensors that a field fills with a picture."""
    signature = model.bundle.manifest.signature
    pairs = zip(signature.inputs, signature.input_bindings, strict=True)
    return {binding.tensor for field, binding in pairs if field.kind in ("image", "sketch")}


def _find_format(info: TensorInfo) -> str:
    """The layout of a picture, where the shape leaves no doubt."""
    item = info.item_shape
    if len(item) != 3 or (item[0] in CHANNELS) == (item[-1] in CHANNELS):
        return "FORMAT_NONE"
    first = item[0] in CHANNELS
    return "FORMAT_NCHW" if first else "FORMAT_NHWC"


def describe_stats(models: Iterable[ServedModel], metrics: Metrics) -> Record:
    """`.../stats`: counts and nanoseconds of each version since the start."""
    return {
        "model_stats": [
            _describe_counts(model, metrics.count_of(model.name, model.version)) for model in models
        ]
    }


def select_models(table: ModelTable, name: str = "", version: str = "") -> list[ServedModel]:
    """The versions that statistics are asked of: of all models, of one, or a single one.

    Raises `ModelNotFound`, `VersionNotFound`.
    """
    if not name:
        return [model for each in sorted(table.served) for model in select_models(table, each)]
    served = table.find_versions(name)
    if version:
        return [served.find(version)]
    return [served.versions[number] for number in sorted(served.versions)]


def _describe_counts(model: ServedModel, counts: ModelCounts) -> Record:
    def duration(count: int, seconds: float) -> dict[str, int]:
        return {"count": count, "ns": int(seconds * 1e9)}

    requests, phases = counts.requests, counts.phases
    return {
        "name": model.name,
        "version": str(model.version),
        "last_inference": int(counts.last * 1000),
        "inference_count": counts.items,
        "execution_count": counts.batches,
        "inference_stats": {
            "success": duration(requests - counts.failures, counts.seconds),
            "fail": duration(counts.failures, 0.0),
            "queue": duration(requests, counts.queue_s),
            "compute_input": duration(requests, phases.prepare_s),
            "compute_infer": duration(requests, phases.inference_s),
            "compute_output": duration(requests, phases.encode_s),
            "cache_hit": duration(0, 0.0),
            "cache_miss": duration(0, 0.0),
        },
        "batch_stats": [],
    }
