"""Jobs: work that outlives a request, in a durable queue.

Clients submit jobs to a `JobQueue`, look at them and cancel them. One `worker` process for each
folder starts a `runner` process for each attempt at a job. All of them share a SQLite file, and
find out by locks who is still alive: a job is finished, resumed or reported as lost, whatever is
killed.
"""

from modelpad.jobs.job import Job, JobRequest, LogLine
from modelpad.jobs.kinds import Kind, load_kind
from modelpad.jobs.queue import JobQueue, QueueLimits
from modelpad.jobs.settings import WorkSettings

__all__ = [
    "Job",
    "JobQueue",
    "JobRequest",
    "Kind",
    "LogLine",
    "QueueLimits",
    "WorkSettings",
    "load_kind",
]
