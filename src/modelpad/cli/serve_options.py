"""Builds `ServeOptions` from the arguments of `modelpad serve` and the environment."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

from modelpad.cli.settings import Settings, find_feedback, read_port
from modelpad.cli.variables import read_names
from modelpad.errors import UsageError
from modelpad.locations import locate_jobs, split_location
from modelpad.server.options import (
    MB,
    FeedbackOptions,
    LimitOptions,
    ModelOptions,
    NetworkOptions,
    SecurityOptions,
    ServeOptions,
    StudioOptions,
    WorkerOptions,
)
from modelpad.server.security.origins import check_origins, is_host_pattern, is_loopback


def read_options(
    args: argparse.Namespace, environment: Mapping[str, str] | None = None
) -> ServeOptions:
    """The server's options. Raises `UsageError` for invalid values."""
    variables = os.environ if environment is None else environment
    return ServeOptions(
        models=read_model_options(args, variables),
        network=read_network_options(args, variables),
        security=read_security_options(args, variables),
        limits=LimitOptions(
            max_body_bytes=to_bytes(args.max_body_mb),
            max_inflight_bytes=to_bytes(args.max_inflight_mb or 0),
            timeout_s=args.timeout,
            max_queue=args.max_queue,
            max_batch_size=args.max_batch_size,
        ),
        workers=read_worker_options(args),
        feedback=FeedbackOptions(
            find_feedback(args, variables), args.feedback_max_items, to_bytes(args.feedback_max_mb)
        ),
        studio=read_studio_options(args, variables),
        log_requests=args.log_requests,
        otlp_endpoint=read_endpoint(args, variables),
    )


def read_model_options(args: argparse.Namespace, variables: Mapping[str, str]) -> ModelOptions:
    """The group `models`."""
    settings = Settings.from_environment(args, variables)
    url, folder = split_location(settings.store)
    return ModelOptions(
        store=folder,
        store_url=url,
        cache=settings.cache,
        names=tuple(args.models),
        keep_versions=args.keep_versions,
        poll_interval_s=args.poll_interval,
        device=args.device,
        max_loaded_bytes=to_bytes(args.memory_limit),
        trusted_keys=read_trusted_keys(args),
        min_shared_bytes=to_bytes(args.min_shared_mb),
    )


def read_trusted_keys(args: argparse.Namespace) -> str:
    """The keys of `--require-signature` as a text; "" if any version may be loaded.

    Raises `UsageError` for a file without keys, and for what makes unsigned versions, and
    `MissingExtra`.
    """
    if not args.require_signature:
        return ""
    if args.studio:
        raise UsageError(
            "--studio makes versions that nobody has signed, and --require-signature rejects them.",
            hint="Use one of the two.",
        )
    from modelpad.signing import Verifier
    from modelpad.signing.keys import read_pem

    pem = read_pem(Path(args.require_signature))
    Verifier.parse(pem, args.require_signature)
    return pem.decode("ascii", "replace")


def read_network_options(args: argparse.Namespace, variables: Mapping[str, str]) -> NetworkOptions:
    """The group `network`."""
    if bool(args.tls_cert) != bool(args.tls_key):
        raise UsageError(
            "--tls-cert and --tls-key must be given together.",
            hint="Give both files: --tls-cert cert.pem --tls-key key.pem",
        )
    return NetworkOptions(
        host=args.host,
        port=read_port(variables) if args.port is None else args.port,
        grpc_port=args.grpc_port,
        certificate=Path(args.tls_cert) if args.tls_cert else None,
        certificate_key=Path(args.tls_key) if args.tls_key else None,
        predict_route=variables.get("AIP_PREDICT_ROUTE", ""),
        health_route=variables.get("AIP_HEALTH_ROUTE", ""),
    )


def read_security_options(
    args: argparse.Namespace, variables: Mapping[str, str]
) -> SecurityOptions:
    """The group `security`."""
    keys = variables.get("MODELPAD_API_KEYS", "")
    hosts = [*args.allowed_host, *read_names(variables.get("MODELPAD_ALLOWED_HOSTS", ""))]
    check_origins("--cors-origin", args.cors_origin)
    check_origins("--frame-ancestor", args.frame_ancestor)
    for host in hosts:
        if not is_host_pattern(host):
            raise UsageError(
                f"--allowed-host {host!r} is not a host name.",
                hint="Give the name without scheme and port: models.example.org",
            )
    if args.admin and not (args.api_keys or keys):
        raise UsageError(
            "--admin names the owner of an API key, but no API keys are configured.",
            hint="Add: --api-keys FILE",
        )
    return SecurityOptions(
        api_keys=keys,
        api_key_file=Path(args.api_keys) if args.api_keys else None,
        admins=tuple(args.admin),
        rate_limit=args.rate_limit,
        allowed_hosts=tuple(hosts),
        cors_origins=tuple(args.cors_origin),
        frame_ancestors=tuple(args.frame_ancestor),
    )


def read_worker_options(args: argparse.Namespace) -> WorkerOptions:
    """The group `workers`."""
    if args.workers > 1 and not hasattr(os, "fork"):
        raise UsageError(
            "This system supports one worker only: it has no fork.", hint="Remove --workers."
        )
    memory_mb = args.max_worker_memory_mb
    return WorkerOptions(
        count=args.workers,
        max_memory_bytes=None if memory_mb is None else to_bytes(memory_mb),
        shutdown_timeout_s=args.shutdown_timeout,
    )


def read_studio_options(args: argparse.Namespace, variables: Mapping[str, str]) -> StudioOptions:
    """The group `studio`.

    Raises `UsageError` where strangers could train, and where jobs cannot run.
    """
    if not args.studio:
        return StudioOptions()
    if not hasattr(os, "fork"):
        raise UsageError("--studio needs Linux or macOS.", hint="On Windows, use WSL.")
    has_keys = args.api_keys or variables.get("MODELPAD_API_KEYS")
    if not is_loopback(args.host) and not has_keys:
        raise UsageError(
            f"--studio lets everyone who reaches {args.host} store files and run jobs.",
            hint="Add --api-keys FILE, or serve this machine only: --host 127.0.0.1",
        )
    return StudioOptions(
        folder=locate_jobs(args.jobs, variables).resolve(),
        cores=args.job_cores,
        memory_bytes=to_bytes(args.job_memory_mb),
    )


def read_endpoint(args: argparse.Namespace, variables: Mapping[str, str]) -> str:
    """`--otlp-endpoint`, else `MODELPAD_OTLP_ENDPOINT`; "" for none."""
    endpoint: str = args.otlp_endpoint or variables.get("MODELPAD_OTLP_ENDPOINT", "")
    if endpoint and not endpoint.startswith(("http://", "https://")):
        raise UsageError(
            f"--otlp-endpoint {endpoint!r} is not an HTTP URL.",
            hint="Give a URL: http://127.0.0.1:4318",
        )
    return endpoint


def to_bytes(size_mb: float) -> int:
    """Megabytes (MiB) in bytes."""
    return int(size_mb * MB)
