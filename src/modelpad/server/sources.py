"""Finds the bundles that a user means by a name, a bundle's folder, or trained models' files.

Files of other frameworks, and the models in folders of other tools, are imported into the cache.
"""

from __future__ import annotations

import contextlib
import logging
import re
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from modelpad.errors import (
    BundleInvalid,
    ModelNotFound,
    ModelpadError,
    NotTrusted,
    StoreError,
    UsageError,
    VersionNotFound,
)
from modelpad.locations import RemoteLocation, StoreLocation

if TYPE_CHECKING:
    from modelpad.convert.folders import FolderModel
    from modelpad.signing import Verifier
    from modelpad.store import ResolvedBundle, Store

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
ASSIGNMENT = re.compile(r"(?P<name>[^=/\\]+)=(?P<what>.+)", re.DOTALL)
VERSIONED = re.compile(r"(?P<path>.+)@(?P<version>[1-9]\d{0,17})", re.DOTALL)
OPTION = re.compile(r"--trust|--\w+ ('[^']+'|[^\s,.;]+([.,;][^\s,.;]+)*)")  # in a hint


class ModelFinder(msgspec.Struct, frozen=True):
    """Finds models in `store`, and imports files into `cache`; `report` gets a line per import.

    Versions whose signature `signed` rejects are passed over for older ones.
    """

    store: StoreLocation
    cache: Path
    report: Callable[[str], None]
    signed: Verifier | None = None

    def find(self, given: str) -> ResolvedBundle:
        """The one bundle that `given` means, its newest version if there are several.

        Raises as `find_each`, and `UsageError` if it is a folder of several models.
        """
        return self._find(given, only_one=True)[-1]

    def find_each(self, given: str) -> list[ResolvedBundle]:
        """The bundles of one word: `NAME`, `NAME@VERSION_OR_ALIAS`, `PATH` or `NAME=PATH`.

        A path is a bundle's folder, a model's file, or a folder with models, which keep their names
        and version numbers. `PATH@VERSION` is one version of a folder, or a file's number.

        Raises:
            ModelNotFound, VersionNotFound, BundleInvalid: as `resolve_bundle` does.
            ConversionFailed, ParityFailed, MissingExtra: as `import_cached` does.
            UsageError: `NAME` is not a valid name, or `PATH` contains several models.
        """
        return self._find(given)

    def find_all(self, given: Sequence[str], live: Mapping[str, int]) -> list[ResolvedBundle]:
        """The bundles to serve; without names every model in the store, or the example model.

        `live` are the versions that other workers already serve. While a store in a bucket cannot
        be reached, these are the versions that this machine has from it.

        Raises `UsageError` when two words mean models of the same name, and as `find_each`.
        """
        try:
            return self._find_all(given, live)
        except StoreError as error:
            if not (isinstance(self.store, RemoteLocation) and error.details.get("away")):
                raise
            log.warning("%s Serving the versions that are on this machine.", error.message)
        remembered = msgspec.structs.replace(self.store, remembered=True)
        return msgspec.structs.replace(self, store=remembered)._find_all(given, live)

    def _find_all(self, given: Sequence[str], live: Mapping[str, int]) -> list[ResolvedBundle]:
        from modelpad.store import list_names

        words = given or sorted(live) or list_names(self.store) or [DEFAULT_MODEL]
        finder = replace_report(self, _discard) if live else self  # the first worker has reported
        if given or not self._is_choosy:
            found = [finder._find_served(word, live) for word in words]
        else:
            found = finder._find_acceptable(words, live)
        counts = Counter(name for group in found for name in {one.name for one in group})
        repeated = sorted(name for name, count in counts.items() if count > 1)
        if repeated:
            raise UsageError(
                f"Given more than once: {', '.join(repeated)}.",
                hint="To serve several versions of a model, use: --keep-versions N",
            )
        return [one for group in found for one in group]

    def _find(self, given: str, *, only_one: bool = False) -> list[ResolvedBundle]:
        assigned = None if Path(given).exists() else ASSIGNMENT.fullmatch(given)
        if assigned is None:
            return self._find_path_or_name(given, only_one=only_one)
        from modelpad.bundle.manifest import check_name

        check_name(assigned["name"])
        found = self._find_path_or_name(assigned["what"], assigned["name"], only_one=only_one)
        return [replace(one, name=assigned["name"]) for one in found]

    def _find_path_or_name(
        self, given: str, name: str = "", *, only_one: bool
    ) -> list[ResolvedBundle]:
        """The bundles of a path or name, served as `name` if given; the newest if `only_one`."""
        from modelpad.store import resolve_bundle

        path, version = split_version(given)
        if (Path(given) / "manifest.json").is_file() or not self._is_path(path, given):
            return [resolve_bundle(given, self.store)]
        if not path.exists():
            raise ModelNotFound(f"There is no file {given}.", hint="Check the path.")
        from modelpad.convert.folders import find_models  # slow: not for names of the store

        found = find_models(path)
        if name or only_one:
            check_single(path, found.models, name)
        for part in found.left_out:
            self._report_left_out(part.name, part.reason)
        models = choose_version(found.models, path, version)
        return self._import_all(models[-1:] if only_one else models, name)

    def _is_path(self, path: Path, given: str) -> bool:
        """Whether a word is a path. A folder next to a model of the same name needs a slash."""
        if path.is_file() or len(path.parts) != 1 or path.suffix in MODEL_SUFFIXES:
            return True
        if given.endswith("/") or given == "..":
            return True
        return path.is_dir() and not self._is_known(given.partition("@")[0])

    def _is_known(self, name: str) -> bool:
        from modelpad.store import list_names
        from modelpad.zoo import zoo_bundles

        return name in list_names(self.store) or name in zoo_bundles()

    def _import_all(self, models: Sequence[FolderModel], name: str) -> list[ResolvedBundle]:
        """Imports models, as `name` if given. Those that fail are left out, unless all do."""
        for foreign, own in {model.foreign_name: model.name for model in models}.items():
            if foreign != own and not name:
                self.report(f"{foreign!r} is served as {own}: that is a valid name.")
        bundles, failed = [], []
        for model in models:
            try:
                bundles.append(self._import(replace(model, name=name) if name else model))
            except ModelpadError as error:
                if len(models) == 1:
                    raise
                failed.append(error)
                self._report_left_out(f"{model.name} version {model.version}", error)
        if not bundles:
            raise failed[0]
        return bundles

    def _import(self, model: FolderModel) -> ResolvedBundle:
        from modelpad.convert.cache import import_cached
        from modelpad.store import ResolvedBundle

        try:
            bundle = import_cached(model, self.cache / "imports", self.report)
        except ModelpadError as error:
            error.hint = add_command(error, model)
            raise
        return ResolvedBundle(model.name, model.version, bundle)

    def _report_left_out(self, name: str, error: ModelpadError) -> None:
        self.report(f"Left out {name}: {error.words}")

    def _find_served(self, given: str, live: Mapping[str, int]) -> list[ResolvedBundle]:
        """As `find_each`, but the version that other workers serve, if the store means another."""
        name = given.partition("@")[0]
        if name in live and not Path(given).exists():
            with contextlib.suppress(VersionNotFound):  # removed since
                return self.find_each(f"{name}@{live[name]}")
        return self.find_each(self._skip_failed(given))

    @property
    def _is_choosy(self) -> bool:
        """Whether a version may be unacceptable: not signed, or not on this machine."""
        away = isinstance(self.store, RemoteLocation) and self.store.remembered
        return away or self.signed is not None

    def _find_acceptable(
        self, words: Sequence[str], live: Mapping[str, int]
    ) -> list[list[ResolvedBundle]]:
        """The acceptable ones of the models that nobody has named. Raises if there is none."""
        found: list[list[ResolvedBundle]] = []
        failed: list[ModelpadError] = []
        for word in words:
            try:
                group = self._find_served(word, live)
                if self.signed is not None:
                    for one in group:
                        self.signed.check(one.bundle, one.name, one.version)
                found.append(group)
            except ModelpadError as error:
                if error.details.get("away"):
                    raise
                failed.append(error)
                self._report_left_out(word, error)
        if not found:
            raise failed[0]
        return found

    def _skip_failed(self, given: str) -> str:
        """The version before, if the one that a name refers to failed to load or is unacceptable.

        The reconciler tries that version again soon.
        """
        from modelpad.store import open_store

        store = open_store(self.store)
        if given not in store.names():
            return given
        wanted = store.resolve(given).version
        reason = self._find_failure(store, given, wanted)
        if reason is None:
            return given
        for version in reversed(store.versions(given)):
            if version < wanted and self._find_failure(store, given, version) is None:
                log.warning("%s: version %d is not loaded: %s", given, wanted, reason)
                return f"{given}@{version}"
        return given

    def _find_failure(self, store: Store, name: str, version: int) -> str | None:
        """Why a version cannot be loaded: it is unacceptable, or failed before."""
        if self._is_choosy:
            try:
                bundle = store.open(f"{name}@{version}", verify=False)
                if self.signed is not None:
                    self.signed.check(bundle, name, version)
            except (BundleInvalid, StoreError) as error:
                if error.details.get("away"):
                    raise
                return error.words
        return store.read_failure(name, version)


