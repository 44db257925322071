"""What the way through a Ray cluster costs: `modelpad serve` against `serve --on local`.

The same picture is predicted one after the other, and over `--connections`, directly and by one
replica, in turns, `--rounds` times; both servers run all the while. The best round of each counts,
as other work on the machine only adds time. Needs the extra `ray`.

usage: python bench/ray_hop.py [--seconds 3] [--connections 16] [--rounds 4]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections import defaultdict

from digit_load import send
from modelpad.cli.bench import start_server
from modelpad.client.load import Load
from modelpad.engine import allotted_cpus
from processes import find_port

ON_RAY = ("--on", "local", "--replicas", "1:1", "--replica-cpus", "0.5")
WARM_S = 2.0


def measure(port: int, connections: int, seconds: float) -> Load:
    """The responses to the picture; all must have succeeded."""
    load = send(port, connections, seconds)
    assert not load.failed, load.statuses
    return load


def describe(loads: list[Load]) -> str:
    """Cells of the table: the best median, 99th percentile and rate."""
    p50, p99 = (min(load.percentile_ms(share) for load in loads) for share in (0.5, 0.99))
    rate = max(load.answers_per_s for load in loads)
    return f"{p50:.1f} ms | {p99:.1f} ms | {rate:,.0f}"


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=4)
    args = parser.parse_args()
    os.environ |= {"RAY_worker_niceness": "0"}  # else the replica yields to all other work
    loads: dict[tuple[str, int], list[Load]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as store:
        common = ("--workers", "1", "--store", store)
        servers = {"modelpad serve": start_server("digits", *common, quiet=True)}
        port = str(find_port())  # Ray takes no 0
        on_ray = start_server("digits", "--store", store, "--port", port, *ON_RAY, quiet=True)
        servers["serve --on local"] = on_ray
        try:
            for _, port_of in servers.values():
                measure(port_of, args.connections, WARM_S)
            for _ in range(args.rounds):
                for connections in (1, args.connections):
                    for name, (_, port_of) in servers.items():
                        load = measure(port_of, connections, args.seconds)
                        loads[name, connections].append(load)
        finally:
            for process, _ in servers.values():
                process.terminate()
            for process, _ in servers.values():
                process.wait(60)
    print(f"{allotted_cpus()} CPUs\n")
    print("| connections | server | p50 | p99 | requests/s |")
    print("| --- | --- | --- | --- | --- |")
    for (name, connections), found in sorted(loads.items(), key=lambda item: item[0][1]):
        print(f"| {connections} | `{name}` | {describe(found)} |")


if __name__ == "__main__":
    main()
