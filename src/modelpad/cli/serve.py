"""`modelpad serve [MODEL...]`: a page for people, an API for programs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from modelpad.cli.main import DONE, add_common_options, add_store_option
from modelpad.cli.settings import (
    Settings,
    keys_from_environment,
    paths_from_environment,
    port_from_environment,
)
from modelpad.cli.sources import find_model
from modelpad.errors import UsageError

if TYPE_CHECKING:
    from ssl import SSLContext

    from modelpad.server import App, Follower, Guard, LoadOptions, ModelTable

EXAMPLE = """example:
  modelpad serve digits
  modelpad serve digits@3 --port 9000
  modelpad serve my_model.keras
"""


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
        "--timeout", type=float, default=30.0, help="seconds a request may take (%(default)s)"
    )
    parser.add_argument(
        "--queue", type=int, default=128, help="requests that may wait, a model (%(default)s)"
    )
    parser.add_argument(
        "--log-requests", action="store_true", help="print a line of JSON a request"
    )
    parser.add_argument(
        "--grace", type=float, default=10.0, help="seconds to finish in when stopped (%(default)s)"
    )
    parser.add_argument(
        "--api-keys",
        metavar="FILE",
        help="API keys that are wanted: lines of NAME=KEY",
    )
    parser.add_argument(
        "--rate", type=float, default=0.0, help="requests a second for each key; 0: no limit"
    )
    parser.add_argument(
        "--cors-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="pages of this origin may ask from a browser; may be given again",
    )
    parser.add_argument("--tls-cert", metavar="FILE", help="serve HTTPS with this certificate")
    parser.add_argument("--tls-key", metavar="FILE", help="the certificate's key (PEM)")
    parser.add_argument(
        "--batch", type=int, default=0, help="most items run at once; 0: measured (%(default)s)"
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda", "coreml", "directml", "openvino"),
        default="cpu",
        help="what runs the graphs, where this ONNX Runtime has it (%(default)s)",
    )
    parser.add_argument(
        "--poll",
        type=float,
        default=2.0,
        help="seconds between looks at the store for new versions; 0: never (%(default)s)",
    )
    parser.add_argument(
        "--keep", type=int, default=1, help="newest versions to keep open (%(default)s)"
    )
    add_store_option(parser)
    add_common_options(parser, json=False)


def run(args: argparse.Namespace) -> int:
    """Serves until it is stopped."""
    from modelpad.server import App, ServerLimits
    from modelpad.server.listen import Address, open_socket, serve

    if args.max_body_mb <= 0 or args.timeout <= 0 or args.queue < 1 or args.batch < 0:
        raise UsageError(
            "--max-body-mb, --timeout and --queue must be above 0.",
            hint="See: modelpad serve --help",
        )
    port = port_from_environment() if args.port is None else args.port
    listener = open_socket(Address(args.host, port))
    address = Address(args.host, listener.getsockname()[1], bool(args.tls_cert))
    limits = ServerLimits(body_bytes=int(args.max_body_mb * 1024 * 1024))
    models = open_models(args)
    paths = paths_from_environment(next((model.name for model in models), ""))
    app = App(
        models,
        limits,
        log_requests=args.log_requests,
        guard=make_guard(args),
        paths=paths,
        origins=args.cors_origin,
    )
    app.follower = make_follower(args, app)
    grpc = Address(args.host, args.grpc_port) if args.grpc_port else None
    wants_page = sys.stdout.isatty() if args.open is None else args.open

    def announce() -> None:
        assert app.models is not None
        for model in app.models:
            print(f"Serving {model.name} (version {model.version})")
        print(f"  page  {address.url}")
        print(f"  API   {address.url}/docs")
        if grpc is not None:
            print(f"  gRPC  {grpc.host}:{grpc.port}")
        for line in write_examples(address.url, app.models):
            print(f"  try   {line}")
        print("  Ctrl-C stops it.", flush=True)
        if wants_page:
            import webbrowser

            webbrowser.open(address.url)

    serve(app, listener, on_ready=announce, grace_s=args.grace, tls=open_tls(args), grpc=grpc)
    return DONE


def open_models(args: argparse.Namespace) -> ModelTable:
    """The models asked for, opened and warm; every model of the store when none is named."""
    from modelpad.server import ModelTable, ServedModel
    from modelpad.store import list_names

    settings = Settings.from_environment(args)
    names = args.models or list_names(settings.store) or ["digits"]
    options = read_load_options(args)
    found = [find_model(name, settings) for name in names]
    repeated = {one.name for one in found if [two.name for two in found].count(one.name) > 1}
    if repeated:
        raise UsageError(
            f"{', '.join(sorted(repeated))} is given more than once.",
            hint="A version of a model: ask for it by its path, or share traffic among versions.",
        )
    return ModelTable(ServedModel.load(one.name, one.version, one.bundle, options) for one in found)


def make_follower(args: argparse.Namespace, app: App) -> Follower | None:
    """What follows the store, for models that were named without a version; None for no such."""
    from modelpad.server import Follower, ServedModel
    from modelpad.store import LocalStore, Plan, list_names

    store = LocalStore(Settings.from_environment(args).store)
    options = read_load_options(args)
    if not args.poll:
        return None

    def read_plans() -> dict[str, Plan]:
        there = list_names(store.root)
        wanted = [name for name in there if not args.models or name in args.models]
        return {name: store.plan(name, args.keep) for name in wanted}

    def load(name: str, version: int) -> ServedModel:
        return ServedModel.load(name, version, store.open(f"{name}@{version}"), options)

    return Follower(app, read_plans, load, note_failure=store.note_failure, interval_s=args.poll)


def make_guard(args: argparse.Namespace) -> Guard | None:
    """Who may ask, where keys or a rate are given."""
    from modelpad.server import Guard

    keys = keys_from_environment()
    if not (keys or args.api_keys or args.rate):
        return None
    return Guard(keys, Path(args.api_keys) if args.api_keys else None, args.rate)


def open_tls(args: argparse.Namespace) -> SSLContext | None:
    """The certificate to serve HTTPS with. Raises `UsageError` when it cannot be read."""
    if not (args.tls_cert or args.tls_key):
        return None
    if not (args.tls_cert and args.tls_key):
        raise UsageError("--tls-cert and --tls-key go together.", hint="Give both files.")
    import ssl

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(args.tls_cert, args.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"The certificate cannot be used: {error}.", hint="Give PEM files that fit together."
        ) from error
    return context


def read_load_options(args: argparse.Namespace) -> LoadOptions:
    """`--queue`, `--timeout`, `--batch` and `--device`."""
    from modelpad.engine import QueueLimits
    from modelpad.server import LoadOptions

    limits = QueueLimits(length=args.queue, timeout_s=args.timeout)
    return LoadOptions(limits, args.batch, args.device)


def write_examples(url: str, models: ModelTable) -> list[str]:
    """A curl for each model that works as it stands: a picture of its own, or text."""
    lines = []
    for model in models:
        field = model.bundle.manifest.signature.inputs[0]
        target = f"{url}/predict/{model.name}"
        samples = [sample.inputs.get(field.name, {}) for sample in model.bundle.manifest.samples]
        files = [sample["file"] for sample in samples if "file" in sample]
        if field.kind == "text":
            lines.append(f"curl {target} -H 'content-type: text/plain' -d 'Say something.'")
        elif files:
            picture = f"{url}/models/{model.name}/files/{files[0]}"
            lines.append(f"curl -s {picture} | curl -F {field.name}=@- {target}")
    return lines
