"""A kind of job that cannot be resumed."""

from modelpad.jobs import Kind
from tests.jobs.tiny import check

KIND = Kind("once", "next to nothing, once", check, "tests.jobs.tiny:run", resumes=False)
