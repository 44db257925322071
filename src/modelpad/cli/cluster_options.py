"""Builds `ClusterOptions` from the arguments of `modelpad serve --on`."""

from __future__ import annotations

import argparse
import re

from modelpad.cluster.options import ClusterOptions
from modelpad.errors import UsageError

REPLICAS = re.compile(r"(\d{1,6}):(\d{1,6})")
# What belongs to one machine, or is shared by its processes.
ELSEWHERE = ("grpc_port", "tls_cert", "studio", "feedback", "rate_limit", "workers")


def read_cluster_options(args: argparse.Namespace) -> ClusterOptions:
    """Raises `UsageError` for invalid values, and for what a cluster does not do."""
    for name in ELSEWHERE:
        if getattr(args, name):
            raise UsageError(
                f"--{name.replace('_', '-')} does not work with --on.",
                hint="Use it with a server on one machine, or in a proxy in front of the cluster.",
            )
    found = REPLICAS.fullmatch(args.replicas)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise UsageError(
            f"--replicas {args.replicas!r} is not MIN:MAX.", hint="Give two numbers from 1: 1:8"
        )
    return ClusterOptions(
        address=args.on,
        least=int(found[1]),
        most=int(found[2]),
        cpus=args.replica_cpus,
        gpus=args.replica_gpus,
        requests=args.replica_requests,
        calm_s=args.replica_idle,
    )
