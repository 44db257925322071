"""The engine runs an opened bundle; it knows nothing of stores or HTTP."""

from modelpad.engine.runner import QueueLimits, Runner, ThreadRunner
from modelpad.engine.session import Session, SessionSettings, allotted_cpus

__all__ = ["QueueLimits", "Runner", "Session", "SessionSettings", "ThreadRunner", "allotted_cpus"]
