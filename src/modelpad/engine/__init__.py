"""The engine runs an opened bundle; it knows nothing of stores or HTTP."""

from modelpad.engine.batcher import CALLER, Batcher, BatchRecord, QueueLimits
from modelpad.engine.batching import BatchLimits
from modelpad.engine.calibration import find_best_batch
from modelpad.engine.memory import MemoryBudget, release_memory, share_arenas
from modelpad.engine.session import DEVICES, Session, SessionSettings, TensorInfo, allotted_cpus

__all__ = [
    "CALLER",
    "DEVICES",
    "BatchLimits",
    "BatchRecord",
    "Batcher",
    "MemoryBudget",
    "QueueLimits",
    "Session",
    "SessionSettings",
    "TensorInfo",
    "allotted_cpus",
    "find_best_batch",
    "release_memory",
    "share_arenas",
]
