"""Serves models by replicas on a Ray cluster, as many as the requests need (Ray Serve).

Ray's proxy takes the requests and passes each to a replica, which answers as a server of one
process does: the same page, the same protocols over HTTP.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from modelpad.cluster.connection import connect
from modelpad.cluster.options import ClusterOptions
from modelpad.cluster.replica import build_replica
from modelpad.errors import UsageError, first_line

if TYPE_CHECKING:
    from modelpad.server.app import App
    from modelpad.server.options import ServeOptions

NAME = "modelpad"
GROW_S = 2.0  # above the wanted number of requests, before a replica is added
LOOK_S = 1.0  # between two looks at how many requests there are
CHECK_S = 2.0  # between two looks at whether a replica lives


def serve_on_cluster(
    options: ServeOptions, cluster: ClusterOptions, ready: Callable[[str], None]
) -> int:
    """Serves until SIGINT or SIGTERM; calls `ready` with the URL. Returns the exit code.

    Raises `UsageError` if there is no cluster, or no replica can be started on it.
    """
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with connect(cluster.address) as ray:
        serve = ray.serve
        address = {"host": options.network.host, "port": options.network.port}
        try:
            # It waits a minute for the proxy, too little on a busy machine; `run` waits on.
            with contextlib.suppress(TimeoutError):
                serve.start(http_options=address)
            serve.run(make_application(serve, options, cluster), name=NAME, route_prefix="/")
        except RuntimeError as error:
            raise UsageError(
                f"No replica could be started: {first_line(error, 300)}",
                hint="The models must be in a store that every machine of the cluster reaches.",
            ) from error
        ready(f"http://{options.network.host}:{options.network.port}")
        stopped.wait()
        serve.delete(NAME)
    return 0


class Replica:
    """What Ray creates for each replica; its app is made where it runs."""


def make_application(serve: Any, options: ServeOptions, cluster: ClusterOptions) -> Any:
    """The application of Ray Serve: one deployment, whose replicas have all the models."""

    def build() -> App:
        return build_replica(options)

    configure: Any = serve.deployment(
        name=NAME,
        autoscaling_config={
            "min_replicas": cluster.least,
            "max_replicas": cluster.most,
            "target_ongoing_requests": cluster.requests,
            "upscale_delay_s": GROW_S,
            "downscale_delay_s": cluster.calm_s,
            "metrics_interval_s": LOOK_S,
            "look_back_period_s": 2 * LOOK_S,
        },
        ray_actor_options={"num_cpus": cluster.cpus, "num_gpus": cluster.gpus},
        # The replica's own queues are the limit: they answer 429.
        max_ongoing_requests=2 * options.limits.max_queue,
        health_check_period_s=CHECK_S,
        graceful_shutdown_timeout_s=options.workers.shutdown_timeout_s,
    )
    return configure(serve.ingress(build)(Replica)).bind()
