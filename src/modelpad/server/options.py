"""What a server is started with: small value objects, one for each group of options.

Structs rather than dataclasses, which take up to a millisecond each to define: cold starts count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from modelpad.locations import StoreLocation, join_location

if TYPE_CHECKING:
    from modelpad.server.http.sockets import Address
    from modelpad.server.model_table import ModelTable

MB = 1024 * 1024
POLL_FOLDER_S, POLL_BUCKET_S = 2.0, 15.0
INFLIGHT_BODIES = 8  # of the largest size: decoding one takes about five times its size


class ModelOptions(msgspec.Struct, frozen=True):
    """Which models are served: `names`, or all in the store when there are none.

    `store` is the store's folder, or the cache of the one at `store_url`.

    Each keeps its newest `keep_versions` loaded. The store is read every `poll_interval_s` (0:
    never; None: as its kind allows). At most `max_loaded_bytes` of graphs stay loaded (0: all).
    `cache` holds imported files. With `trusted_keys`, the text of PEM files, only versions that are
    signed by one of these keys, or by a certificate of one of these authorities, are loaded.
    Several workers share the weights of graphs of at least `min_shared_bytes` (0: of none).
    """

    store: Path
    cache: Path
    names: tuple[str, ...] = ()
    keep_versions: int = 1
    poll_interval_s: float | None = None
    device: str = "cpu"
    max_loaded_bytes: int = 0
    store_url: str = ""
    trusted_keys: str = ""
    min_shared_bytes: int = 64 * MB

    @property
    def location(self) -> StoreLocation:
        """Where the store is."""
        return join_location(self.store_url, self.store)

    @property
    def interval_s(self) -> float:
        """Seconds between two looks at the store; one at a bucket costs a request."""
        if self.poll_interval_s is not None:
            return self.poll_interval_s
        return POLL_BUCKET_S if self.store_url else POLL_FOLDER_S


class NetworkOptions(msgspec.Struct, frozen=True):
    """Where the server listens; gRPC is off without a port, TLS without a certificate.

    A cloud platform may require predictions at `predict_route` and health checks at
    `health_route`, too.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    grpc_port: int | None = None
    certificate: Path | None = None
    certificate_key: Path | None = None
    predict_route: str = ""
    health_route: str = ""

    def map_routes(self, model: str) -> Mapping[str, str]:
        """Our path for each path the platform requires; predictions are those of `model`."""
        routes = {
            self.predict_route: f"/v1/models/{model}:predict",
            self.health_route: "/readyz",
        }
        return {theirs: ours for theirs, ours in routes.items() if theirs}


class SecurityOptions(msgspec.Struct, frozen=True):
    """Who may send requests: `api_keys` is a text of keys, as in `api_key_file`.

    `rate_limit` is in requests a second for each key; 0 for none. Pages of the origins
    `frame_ancestors` may show the page in a frame.
    """

    api_keys: str = ""
    api_key_file: Path | None = None
    admins: tuple[str, ...] = ()
    rate_limit: float = 0.0
    allowed_hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    frame_ancestors: tuple[str, ...] = ()


class LimitOptions(msgspec.Struct, frozen=True):
    """Limits of requests; `max_inflight_bytes` and `max_batch_size` of 0 choose a default."""

    max_body_bytes: int = 32 * MB
    max_inflight_bytes: int = 0
    timeout_s: float = 30.0
    max_queue: int = 128
    max_batch_size: int = 0

    @property
    def inflight_bytes(self) -> int:
        """Memory that all requests of a worker may hold together."""
        return self.max_inflight_bytes or INFLIGHT_BODIES * self.max_body_bytes


class WorkerOptions(msgspec.Struct, frozen=True):
    """How many worker processes (0: chosen from the models) and their limits.

    `max_memory_bytes` is 0 for no limit, None for a share of the machine's memory.
    """

    count: int = 0
    max_memory_bytes: int | None = None
    shutdown_timeout_s: float = 10.0


class FeedbackOptions(msgspec.Struct, frozen=True):
    """Where feedback is stored, in a SQLite file, and how much of it; None collects none."""

    path: Path | None = None
    max_items: int = 10_000
    max_bytes: int = 1024 * MB


class StudioOptions(msgspec.Struct, frozen=True):
    """Whether the page makes new models, and where their pictures and jobs are kept.

    A job computes on `cores` CPUs (0: half of them), with at most `memory_bytes` (0: half of the
    machine's).
    """

    folder: Path | None = None
    cores: int = 0
    memory_bytes: int = 0

    @property
    def collections(self) -> Path | None:
        """Where the pictures are."""
        return None if self.folder is None else self.folder / "collections"


class ServeOptions(msgspec.Struct, frozen=True):
    """All options of `modelpad serve`; traces go to `otlp_endpoint`, if any."""

    models: ModelOptions
    network: NetworkOptions = msgspec.field(default_factory=NetworkOptions)
    security: SecurityOptions = msgspec.field(default_factory=SecurityOptions)
    limits: LimitOptions = msgspec.field(default_factory=LimitOptions)
    workers: WorkerOptions = msgspec.field(default_factory=WorkerOptions)
    feedback: FeedbackOptions = msgspec.field(default_factory=FeedbackOptions)
    studio: StudioOptions = msgspec.field(default_factory=StudioOptions)
    log_requests: bool = False
    otlp_endpoint: str = ""


class RunningServer(msgspec.Struct, frozen=True):
    """What a server that is ready serves, and where."""

    models: ModelTable
    address: Address
    grpc: Address | None
    workers: int


class ServeEvents(msgspec.Struct, frozen=True):
    """`report` gets a line per import of a model file; `ready` is called once, by one worker."""

    report: Callable[[str], None]
    ready: Callable[[RunningServer], None]
