"""`modelpad serve [MODEL ...]`: the options, and what is printed when the server is ready."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from modelpad.cli.cluster_options import add_cluster_options
from modelpad.cli.main import (
    add_common_options,
    add_feedback_option,
    add_jobs_option,
    add_store_option,
)
from modelpad.cli.numbers import not_negative, number, port, positive

if TYPE_CHECKING:
    from modelpad.server import ModelTable
    from modelpad.server.options import RunningServer

MIN_WORKER_MB = 256  # for a small model and some requests
EXAMPLE = """examples:
  modelpad serve digits                 the example model, on port 8080
  modelpad serve my_model.keras         a trained model's file
  modelpad serve model_repository       the models in a folder of files, or of
                                        Triton, TensorFlow Serving or MLflow
  modelpad serve a=net.onnx b=rf.skops  several models, each with its name
  modelpad serve digits@3 --port 9000   one version of a model in the store
  modelpad serve --host 0.0.0.0 --api-keys keys.txt
                                        other machines may use it, with a key
  modelpad serve pets --feedback ./feedback
                                        ask on the page whether predictions are right
  modelpad serve --studio               make new models on the page, from pictures
  modelpad serve --workers 4 --memory-limit 2000
                                        many models that share 2 GB of memory
  modelpad serve digits --on ray://HEAD:10001 --replicas 1:8
                                        on the machines of a Ray cluster
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments, in groups."""
    parser.usage = "modelpad serve [MODEL ...] [options]"
    parser.epilog = EXAMPLE
    add_model_options(parser.add_argument_group("models"))
    add_network_options(parser.add_argument_group("network"))
    add_security_options(parser.add_argument_group("security"))
    add_limit_options(parser.add_argument_group("limits"))
    add_feedback_options(parser.add_argument_group("feedback"))
    add_studio_options(parser.add_argument_group("studio"))
    add_worker_options(parser.add_argument_group("workers"))
    add_cluster_options(parser.add_argument_group("cluster"))
    add_observability_options(parser.add_argument_group("observability"))
    add_common_options(parser, json=False)


def add_model_options(group: argparse._ArgumentGroup) -> None:
    """Which models to serve, from where, and on which device."""
    group.add_argument(
        "models",
        metavar="MODEL",
        nargs="*",
        help="a name in the store (NAME or NAME@VERSION), a bundle's folder, a trained model's"
        " file (model.keras, net.pt2, ...), or a folder with models; NAME=PATH serves it as NAME"
        " (default: every model in the store, or the example model digits if the store is empty)",
    )
    add_store_option(group)
    group.add_argument(
        "--keep-versions",
        type=positive("--keep-versions", int),
        default=1,
        metavar="N",
        help="how many of the newest versions of each model to keep loaded; clients can request"
        " each by its number (default: %(default)s)",
    )
    group.add_argument(
        "--poll-interval",
        type=not_negative("--poll-interval", float),
        metavar="SECONDS",
        help="how often to check the store for new versions, give or take a fifth; 0: never"
        " (default: 2, or 15 for a store in a bucket)",
    )
    group.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda", "coreml", "directml", "openvino"),
        default="cpu",
        help="where models run, if the installed ONNX Runtime supports it; auto picks the fastest:"
        " auto, cpu, cuda, coreml, directml or openvino (default: %(default)s)",
        metavar="DEVICE",
    )
    group.add_argument(
        "--memory-limit",
        type=not_negative("--memory-limit", float),
        default=0.0,
        metavar="MB",
        help="load each model when it is first requested, and unload the least recently used ones"
        " to stay within this much memory; 0: load all at the start (default: 0)",
    )


def add_network_options(group: argparse._ArgumentGroup) -> None:
    """Where the server listens, and how it is reached."""
    group.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; 0.0.0.0 makes the server reachable from other machines"
        " (default: %(default)s, this machine only)",
    )
    group.add_argument(
        "--port",
        type=port("--port"),
        help="port for the page and the HTTP API; 0: any free port (default: the variable PORT,"
        " else 8080)",
    )
    group.add_argument(
        "--grpc-port",
        type=port("--grpc-port"),
        metavar="PORT",
        help="port for gRPC, usually 8081; needs the extra grpc (default: no gRPC)",
    )
    group.add_argument(
        "--tls-cert",
        metavar="FILE",
        help="certificate (PEM): serve HTTPS, and gRPC over TLS (default: no TLS)",
    )
    group.add_argument("--tls-key", metavar="FILE", help="private key of the certificate (PEM)")
    group.add_argument(
        "--open",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="open the page in a browser (default: only when started from a terminal)",
    )


def add_security_options(group: argparse._ArgumentGroup) -> None:
    """Who may send requests, and from which pages."""
    group.add_argument(
        "--api-keys",
        metavar="FILE",
        help="require an API key from this file, one NAME=KEY or NAME=sha256:HEX per line; reloaded"
        " when it changes (also: the variable MODELPAD_API_KEYS; default: no keys)",
    )
    group.add_argument(
        "--require-signature",
        metavar="FILE",
        help="load only versions that are signed by a public key in this file, or by a certificate"
        " of an authority in it (PEM); see modelpad models sign --help (default: load any)",
    )
    group.add_argument(
        "--admin",
        action="append",
        default=[],
        metavar="NAME",
        help="let the owner of this API key load and unload models; repeatable (default: nobody)",
    )
    group.add_argument(
        "--rate-limit",
        type=not_negative("--rate-limit", float),
        default=0.0,
        metavar="N",
        help="requests per second per API key, or in total without keys; 0: no limit (default: 0)",
    )
    group.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="HOST",
        help="accept requests for this host name; *.example.org for all names below it, * for any;"
        " repeatable (also: the variable MODELPAD_ALLOWED_HOSTS; default: localhost only, or any"
        " name with API keys or a --host that other machines reach)",
    )
    group.add_argument(
        "--cors-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="let web pages of this origin, such as https://example.org, use the API; repeatable"
        " (default: the server's own page only)",
    )
    group.add_argument(
        "--frame-ancestor",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="let web pages of this origin show the server's page in a frame; repeatable"
        " (default: none)",
    )


def add_limit_options(group: argparse._ArgumentGroup) -> None:
    """Limits on requests."""
    group.add_argument(
        "--max-body-mb",
        type=positive("--max-body-mb", float),
        default=32.0,
        metavar="MB",
        help="largest request body (default: %(default)g)",
    )
    group.add_argument(
        "--max-inflight-mb",
        type=positive("--max-inflight-mb", float),
        metavar="MB",
        help="memory that all requests of a worker may hold together; more are rejected with 429"
        " (default: eight times --max-body-mb)",
    )
    group.add_argument(
        "--timeout",
        type=positive("--timeout", float),
        default=30.0,
        metavar="SECONDS",
        help="how long a request may take before it fails with 504 (default: %(default)g)",
    )
    group.add_argument(
        "--max-queue",
        type=positive("--max-queue", int),
        default=128,
        metavar="N",
        help="requests that may wait for each model; more are rejected with 429"
        " (default: %(default)s)",
    )
    group.add_argument(
        "--max-batch-size",
        type=not_negative("--max-batch-size", int),
        default=0,
        metavar="N",
        help="most items in one batch; 0: measure the best size for each model (default: 0)",
    )


def add_feedback_options(group: argparse._ArgumentGroup) -> None:
    """Whether the page asks if predictions are right, and where the answers go."""
    add_feedback_option(group)
    group.add_argument(
        "--feedback-max-items",
        type=positive("--feedback-max-items", int),
        default=10_000,
        metavar="N",
        help="most corrections to keep; more are rejected with 507 (default: %(default)s)",
    )
    group.add_argument(
        "--feedback-max-mb",
        type=positive("--feedback-max-mb", float),
        default=1024.0,
        metavar="MB",
        help="most megabytes of inputs to keep (default: %(default)g)",
    )


def add_studio_options(group: argparse._ArgumentGroup) -> None:
    """Whether the page makes new models, and what that may cost."""
    group.add_argument(
        "--studio",
        action="store_true",
        help="make new models on the page, and paint videos: pictures and videos are stored and"
        " worked on, on this machine; needs --api-keys where other machines reach the server"
        " (default: off)",
    )
    add_jobs_option(group)
    group.add_argument(
        "--job-cores",
        type=not_negative("--job-cores", int),
        default=0,
        metavar="N",
        help="CPUs that a job may use, at the lowest priority; 0: half of them (default: 0)",
    )
    group.add_argument(
        "--job-memory-mb",
        type=not_negative("--job-memory-mb", float),
        default=0.0,
        metavar="MB",
        help="most memory for a job; 0: half of the machine's (default: 0)",
    )


def add_worker_options(group: argparse._ArgumentGroup) -> None:
    """Number of processes, and their limits."""
    group.add_argument(
        "--workers",
        type=not_negative("--workers", int),
        default=0,
        metavar="N",
        help="worker processes; 0: one for each CPU, at most 8, and a single one for models above"
        " 64 MB (default: 0)",
    )
    group.add_argument(
        "--max-worker-memory-mb",
        type=number(
            "--max-worker-memory-mb",
            float,
            lambda size_mb: size_mb == 0 or size_mb >= MIN_WORKER_MB,
            f"Give {MIN_WORKER_MB} or more, or 0 for no limit.",
        ),
        metavar="MB",
        help="most memory for each worker: a request that needs more fails, and a worker that stays"
        " near the limit is replaced; 0: no limit (default: 80 %% of the machine's memory, divided"
        " among the workers)",
    )
    group.add_argument(
        "--min-shared-mb",
        type=not_negative("--min-shared-mb", float),
        default=64.0,
        metavar="MB",
        help="several workers share the weights of graphs of at least this size, which are written"
        " to the cache as they map them; 0: each worker has its own copy (default: %(default)g)",
    )
    group.add_argument(
        "--shutdown-timeout",
        type=not_negative("--shutdown-timeout", float),
        default=10.0,
        metavar="SECONDS",
        help="how long requests in flight may take to finish on shutdown (default: %(default)g)",
    )


def add_observability_options(group: argparse._ArgumentGroup) -> None:
    """What the server reports about itself; metrics are always at /metrics."""
    group.add_argument(
        "--log-requests",
        action="store_true",
        help="log each HTTP request as a line of JSON (default: off)",
    )
    group.add_argument(
        "--otlp-endpoint",
        metavar="URL",
        help="send a trace of each request to this OpenTelemetry collector, such as"
        " http://127.0.0.1:4318; needs the extra otel (also: the variable MODELPAD_OTLP_ENDPOINT;"
        " default: no traces)",
    )


def run(args: argparse.Namespace) -> int:
    """Serves until it is stopped."""
    from modelpad.cli.serve_options import read_options
    from modelpad.cli.sources import print_progress
    from modelpad.server.launch import launch
    from modelpad.server.options import ServeEvents

    def announce(server: RunningServer) -> None:
        with contextlib.suppress(OSError):  # a closed pipe or a full disk must not end the server
            for line in describe_server(server):
                print(line, flush=True)
        if sys.stdout.isatty() if args.open is None else args.open:
            import webbrowser

            webbrowser.open(server.address.url)

    options = read_options(args)
    if args.on:
        from modelpad.cli.serve_on_cluster import run_on_cluster

        return run_on_cluster(args, options)
    return launch(options, ServeEvents(print_progress, announce))


def describe_server(server: RunningServer) -> Iterator[str]:
    """The banner: models, addresses, and commands to try."""
    url = server.address.url
    for model in server.models:
        others = sorted({*server.models.served[model.name].versions} - {model.version})
        also = f"; also {', '.join(map(str, others))}" if others else ""
        yield f"Serving {model.name} (version {model.version}{also})"
    yield f"  page  {url}"
    yield f"  API   {url}/docs"
    if server.grpc is not None:
        yield f"  gRPC  {server.grpc.host}:{server.grpc.port}"
    if server.workers > 1:
        yield f"  with  {server.workers} workers"
    for command in write_examples(url, server.models):
        yield f"  try   {command}"
    yield "  Press Ctrl-C to stop."


def write_examples(url: str, models: ModelTable) -> list[str]:
    """A ready-to-paste curl command for each model, with a sample image or text."""
    import shlex
    from urllib.parse import quote

    commands = []
    for model in models:
        signature = model.bundle.manifest.signature
        field = signature.inputs[0]
        target = f"{url}/predict/{model.name}"
        samples = [sample.inputs.get(field.name, {}) for sample in model.bundle.manifest.samples]
        files = [str(sample["file"]) for sample in samples if "file" in sample]
        if field.kind == "text":
            commands.append(f"curl {target} -H 'content-type: text/plain' -d 'Say something.'")
        elif files:
            picture = f"{url}/models/{model.name}/files/{quote(files[0])}"
            form = shlex.quote(f"{field.name}=@-")  # the bundle chose the name, and this is a shell
            if form.isprintable():
                output = " -o picture.jpg" if signature.is_picture else ""
                commands.append(f"curl -s {picture} | curl -F {form} {target}{output}")
    return commands
