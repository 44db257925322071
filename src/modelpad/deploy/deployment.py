"""What is deployed, and what a target makes of it: values that all targets share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from modelpad.errors import Unsupported, UsageError
from modelpad.store import ResolvedBundle

NAME = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
MAX_NAME_CHARS = 40
MAX_NAMED_MODELS = 2  # more make a name too long to read
HTTP_PORT, GRPC_PORT = 8080, 8081
REGISTRY = "REGISTRY"  # the user's own, until `--image` names it

Content = bytes | Path


@dataclass(frozen=True, slots=True)
class Sizing:
    """What one instance needs: CPUs, memory, and how many requests it takes at once."""

    cpus: int
    memory_mb: int
    concurrency: int
    batches: Mapping[str, int] = field(default_factory=dict)  # the best batch size, by model


@dataclass(frozen=True, slots=True)
class Deployment:
    """Models, the name of their service, and the image they are built into.

    `image` is a repository and tag; "" stands for `NAME:VERSIONS`, in the registry that a target
    needs.
    """

    name: str
    models: tuple[ResolvedBundle, ...]
    sizing: Sizing
    image: str = ""
    slim: bool = False
    extras: frozenset[str] = frozenset()

    @property
    def tag(self) -> str:
        """The models' versions, such as `3` or `3.1`: every deployment can be rolled back to."""
        return ".".join(str(model.version) for model in self.models)

    def reference(self, registry: str = "") -> str:
        """The image's full name; in `registry` unless the user gave one."""
        return self.image or f"{registry and registry + '/'}{self.name}:{self.tag}"

    @property
    def title(self) -> str:
        """The models with their versions, for people: `digits 3, reviews 1`."""
        return ", ".join(f"{model.name} {model.version}" for model in self.models)


@dataclass(frozen=True, slots=True)
class Plan:
    """The files of a folder by path, and what to type there.

    `cpus` of an instance, if the platform gives more than the deployment asks for.
    """

    files: Mapping[str, Content]
    commands: tuple[str, ...]
    rollback: str
    notes: tuple[str, ...] = ()
    cpus: int | None = None


def choose_name(models: Sequence[ResolvedBundle], given: str = "") -> str:
    """The service's name, also a DNS label: `given`, else made of the models' names.

    Raises `UsageError` when `given` is not one.
    """
    if given:
        if not NAME.fullmatch(given):
            raise UsageError(
                f"--name {given!r} cannot be the name of a service.",
                hint=f"Use lower-case letters, digits and '-', at most {MAX_NAME_CHARS}.",
            )
        return given
    joined = "-".join(model.name for model in models[:MAX_NAMED_MODELS])
    if len(models) > MAX_NAMED_MODELS:
        joined = "models"
    label = re.sub(r"[^a-z0-9]+", "-", joined.lower()).strip("-")[:MAX_NAME_CHARS].rstrip("-")
    return label if NAME.fullmatch(label) else f"model-{label}"[:MAX_NAME_CHARS].rstrip("-")


def check_models(models: Sequence[ResolvedBundle]) -> None:
    """Raises `UsageError` for two versions of a model, and `Unsupported` for native models."""
    names = [model.name for model in models]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UsageError(
            f"Given more than once: {', '.join(repeated)}.", hint="Name each model once."
        )
    for model in models:
        native = model.bundle.manifest.native
        if native is not None:
            raise Unsupported(
                f"{model.name} runs in {native.framework}, which the image does not contain.",
                hint="Import it without --backend native, if ONNX can express the model.",
            )


def refuse_memory(place: str, most_mb: int, needed_mb: int) -> Unsupported:
    """The error for models that need more memory than a platform has in one place."""
    return Unsupported(
        f"{place} has at most {most_mb:,} MB, and the models need {needed_mb:,} MB.",
        hint="Deploy fewer models together, or to another target.",
    )
