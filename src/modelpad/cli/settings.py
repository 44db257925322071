"""Settings from the command line and the environment, as one small value."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modelpad.errors import UsageError
from modelpad.locations import StoreLocation, locate_cache, locate_data, locate_store

# Every environment variable that modelpad reads; a test checks that the docs list them all.
VARIABLES = {
    "MODELPAD_STORE": "folder or URL of the model store, as --store",
    "MODELPAD_DATA": "folders with data sets by name, separated as in PATH",
    "MODELPAD_CACHE": "the folder of downloads, imported files and large graphs",
    "MODELPAD_API_KEYS": "API keys for serve: NAME=KEY or NAME=sha256:HEX, separated by commas",
    "MODELPAD_ALLOWED_HOSTS": "host names for serve, as --allowed-host, separated by commas",
    "MODELPAD_FEEDBACK": "where feedback is stored, as --feedback",
    "MODELPAD_JOBS": "folder of jobs and of the pictures they train on, as --jobs",
    "MODELPAD_OTLP_ENDPOINT": "the OpenTelemetry collector for serve, as --otlp-endpoint",
    "MODELPAD_API_KEYS_FILE": "a file of API keys for serve, as --api-keys",
    "MODELPAD_MODELS": "the models of serve, separated by commas",
    "MODELPAD_HOST": "as --host of serve; the same for each option that follows",
    "MODELPAD_PORT": "as --port, before AIP_HTTP_PORT and PORT",
    "MODELPAD_GRPC_PORT": "as --grpc-port",
    "MODELPAD_TLS_CERT": "as --tls-cert",
    "MODELPAD_TLS_KEY": "as --tls-key",
    "MODELPAD_KEEP_VERSIONS": "as --keep-versions",
    "MODELPAD_POLL_INTERVAL": "as --poll-interval",
    "MODELPAD_DEVICE": "as --device",
    "MODELPAD_MEMORY_LIMIT": "as --memory-limit",
    "MODELPAD_ADMINS": "as --admin, separated by commas",
    "MODELPAD_REQUIRE_SIGNATURE": "as --require-signature",
    "MODELPAD_KEY_PASSWORD": "password of the private key of models sign",
    "MODELPAD_RATE_LIMIT": "as --rate-limit",
    "MODELPAD_CORS_ORIGINS": "as --cors-origin, separated by commas",
    "MODELPAD_FRAME_ANCESTORS": "as --frame-ancestor, separated by commas",
    "MODELPAD_MAX_BODY_MB": "as --max-body-mb",
    "MODELPAD_MAX_INFLIGHT_MB": "as --max-inflight-mb",
    "MODELPAD_TIMEOUT": "as --timeout",
    "MODELPAD_MAX_QUEUE": "as --max-queue",
    "MODELPAD_MAX_BATCH_SIZE": "as --max-batch-size",
    "MODELPAD_FEEDBACK_MAX_ITEMS": "as --feedback-max-items",
    "MODELPAD_FEEDBACK_MAX_MB": "as --feedback-max-mb",
    "MODELPAD_WORKERS": "as --workers",
    "MODELPAD_MAX_WORKER_MEMORY_MB": "as --max-worker-memory-mb",
    "MODELPAD_MIN_SHARED_MB": "as --min-shared-mb",
    "MODELPAD_SHUTDOWN_TIMEOUT": "as --shutdown-timeout",
    "MODELPAD_ON": "as --on",
    "MODELPAD_REPLICAS": "as --replicas",
    "MODELPAD_REPLICA_CPUS": "as --replica-cpus",
    "MODELPAD_REPLICA_GPUS": "as --replica-gpus",
    "MODELPAD_REPLICA_REQUESTS": "as --replica-requests",
    "MODELPAD_REPLICA_IDLE": "as --replica-idle",
    "MODELPAD_STUDIO": "as --studio: true or false",
    "MODELPAD_JOB_CORES": "as --job-cores",
    "MODELPAD_JOB_MEMORY_MB": "as --job-memory-mb",
    "MODELPAD_LOG_REQUESTS": "as --log-requests: true or false",
    "MODELPAD_TRAIN_RECIPE_OPTION": "as an option of train, such as MODELPAD_TRAIN_IMAGES_EPOCHS",
    "AIP_HTTP_PORT": "Vertex AI: the port, before PORT",
    "AIP_PREDICT_ROUTE": "Vertex AI: another path for /v1/models/MODEL:predict",
    "AIP_HEALTH_ROUTE": "Vertex AI: another path for /readyz",
    "PORT": "the port of serve, as --port",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """Where things are: the store, the folders of data sets, the cache."""

    store: StoreLocation
    data_roots: tuple[Path, ...]
    cache: Path

    @classmethod
    def from_environment(
        cls, args: argparse.Namespace, environment: Mapping[str, str] | None = None
    ) -> Settings:
        """The arguments first, then the environment, then the user's own folders."""
        variables = os.environ if environment is None else environment
        return cls(
            store=locate_store(getattr(args, "store", None), variables),
            data_roots=locate_data(variables),
            cache=locate_cache(variables),
        )


def read_port(environment: Mapping[str, str]) -> int:
    """`AIP_HTTP_PORT`, else `PORT`, else 8080. Raises `UsageError` when it is not a port."""
    name = "AIP_HTTP_PORT" if environment.get("AIP_HTTP_PORT") else "PORT"
    text = environment.get(name) or "8080"
    if not text.isdigit() or int(text) > 65535:
        raise UsageError(f"{name} is {text!r}.", hint="Set it to a number from 0 to 65535.")
    return int(text)


def find_feedback(args: argparse.Namespace, variables: Mapping[str, str]) -> Path | None:
    """The file of `--feedback`, else of `MODELPAD_FEEDBACK`; None without either.

    Raises `UsageError`.
    """
    given: str = args.feedback or variables.get("MODELPAD_FEEDBACK", "")
    if not given:
        return None
    from modelpad.feedback import locate_feedback

    return locate_feedback(given)
