"""`modelpad serve [MODEL...]`: a page for people, an API for programs."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING

from modelpad.cli.main import DONE, add_common_options, add_store_option
from modelpad.cli.settings import (
    Settings,
    endpoint_from_environment,
    hosts_from_environment,
    keys_from_environment,
    paths_from_environment,
    port_from_environment,
)
from modelpad.cli.sources import find_live
from modelpad.errors import UsageError

if TYPE_CHECKING:
    from modelpad.server import ApiKeyAuth, LoadOptions, ModelTable, ServerLimits
    from modelpad.server.http.sockets import Address, Certificate
    from modelpad.server.lifecycle.overrides import Overrides
    from modelpad.server.observability.traces import Traces
    from modelpad.server.security.rate_limits import RateLimiter
    from modelpad.server.workers.memory import WorkerMemory
    from modelpad.store import ResolvedBundle

BODIES_IN_FLIGHT = 8  # of the largest size: one that is decoded takes five times its size
LEAST_MEMORY_MB = 256  # what a worker with a small model needs, and some requests
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s]+")
EXAMPLE = """example:
  modelpad serve digits
  modelpad serve digits@3 --port 9000
  modelpad serve my_model.keras
"""


@dataclass(frozen=True, slots=True)
class Shared:
    """What is made before workers are forked, and is known to all of them."""

    rates: RateLimiter | None
    failures: RateLimiter
    overrides: Overrides
    memory: WorkerMemory


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.epilog = EXAMPLE
    parser.add_argument(
        "models",
        metavar="MODEL",
        nargs="*",
        help="NAME, NAME@VERSION, a bundle's folder, or a trained model's file as it is"
        " (model.keras, net.pt2, ...); all of the store when none is given,"
        " the digits that come with modelpad when it is empty",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, help="port to listen on (PORT, else 8080; 0: any)")
    parser.add_argument(
        "--grpc-port", type=int, help="also speak gRPC on this port, conventionally 8081"
    )
    parser.add_argument(
        "--open",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="open the page in a browser (the default at a terminal)",
    )
    parser.add_argument(
        "--max-body-mb", type=float, default=32.0, help="largest body taken, in MB (%(default)s)"
    )
    parser.add_argument(
        "--max-inflight-mb",
        type=float,
        metavar="MB",
        help="memory that all requests of a worker may hold together (eight times --max-body-mb)",
    )
    parser.add_argument(
        "--timeout", type=float, default=30.0, help="seconds a request may take (%(default)s)"
    )
    parser.add_argument(
        "--max-queue", type=int, default=128, help="requests that may wait, a model (%(default)s)"
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=0,
        help="processes that answer; 0: one a processor, one alone for large models (%(default)s)",
    )
    parser.add_argument(
        "--log-requests", action="store_true", help="print a line of JSON for each HTTP request"
    )
    parser.add_argument(
        "--otlp-endpoint",
        metavar="URL",
        help="send a trace of each request to this OpenTelemetry collector, as"
        " http://127.0.0.1:4318 (MODELPAD_OTLP_ENDPOINT; none)",
    )
    parser.add_argument(
        "--shutdown-timeout",
        type=float,
        default=10.0,
        help="graceful shutdown timeout, seconds (%(default)s)",
    )
    parser.add_argument(
        "--api-keys",
        metavar="FILE",
        help="API keys that are wanted: lines of NAME=KEY",
    )
    parser.add_argument(
        "--rate-limit", type=float, default=0.0, help="requests a second for each key; 0: no limit"
    )
    parser.add_argument(
        "--cors-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="pages of this origin may ask from a browser; may be given again",
    )
    parser.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="HOST",
        help="also answer to this host name (*.example.org: all below it; *: any);"
        " may be given again (MODELPAD_ALLOWED_HOSTS; on loopback without keys: localhost alone)",
    )
    parser.add_argument(
        "--admin",
        action="append",
        default=[],
        metavar="NAME",
        help="the owner of this API key may load and unload models; may be given again",
    )
    parser.add_argument(
        "--tls-cert", metavar="FILE", help="serve HTTPS, and gRPC over TLS, with this certificate"
    )
    parser.add_argument("--tls-key", metavar="FILE", help="the certificate's key (PEM)")
    parser.add_argument(
        "--max-batch-size",
        type=int,
        default=0,
        help="0: measured for each model (%(default)s)",
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda", "coreml", "directml", "openvino"),
        default="cpu",
        help="what runs the graphs, where this ONNX Runtime has it (%(default)s)",
    )
    parser.add_argument(
        "--memory-limit",
        type=float,
        default=0.0,
        metavar="MB",
        help="open models when they are first asked, and close those least recently used when the"
        " server would take more; 0: open all (%(default)s)",
    )
    parser.add_argument(
        "--max-worker-memory-mb",
        type=float,
        metavar="MB",
        help="most memory for each worker: requests beyond it fail, and a worker that stays near"
        " it is replaced; 0: any (80 %% of the machine's memory, shared by the workers)",
    )
    parser.add_argument(
        "--poll-interval",
        type=float,
        default=2.0,
        help="seconds between looks at the store for new versions; 0: never (%(default)s)",
    )
    parser.add_argument(
        "--keep-versions",
        type=int,
        default=1,
        help="newest versions to keep open, to be asked for by number (%(default)s)",
    )
    add_store_option(parser)
    add_common_options(parser, json=False)


def run(args: argparse.Namespace) -> int:
    """Serves until it is stopped."""
    from modelpad.server.http.sockets import Address, open_socket
    from modelpad.server.lifecycle.overrides import Overrides
    from modelpad.server.security.auth import FAILURES_PER_S, MAX_FAILURES
    from modelpad.server.security.rate_limits import RateLimiter
    from modelpad.server.workers.memory import WorkerMemory

    check_numbers(args)
    check_options(args)
    port = port_from_environment() if args.port is None else args.port
    listener = open_socket(Address(args.host, port))
    if args.grpc_port == listener.getsockname()[1]:
        raise UsageError(
            f"--grpc-port is {args.grpc_port}, where HTTP is.", hint="Choose another: --grpc-port"
        )
    if args.grpc_port:  # in use? known before all else
        open_socket(Address(args.host, args.grpc_port), "--grpc-port").close()
    max_mb = args.max_worker_memory_mb
    max_bytes = None if max_mb is None else int(max_mb * 1024 * 1024)
    shared = Shared(
        RateLimiter(args.rate_limit) if args.rate_limit else None,
        RateLimiter(FAILURES_PER_S, MAX_FAILURES),
        Overrides(),
        WorkerMemory(max_bytes, capped=args.device == "cpu"),
    )

    def work(line: socket | None, workers: int) -> int:
        serve_models(args, listener, shared, line, workers)
        return DONE

    if args.workers == 1 or not hasattr(os, "fork"):
        return work(None, 1)
    from modelpad.server.workers.supervisor import Supervisor

    supervisor = Supervisor(
        args.workers,
        work,
        shutdown_timeout_s=args.shutdown_timeout,
        follow_s=args.poll_interval,
        overrides=shared.overrides,
        listener=listener,
        memory=shared.memory,
    )
    return supervisor.run()


def check_numbers(args: argparse.Namespace) -> None:
    """Raises `UsageError` for numbers that make no sense."""
    for name in ("max_body_mb", "max_inflight_mb", "timeout", "max_queue", "keep_versions"):
        value = getattr(args, name)
        if value is not None and not 0 < value < inf:
            raise refuse_number(args, name, "Give a number above 0.")
    names = ("max_batch_size", "workers", "rate_limit", "memory_limit", "poll_interval")
    for name in (*names, "shutdown_timeout"):
        if not 0 <= getattr(args, name) < inf:
            raise refuse_number(args, name, "Give 0 or more.")
    most = args.max_worker_memory_mb
    if most is not None and not (most == 0 or LEAST_MEMORY_MB <= most < inf):
        raise refuse_number(
            args, "max_worker_memory_mb", f"Give {LEAST_MEMORY_MB} or more, or 0 for no limit."
        )
    for name in ("port", "grpc_port"):
        if not 0 <= (getattr(args, name) or 0) <= 65535:
            raise refuse_number(args, name, "Give a number from 0 to 65535.")


def refuse_number(args: argparse.Namespace, name: str, hint: str) -> UsageError:
    """What is said of an option whose number makes no sense."""
    return UsageError(f"--{name.replace('_', '-')} is {getattr(args, name):g}.", hint=hint)


def check_options(args: argparse.Namespace) -> None:
    """Raises `UsageError` for options that can never take effect."""
    for origin in args.cors_origin:
        if not ORIGIN.fullmatch(origin):
            raise UsageError(
                f"--cors-origin is {origin!r}, which no browser sends.",
                hint="Give the scheme, the host and any port alone: https://example.org",
            )
    from modelpad.server.security.origins import is_host_pattern

    for host in find_hosts(args):
        if not is_host_pattern(host):
            raise UsageError(
                f"--allowed-host is {host!r}, which is not a host name.",
                hint="Give the name without scheme and port: models.example.org",
            )
    if args.admin and not (args.api_keys or keys_from_environment()):
        raise UsageError(
            "--admin names the owner of an API key, and there are none.",
            hint="Give keys too: --api-keys FILE",
        )
    if args.workers > 1 and not hasattr(os, "fork"):
        raise UsageError(
            "This system cannot fork, so there is one worker.", hint="Leave --workers out."
        )


def serve_models(
    args: argparse.Namespace,
    listener: socket,
    shared: Shared,
    line: socket | None,
    workers: int,
) -> None:
    """Opens the models and serves them, as one of `workers` processes; 0: the models say."""
    from modelpad.engine import share_arenas
    from modelpad.server import App, ModelTable, Reconciler, ServedModel
    from modelpad.server.http.sockets import Address
    from modelpad.server.lifecycle.catalogue import Catalogue
    from modelpad.server.security.origins import choose_policy
    from modelpad.server.serving import serve
    from modelpad.server.workers.channel import SupervisorChannel, choose_count

    share_arenas()
    guard, tls, traces = make_guard(args, shared), find_certificate(args), open_traces(args)
    found = find_models(args, shared.overrides.versions)
    graphs = sum(one.bundle.graph_bytes for one in found)
    workers = workers or (choose_count(graphs) if args.device == "cpu" else 1)
    shared.memory.cap(workers)
    link = SupervisorChannel(line, workers) if line is not None else None
    options = read_load_options(args, workers, supervised=link is not None)
    models = ModelTable(
        ServedModel.load(one.name, one.version, one.bundle, options)
        for one in found
        if one.name not in shared.overrides.unloaded
    )
    app = App(
        models,
        read_limits(args),
        log_requests=args.log_requests,
        guard=guard,
        paths=paths_from_environment(next((model.name for model in models), "")),
        origins=args.cors_origin,
        admins=args.admin,
        hosts=choose_policy(
            listener.getsockname()[0],
            find_hosts(args),
            has_keys=guard is not None and guard.wants_keys,
        ),
    )
    root = Settings.from_environment(args).store
    catalogue = Catalogue(root, args.models, found, shared.overrides, options, args.keep_versions)
    app.reconciler = Reconciler(app, catalogue, args.poll_interval)
    address = Address(args.host, listener.getsockname()[1], tls is not None)
    app.traces = traces
    grpc = Address(args.host, args.grpc_port) if args.grpc_port else None

    def announce() -> None:
        with contextlib.suppress(OSError):  # nobody reads it, or a disk is full: serving goes on
            for line in describe_server(models, address, grpc, workers):
                print(line, flush=True)
        if sys.stdout.isatty() if args.open is None else args.open:
            import webbrowser

            webbrowser.open(address.url)

    serve(
        app,
        listener,
        on_ready=announce,
        shutdown_timeout_s=args.shutdown_timeout,
        tls=tls,
        grpc=grpc,
        link=link,
    )


def describe_server(
    models: ModelTable, address: Address, grpc: Address | None, workers: int
) -> Iterator[str]:
    """What is served, where, and what to type next."""
    for model in models:
        yield f"Serving {model.name} (version {model.version})"
    yield f"  page  {address.url}"
    yield f"  API   {address.url}/docs"
    if grpc is not None:
        yield f"  gRPC  {grpc.host}:{grpc.port}"
    if workers > 1:
        yield f"  with  {workers} workers"
    for line in write_examples(address.url, models):
        yield f"  try   {line}"
    yield "  Ctrl-C stops it."


def find_models(args: argparse.Namespace, live: Mapping[str, int]) -> list[ResolvedBundle]:
    """The bundles of the models asked for; of every model of the store when none is named.

    Those that other workers serve already are taken in the `live` version.
    """
    from modelpad.store import list_names

    settings = Settings.from_environment(args)
    words = args.models or sorted(live) or list_names(settings.store) or ["digits"]
    found = [find_live(word, live, settings) for word in words]
    repeated = {one.name for one in found if [two.name for two in found].count(one.name) > 1}
    if repeated:
        raise UsageError(
            f"{', '.join(sorted(repeated))} is given more than once.",
            hint="A version of a model: ask for it by its path, or share traffic among versions.",
        )
    return found


def find_hosts(args: argparse.Namespace) -> list[str]:
    """The host names that the server answers to besides its own."""
    return [*args.allowed_host, *hosts_from_environment()]


def make_guard(args: argparse.Namespace, shared: Shared) -> ApiKeyAuth | None:
    """Who may ask, where keys or a rate are given."""
    from modelpad.server import ApiKeyAuth

    keys = keys_from_environment()
    if not (keys or args.api_keys or shared.rates):
        return None
    path = Path(args.api_keys) if args.api_keys else None
    return ApiKeyAuth(keys, path, shared.rates, shared.failures)


def open_traces(args: argparse.Namespace) -> Traces | None:
    """What sends traces, where a collector is named."""
    endpoint = args.otlp_endpoint or endpoint_from_environment()
    if not endpoint:
        return None
    if not endpoint.startswith(("http://", "https://")):
        raise UsageError(
            f"--otlp-endpoint is {endpoint!r}.", hint="Give a URL: http://127.0.0.1:4318"
        )
    from modelpad.server.observability.traces import Traces

    return Traces(endpoint)


def find_certificate(args: argparse.Namespace) -> Certificate | None:
    """What to serve HTTPS with. Raises `UsageError` when it cannot be used."""
    from modelpad.server.http.sockets import Certificate

    if not (args.tls_cert or args.tls_key):
        return None
    if not (args.tls_cert and args.tls_key):
        raise UsageError("--tls-cert and --tls-key go together.", hint="Give both files.")
    return Certificate(Path(args.tls_cert), Path(args.tls_key))


def read_limits(args: argparse.Namespace) -> ServerLimits:
    """`--max-body-mb` and `--max-inflight-mb`."""
    from modelpad.server import ServerLimits

    inflight_mb = args.max_inflight_mb or BODIES_IN_FLIGHT * args.max_body_mb
    body, inflight = (int(size * 1024 * 1024) for size in (args.max_body_mb, inflight_mb))
    return ServerLimits(body_bytes=body, inflight_bytes=inflight)


def read_load_options(args: argparse.Namespace, workers: int, *, supervised: bool) -> LoadOptions:
    """`--max-queue`, `--timeout`, `--max-batch-size` and `--device`, shared among workers."""
    from modelpad.engine import MemoryBudget, QueueLimits, allotted_cpus
    from modelpad.server import LoadOptions

    limits = QueueLimits(max_length=-(-args.max_queue // workers), timeout_s=args.timeout)
    threads = max(1, allotted_cpus() // workers)
    share = int(args.memory_limit * 1024 * 1024) // workers
    memory = MemoryBudget(share) if share else None
    inline = supervised and threads == 1
    return LoadOptions(limits, args.max_batch_size, args.device, threads, memory, inline)


def write_examples(url: str, models: ModelTable) -> list[str]:
    """A curl for each model that works as it stands: a picture of its own, or text."""
    import shlex
    from urllib.parse import quote

    lines = []
    for model in models:
        field = model.bundle.manifest.signature.inputs[0]
        target = f"{url}/predict/{model.name}"
        samples = [sample.inputs.get(field.name, {}) for sample in model.bundle.manifest.samples]
        files = [str(sample["file"]) for sample in samples if "file" in sample]
        if field.kind == "text":
            lines.append(f"curl {target} -H 'content-type: text/plain' -d 'Say something.'")
        elif files:
            picture = f"{url}/models/{model.name}/files/{quote(files[0])}"
            form = shlex.quote(f"{field.name}=@-")  # the name is the bundle's, and this is a shell
            if form.isprintable():
                lines.append(f"curl -s {picture} | curl -F {form} {target}")
    return lines
