"""From what a user types to a bundle."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelpad.bundle import Bundle
from modelpad.errors import ModelNotFound, VersionNotFound
from modelpad.store import LocalStore, resolve_bundle


def test_a_bundle_is_resolved_by_path_store_or_zoo(tmp_path: Path, digits: Bundle) -> None:
    store = LocalStore(tmp_path / "store")
    assert resolve_bundle("digits", store.root).bundle.folder == digits.folder
    assert resolve_bundle(str(digits.folder), store.root).name == "digits"
    with pytest.raises(VersionNotFound) as absent:
        resolve_bundle("digits@2", store.root)
    assert "Leave out @2" in absent.value.hint
    store.push(digits)
    store.push(digits)
    assert resolve_bundle("digits", store.root).version == 2
    with pytest.raises(ModelNotFound) as raised:
        resolve_bundle("digitz", store.root)
    assert "digits" in raised.value.hint
