"""Finds the bundle that a user means by a name, a bundle's folder, or a trained model's file.

Files of other frameworks are imported into the cache.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from modelpad.errors import ModelNotFound, UsageError, VersionNotFound

if TYPE_CHECKING:
    from modelpad.store import ResolvedBundle

log = logging.getLogger("modelpad.server")

DEFAULT_MODEL = "digits"  # comes with modelpad
MODEL_SUFFIXES = (
    ".keras",
    ".h5",
    ".pt",
    ".pt2",
    ".pth",
    ".onnx",
    ".tflite",
    ".skops",
    ".ubj",
    ".txt",
    ".json",
)


class ModelFinder(msgspec.Struct, frozen=True):
    """Finds models in `store`, and imports files into `cache`; `report` gets a line per import."""

    store: Path
    cache: Path
    report: Callable[[str], None]

    def find(self, given: str) -> ResolvedBundle:
        """The bundle of a name (`NAME`, `NAME@VERSION_OR_ALIAS`), a bundle's folder or a file.

        Raises:
            ModelNotFound, VersionNotFound, BundleInvalid: as `resolve_bundle` does.
            ConversionFailed, ParityFailed, MissingExtra: as `import_cached` does.
        """
        from modelpad.bundle import open_bundle
        from modelpad.store import ResolvedBundle, resolve_bundle

        path = Path(given)
        is_bundle = (path / "manifest.json").is_file()
        is_model_file = path.is_file() or (path / "saved_model.pb").is_file()
        is_path = len(path.parts) > 1 or path.suffix in MODEL_SUFFIXES
        if is_path and not path.exists():
            raise ModelNotFound(f"There is no file {given}.", hint="Check the path.")
        if is_path and path.is_dir() and not (is_bundle or is_model_file):
            open_bundle(path)  # raises an error that names what is missing
        if is_bundle or not is_model_file:
            return resolve_bundle(given, self.store)
        from modelpad.convert.cache import import_cached

        bundle = import_cached(path, self.cache / "imports", self.report)
        return ResolvedBundle(bundle.manifest.name, 1, bundle)

    def find_all(self, given: Sequence[str], live: Mapping[str, int]) -> list[ResolvedBundle]:
        """The bundles to serve; without names every model in the store, or the example model.

        `live` are the versions that other workers already serve.

        Raises `UsageError` when two of them have the same name, and as `find`.
        """
        from modelpad.store import list_names

        names = given or sorted(live) or list_names(self.store) or [DEFAULT_MODEL]
        found = [self._find_served(name, live) for name in names]
        counts = Counter(one.name for one in found)
        repeated = sorted(name for name, count in counts.items() if count > 1)
        if repeated:
            raise UsageError(
                f"Given more than once: {', '.join(repeated)}.",
                hint="To serve several versions of a model, use: --keep-versions N",
            )
        return found

    def _find_served(self, given: str, live: Mapping[str, int]) -> ResolvedBundle:
        """As `find`, but the version that other workers serve, which the store may not mean."""
        name = given.partition("@")[0]
        if name in live and not Path(given).exists():
            with contextlib.suppress(VersionNotFound):  # removed since
                return self.find(f"{name}@{live[name]}")
        return self.find(self._skip_failed(given))

    def _skip_failed(self, given: str) -> str:
        """The version before, if a server failed to load the one that a name refers to.

        The reconciler tries that version again soon.
        """
        from modelpad.store import LocalStore

        store = LocalStore(self.store)
        if given not in store.names():
            return given
        wanted = store.resolve(given).version
        reason = store.read_failure(given, wanted)
        if reason is None:
            return given
        for version in reversed(store.versions(given)):
            if version < wanted and store.read_failure(given, version) is None:
                log.warning("%s: version %d failed to load before: %s", given, wanted, reason)
                return f"{given}@{version}"
        return given
