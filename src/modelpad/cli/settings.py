"""Settings from the command line and the environment, as one small value."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modelpad.errors import UsageError

# Every variable that modelpad reads, and what it says; the docs test holds docs to this.
VARIABLES = {
    "MODELPAD_STORE": "the store's folder, as --store",
    "MODELPAD_DATA": "folders that hold data sets by name, separated as PATH is",
    "MODELPAD_CACHE": "where downloads are kept",
    "MODELPAD_API_KEYS": "API keys that serve wants, NAME=KEY or NAME=sha256:HEX, by commas",
    "MODELPAD_ALLOWED_HOSTS": "host names that serve answers to, as --allowed-host, by commas",
    "MODELPAD_OTLP_ENDPOINT": "the OpenTelemetry collector that serve sends traces to",
    "AIP_HTTP_PORT": "Vertex AI: the port, before PORT",
    "AIP_PREDICT_ROUTE": "Vertex AI: a path that answers as /v1/models/MODEL:predict does",
    "AIP_HEALTH_ROUTE": "Vertex AI: a path that answers as /readyz does",
    "PORT": "the port that serve listens on, as --port",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """Where things lie: the store, the folders of data sets, the cache."""

    store: Path
    data_roots: tuple[Path, ...]
    cache: Path

    @classmethod
    def from_environment(
        cls, args: argparse.Namespace, environment: Mapping[str, str] | None = None
    ) -> Settings:
        """The arguments first, then the environment, then the user's own folders."""
        variables = os.environ if environment is None else environment
        home = Path(variables.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
        cache = Path(variables.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        store = getattr(args, "store", None) or variables.get("MODELPAD_STORE")
        roots = variables.get("MODELPAD_DATA", "").split(os.pathsep)
        return cls(
            store=Path(store) if store else home / "modelpad" / "store",
            data_roots=tuple(Path(root) for root in roots if root),
            cache=Path(variables.get("MODELPAD_CACHE") or cache / "modelpad"),
        )


def paths_from_environment(
    model: str, environment: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The paths that Vertex AI asks for, and which of ours they mean; `model` is the only one."""
    variables = os.environ if environment is None else environment
    wanted = {
        variables.get("AIP_PREDICT_ROUTE", ""): f"/v1/models/{model}:predict",
        variables.get("AIP_HEALTH_ROUTE", ""): "/readyz",
    }
    return {path: ours for path, ours in wanted.items() if path}


def keys_from_environment(environment: Mapping[str, str] | None = None) -> str:
    """`MODELPAD_API_KEYS`, else nothing."""
    return (os.environ if environment is None else environment).get("MODELPAD_API_KEYS", "")


def hosts_from_environment(environment: Mapping[str, str] | None = None) -> list[str]:
    """The names in `MODELPAD_ALLOWED_HOSTS`."""
    variables = os.environ if environment is None else environment
    names = variables.get("MODELPAD_ALLOWED_HOSTS", "").split(",")
    return [name.strip() for name in names if name.strip()]


def endpoint_from_environment(environment: Mapping[str, str] | None = None) -> str:
    """`MODELPAD_OTLP_ENDPOINT`, else nothing."""
    return (os.environ if environment is None else environment).get("MODELPAD_OTLP_ENDPOINT", "")


def port_from_environment(environment: Mapping[str, str] | None = None) -> int:
    """`AIP_HTTP_PORT`, else `PORT`, else 8080. Raises `UsageError` when it is no port."""
    variables = os.environ if environment is None else environment
    name = "AIP_HTTP_PORT" if variables.get("AIP_HTTP_PORT") else "PORT"
    text = variables.get(name) or "8080"
    if not text.isdigit() or int(text) > 65535:
        raise UsageError(f"{name} is {text!r}.", hint="Set it to a number from 0 to 65535.")
    return int(text)
