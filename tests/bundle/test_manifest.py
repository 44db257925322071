"""The manifest: golden bytes."""

from __future__ import annotations

from modelpad.bundle import open_bundle
from tests.bundle.golden_bundle import GOLDEN, golden_manifest


def test_a_golden_bundle_round_trips() -> None:
    bundle = open_bundle(GOLDEN)
    expected = golden_manifest()
    assert bundle.manifest.signature == expected.signature
    assert bundle.manifest.samples == expected.samples
    assert bundle.manifest.to_json() == (GOLDEN / "manifest.json").read_bytes()
    assert bundle.manifest.to_dict()["preparation"] == {
        "image": {"name": "sketch", "size": 28, "box": 20}
    }
