"""Models to start a training from."""

from __future__ import annotations

from pathlib import Path

from modelpad.locations import StoreLocation
from modelpad.store import ResolvedBundle, resolve_bundle
from modelpad.training.run import BUNDLE


def find_start(reference: str, store: StoreLocation | None) -> ResolvedBundle:
    """The model that `--from` names: a model, or the folder of a bundle or of a run.

    Raises:
        ModelNotFound: there is none.
    """
    folder = Path(reference).expanduser() / BUNDLE
    return resolve_bundle(str(folder) if folder.is_dir() else reference, store or Path())
