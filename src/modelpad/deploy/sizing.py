"""How large an instance must be: measured on this machine, with the models' own samples."""

from __future__ import annotations

from collections.abc import Sequence

from modelpad.deploy.deployment import Sizing
from modelpad.engine import Session, find_best_batch
from modelpad.errors import ModelpadError
from modelpad.store import ResolvedBundle

MB = 1024 * 1024
BASE_MB = 384  # the interpreter, the server, and requests in flight
STEP_MB = 512  # what platforms sell
GRAPH_COPIES = 3  # the file while it is read, ONNX Runtime's copy, and its working memory
WAITING = 2  # batches that an instance holds: one runs, the next one waits
MAX_CONCURRENCY = 80  # more requests at once only add latency, with one CPU


def measure_sizing(models: Sequence[ResolvedBundle], *, measure: bool = True) -> Sizing:
    """What an instance of one CPU needs to serve `models`.

    An instance should hold as many requests at once as keep it busy with batches of the best size:
    one that runs and one that waits. Without `measure`, or for models without samples, batches of
    one are assumed.
    """
    batches = {model.name: measure_batch(model) if measure else 1 for model in models}
    graph_mb = sum(model.bundle.graph_bytes for model in models) / MB
    needed_mb = BASE_MB + GRAPH_COPIES * graph_mb
    memory_mb = STEP_MB * max(1, -(-int(needed_mb) // STEP_MB))
    concurrency = min(MAX_CONCURRENCY, WAITING * max(batches.values(), default=1))
    return Sizing(cpus=1, memory_mb=memory_mb, concurrency=concurrency, batches=batches)


def measure_batch(model: ResolvedBundle) -> int:
    """The model's best batch size on this machine; 1 if it cannot be measured."""
    samples = model.bundle.manifest.samples
    if not samples:
        return 1
    try:
        session = Session(model.bundle)
        values = session.bundle.sample_values(samples[0].inputs)
        limits, _ = find_best_batch(session, session.typed.inputs.decode(values))
    except (ModelpadError, OSError):
        return 1
    return limits.max_batch_size