def check_single(path: Path, models: Sequence[FolderModel], name: str) -> None:
    """Raises `UsageError` if a path where one model is wanted has several."""
    names = sorted({model.name for model in models})
    if len(names) > 1:
        one = f", but {name!r} names one" if name else ""
        raise UsageError(
            f"{path} contains {len(names)} models: {', '.join(names)[:200]}{one}.",
            hint=f"Give the path of one of them, such as {path}/{names[0]}",
        )


def split_version(given: str) -> tuple[Path, int | None]:
    """The path and the version of `PATH@VERSION`; None for a path alone."""
    versioned = None if Path(given).exists() else VERSIONED.fullmatch(given)
    if versioned is None or not Path(versioned["path"]).exists():
        return Path(given), None
    return Path(versioned["path"]), int(versioned["version"])


def choose_version(
    models: Sequence[FolderModel], path: Path, version: int | None
) -> Sequence[FolderModel]:
    """The models of one version, all of them without one; a file gets any number.

    Raises `VersionNotFound`.
    """
    if version is None:
        return models
    if path.is_file():
        return [replace(model, version=version) for model in models]
    chosen = [model for model in models if model.version == version]
    if not chosen:
        known = sorted({model.version for model in models})
        raise VersionNotFound(
            f"{path} has no version {version}.",
            hint=f"It has: {', '.join(map(str, known))}.",
            known=known,
        )
    return chosen


def add_command(error: ModelpadError, model: FolderModel) -> str:
    """The hint of an error; if an option of `import` solves it, with the commands to type."""
    option = OPTION.search(error.hint)
    if not isinstance(error, NotTrusted | UsageError) or option is None:
        return error.hint
    if "modelpad import" in error.hint:
        return error.hint
    path = shlex.quote(str(model.path))
    return (
        f"{error.hint}\n  Import it first: modelpad import {path} --name {model.name} {option[0]}"
        f"\n  Then serve it:   modelpad serve {model.name}"
    )


def replace_report(finder: ModelFinder, report: Callable[[str], None]) -> ModelFinder:
    """A copy that reports elsewhere."""
    return msgspec.structs.replace(finder, report=report)


def _discard(text: str) -> None:
    pass
