"""The engine runs bundles. It does not depend on stores or HTTP."""

from modelpad.engine.batcher import Batcher, QueueLimits
from modelpad.engine.batching import BatchLimits
from modelpad.engine.calibration import find_best_batch
from modelpad.engine.contract import Engine, ModelSession
from modelpad.engine.graph import DEVICES, LARGE_GRAPH_BYTES, GraphCache, SessionSettings
from modelpad.engine.memory import MemoryBudget, release_memory, share_arenas
from modelpad.engine.offline import answer_batch
from modelpad.engine.opening import open_session
from modelpad.engine.request import CALLER
from modelpad.engine.running import BatchRecord
from modelpad.engine.session import Session, allotted_cpus
from modelpad.engine.tensors import TensorInfo
from modelpad.engine.typed import LARGE_ARRAY, TypedAccess, batch_first

__all__ = [
    "CALLER",
    "DEVICES",
    "LARGE_ARRAY",
    "LARGE_GRAPH_BYTES",
    "BatchLimits",
    "BatchRecord",
    "Batcher",
    "Engine",
    "GraphCache",
    "MemoryBudget",
    "ModelSession",
    "QueueLimits",
    "Session",
    "SessionSettings",
    "TensorInfo",
    "TypedAccess",
    "allotted_cpus",
    "answer_batch",
    "batch_first",
    "find_best_batch",
    "open_session",
    "release_memory",
    "share_arenas",
]
