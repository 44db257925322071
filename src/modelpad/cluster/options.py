"""How many replicas serve on a cluster, and what each needs."""

from __future__ import annotations

import msgspec

LOCAL = "local"


class ClusterOptions(msgspec.Struct, frozen=True):
    """`address` is that of a Ray cluster, or `local` to start one on this machine.

    There are `least` to `most` replicas, each with `cpus` and `gpus`, also fractions. One more is
    started when each works on more than `requests` at once, and one is stopped `calm_s` after it
    was needed last.
    """

    address: str
    least: int
    most: int
    cpus: float
    gpus: float
    requests: int
    calm_s: float
