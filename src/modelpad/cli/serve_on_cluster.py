"""`modelpad serve --on ADDRESS`, and the application that `modelpad deploy --to ray` deploys."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from modelpad.cli.cluster_options import read_cluster_options

if TYPE_CHECKING:
    from modelpad.server.options import ServeOptions


def run_on_cluster(args: argparse.Namespace, options: ServeOptions) -> int:
    """Serves on a Ray cluster until it is stopped."""
    from modelpad.cluster.serving import serve_on_cluster

    cluster = read_cluster_options(args)

    def announce(url: str) -> None:
        print(f"Serving on {cluster.address}, {cluster.least} to {cluster.most} replicas")
        print(f"  page  {url}\n  API   {url}/docs\n  Press Ctrl-C to stop.", flush=True)

    return serve_on_cluster(options, cluster, announce)


def build_application() -> Any:
    """The application for Ray Serve, with the options that the environment's variables set.

    Ray imports it on the cluster (`import_path`); its configuration file decides on the replicas.

    Raises `UsageError` for a variable with an invalid value.
    """
    from modelpad.cli.main import build_parser
    from modelpad.cli.serve_options import read_options
    from modelpad.cluster.connection import load_ray
    from modelpad.cluster.options import LOCAL
    from modelpad.cluster.serving import make_application

    words = ["serve", "--on", LOCAL]
    args = build_parser(words, os.environ).parse_args(words)
    return make_application(load_ray().serve, read_options(args), read_cluster_options(args))
