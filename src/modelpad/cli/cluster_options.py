"""The options of `modelpad serve` about a cluster, and `ClusterOptions` from their values."""

from __future__ import annotations

import argparse
import re

from modelpad.cli.numbers import not_negative, positive
from modelpad.cluster.options import ClusterOptions
from modelpad.errors import UsageError

REPLICAS = re.compile(r"(\d{1,6}):(\d{1,6})")
# What belongs to one machine, or is shared by its processes.
ELSEWHERE = ("grpc_port", "tls_cert", "studio", "feedback", "rate_limit", "workers")


def add_cluster_options(group: argparse._ArgumentGroup) -> None:
    """Whether to serve on a Ray cluster, with how many replicas."""
    group.add_argument(
        "--on",
        metavar="ADDRESS",
        help="serve on a Ray cluster: the address of its head, such as ray://HOST:10001, or local"
        " for one on this machine; needs the extra ray (default: in processes of this machine)",
    )
    group.add_argument(
        "--replicas",
        default="1:4",
        metavar="MIN:MAX",
        help="--on: how many replicas there are, as the requests need (default: %(default)s)",
    )
    group.add_argument(
        "--replica-cpus",
        type=not_negative("--replica-cpus", float),
        default=1.0,
        metavar="N",
        help="--on: CPUs for each replica (default: %(default)g)",
    )
    group.add_argument(
        "--replica-gpus",
        type=not_negative("--replica-gpus", float),
        default=0.0,
        metavar="N",
        help="--on: GPUs for each replica; 0.5 lets two share one (default: %(default)g)",
    )
    group.add_argument(
        "--replica-requests",
        type=positive("--replica-requests", int),
        default=8,
        metavar="N",
        help="--on: add a replica when each works on more requests than this at once"
        " (default: %(default)s)",
    )
    group.add_argument(
        "--replica-idle",
        type=not_negative("--replica-idle", float),
        default=60.0,
        metavar="SECONDS",
        help="--on: stop a replica that was not needed for so long (default: %(default)g)",
    )


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
