"""Builds one server process from its options: models, app, reconciler; then serves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from socket import socket
from typing import TYPE_CHECKING

from modelpad.engine import (
    LARGE_GRAPH_BYTES,
    GraphCache,
    MemoryBudget,
    QueueLimits,
    allotted_cpus,
    share_arenas,
)
from modelpad.locations import StoreLocation, split_location
from modelpad.server.allocator import map_large_blocks
from modelpad.server.app import App, HttpOptions
from modelpad.server.build import build_app
from modelpad.server.http.messages import ServerLimits
from modelpad.server.http.sockets import Address, Certificate
from modelpad.server.lifecycle.catalogue import Catalogue
from modelpad.server.lifecycle.overrides import Overrides
from modelpad.server.lifecycle.reconciler import Reconciler
from modelpad.server.model_table import ModelTable
from modelpad.server.models import LoadOptions, ServedModel
from modelpad.server.options import (
    FeedbackOptions,
    ModelOptions,
    NetworkOptions,
    RunningServer,
    SecurityOptions,
    ServeEvents,
    ServeOptions,
    StudioOptions,
)
from modelpad.server.prefork import SharedState
from modelpad.server.security.auth import FAILURES_PER_S, MAX_FAILURES, ApiKeyAuth
from modelpad.server.security.origins import choose_policy
from modelpad.server.security.rate_limits import RateLimiter
from modelpad.server.serving import serve
from modelpad.server.sources import ModelFinder
from modelpad.server.workers.channel import SupervisorChannel
from modelpad.server.workers.memory import total_bytes

if TYPE_CHECKING:
    from modelpad.server.collector import FeedbackCollector
    from modelpad.server.observability.traces import Traces
    from modelpad.server.studio import Studio
    from modelpad.signing import Verifier
    from modelpad.store import ResolvedBundle

MAX_DEFAULT_WORKERS = 8


def run_process(
    options: ServeOptions,
    events: ServeEvents,
    shared: SharedState,
    connection: socket | None,
    workers: int,
) -> None:
    """Loads the models and serves them until stopped, as one of `workers` processes (0: decide).

    `connection` leads to the supervisor, if there is one.
    """
    share_arenas()
    map_large_blocks()
    auth = build_auth(options.security, shared)
    certificate = build_certificate(options.network)
    traces = build_traces(options.otlp_endpoint)
    signed = build_verifier(options.models.trusted_keys)
    finder = ModelFinder(options.models.location, options.models.cache, events.report, signed)
    found = finder.find_all(options.models.names, shared.overrides.versions)
    if not workers:
        graph_bytes = sum(one.bundle.graph_bytes for one in found)
        workers = (
            1
            if any(shares_threads(one) for one in found)
            else choose_worker_count(graph_bytes, options.models.device)
        )
    shared.memory.cap(workers)
    load = build_load_options(options, workers, signed, supervised=connection is not None)
    models = load_models(found, shared.overrides, load)
    app = assemble_app(options, shared.listener.getsockname()[0], models, auth, traces)
    app.host.reconciler = build_reconciler(options, app, found, shared.overrides, load)
    address, grpc = find_addresses(options.network, shared.listener)
    running = RunningServer(models, address, grpc, workers)
    serve(
        app,
        shared.listener,
        on_ready=lambda: events.ready(running),
        shutdown_timeout_s=options.workers.shutdown_timeout_s,
        tls=certificate,
        grpc=grpc,
        channel=SupervisorChannel(connection, workers) if connection is not None else None,
        turns=shared.turns if workers > 1 else None,
    )


def assemble_process(
    options: ServeOptions, auth: ApiKeyAuth | None, report: Callable[[str], None]
) -> App:
    """The app of a process that shares nothing with others, its models loaded and followed.

    Raises as `ModelFinder.find_all`.
    """
    overrides = Overrides()
    signed = build_verifier(options.models.trusted_keys)
    found = ModelFinder(options.models.location, options.models.cache, report, signed).find_all(
        options.models.names, overrides.versions
    )
    load = build_load_options(options, 1, signed, supervised=False)
    models = load_models(found, overrides, load)
    app = assemble_app(
        options, options.network.host, models, auth, build_traces(options.otlp_endpoint)
    )
    app.host.reconciler = build_reconciler(options, app, found, overrides, load)
    return app


def build_reconciler(
    options: ServeOptions,
    app: App,
    found: Sequence[ResolvedBundle],
    overrides: Overrides,
    load: LoadOptions,
) -> Reconciler:
    """Keeps the models in line with the store."""
    catalogue = Catalogue(
        options.models.location,
        options.models.names,
        found,
        overrides,
        load,
        options.models.keep_versions,
        options.studio.collections,
    )
    return Reconciler(app.host, catalogue, options.models.interval_s)


def load_models(
    found: Sequence[ResolvedBundle], overrides: Overrides, load: LoadOptions
) -> ModelTable:
    """Loads all models but those that an admin has unloaded."""
    return ModelTable(
        ServedModel.load(one.name, one.version, one.bundle, load)
        for one in found
        if one.name not in overrides.unloaded
    )


def find_addresses(network: NetworkOptions, listener: socket) -> tuple[Address, Address | None]:
    """Where HTTP really listens, and gRPC if it does."""
    http = Address(network.host, listener.getsockname()[1], network.certificate is not None)
    return http, Address(network.host, network.grpc_port) if network.grpc_port else None


def shares_threads(found: ResolvedBundle) -> bool:
    """Whether a model is served by one process with all threads.

    A native model has a process of its own; texts of a language model advance together.
    """
    manifest = found.bundle.manifest
    return manifest.native is not None or manifest.sequence is not None


def choose_worker_count(graph_bytes: int, device: str) -> int:
    """The default number of workers for models whose graphs total `graph_bytes`.

    One for each CPU, at most 8. A single one for large models, which spend their time in the graph,
    without Python's lock, and would be in memory several times; and for devices other than CPUs.
    """
    if device != "cpu" or graph_bytes > LARGE_GRAPH_BYTES:
        return 1
    return min(MAX_DEFAULT_WORKERS, allotted_cpus())


def build_load_options(
    options: ServeOptions, workers: int, signed: Verifier | None = None, *, supervised: bool
) -> LoadOptions:
    """How models are loaded by one of `workers` processes, with its share of queue and memory."""
    limits = options.limits
    queue = QueueLimits(max_length=-(-limits.max_queue // workers), timeout_s=limits.timeout_s)
    threads = max(1, allotted_cpus() // workers)
    loaded_bytes = options.models.max_loaded_bytes // workers
    memory = MemoryBudget(loaded_bytes) if loaded_bytes else None
    inline = supervised and threads == 1
    device = options.models.device
    return LoadOptions(
        queue,
        limits.max_batch_size,
        device,
        threads,
        memory,
        inline=inline,
        signed=signed,
        packed=choose_graph_cache(options.models, workers),
    )


def choose_graph_cache(models: ModelOptions, workers: int) -> GraphCache | None:
    """Where large graphs are mapped from, so that several workers share their weights."""
    if workers == 1 or not models.min_shared_bytes:
        return None
    return GraphCache(models.cache / "graphs", models.min_shared_bytes)


def assemble_app(
    options: ServeOptions,
    address: str,
    models: ModelTable,
    auth: ApiKeyAuth | None,
    traces: Traces | None,
) -> App:
    """The app at an address, with its limits and its rules about who may use it."""
    security, limits = options.security, options.limits
    http = HttpOptions(
        options.log_requests,
        options.network.map_routes(next((model.name for model in models), "")),
        frozenset(security.cors_origins),
        choose_policy(
            address,
            security.allowed_hosts,
            has_keys=auth is not None and auth.wants_keys,
        ),
        security.frame_ancestors,
    )
    return build_app(
        models,
        ServerLimits(body_bytes=limits.max_body_bytes, inflight_bytes=limits.inflight_bytes),
        http,
        auth=auth,
        admins=security.admins,
        traces=traces,
        feedback=build_feedback(options.feedback),
        studio=build_studio(options.studio, options.models.location),
    )


def build_verifier(trusted_keys: str) -> Verifier | None:
    """Verifies signatures, if the operator requires them. Raises `UsageError`, `MissingExtra`."""
    if not trusted_keys:
        return None
    from modelpad.signing import Verifier

    return Verifier.parse(trusted_keys.encode("ascii", "replace"), "--require-signature")


def build_feedback(options: FeedbackOptions) -> FeedbackCollector | None:
    """Stores feedback, if the operator has named a place. Raises `StoreError`."""
    if options.path is None:
        return None
    from modelpad.feedback import FeedbackLimits, FeedbackStore
    from modelpad.server.collector import FeedbackCollector

    store = FeedbackStore(options.path, FeedbackLimits(options.max_items, options.max_bytes))
    store.create()
    return FeedbackCollector(store)


def build_studio(options: StudioOptions, location: StoreLocation) -> Studio | None:
    """Runs jobs and keeps pictures, if the operator wants that. Raises `StoreError`."""
    if options.folder is None:
        return None
    from modelpad.jobs import WorkSettings
    from modelpad.server.studio import Studio

    url, store = split_location(location.absolute())
    settings = WorkSettings(
        folder=options.folder,
        store=store,
        store_url=url,
        collections=options.collections or options.folder,
        cores=options.cores,
        memory_bytes=options.memory_bytes or total_bytes() // 2,
    )
    return Studio(settings)


def build_auth(security: SecurityOptions, shared: SharedState) -> ApiKeyAuth | None:
    """Checks keys and rates; None when anybody may send any number of requests."""
    if not (security.api_keys or security.api_key_file or shared.rates):
        return None
    return ApiKeyAuth(security.api_keys, security.api_key_file, shared.rates, shared.failures)


def build_auth_alone(security: SecurityOptions) -> ApiKeyAuth | None:
    """Checks keys, in a process that shares no counters with others."""
    if not (security.api_keys or security.api_key_file):
        return None
    failures = RateLimiter(FAILURES_PER_S, MAX_FAILURES)
    return ApiKeyAuth(security.api_keys, security.api_key_file, None, failures)


def build_certificate(network: NetworkOptions) -> Certificate | None:
    """The certificate of HTTPS and gRPC, if there is one."""
    if network.certificate is None or network.certificate_key is None:
        return None
    return Certificate(network.certificate, network.certificate_key)


def build_traces(endpoint: str) -> Traces | None:
    """Sends traces to the collector at `endpoint`, if there is one."""
    if not endpoint:
        return None
    from modelpad.server.observability.traces import Traces

    return Traces(endpoint)
