"""A server that requires signatures loads nothing else, and goes on with what is signed."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest

from modelpad.bundle import Bundle, write_bundle
from modelpad.errors import SignatureInvalid
from modelpad.server.sources import ModelFinder
from modelpad.signing import SigningKey, Verifier, sign_bundle
from modelpad.store import LocalStore


@pytest.fixture
def store(tmp_path: Path, digits: Bundle, keys: Path) -> LocalStore:
    """A store with a version that is signed."""
    made = LocalStore(tmp_path / "store")
    push(made, digits, keys / "key.pem")
    return made


def push(store: LocalStore, bundle: Bundle, key: Path | None = None, name: str = "") -> None:
    """Pushes a version, signed if a key is given: it comes with its signature."""
    files = {path: bundle.path(path) for path in bundle.manifest.files}
    with TemporaryDirectory() as folder:
        copy = write_bundle(Path(folder) / "copy", bundle.manifest, files)
        if key is not None:
            (copy.folder / "model.sig").write_bytes(sign_bundle(copy, SigningKey.read(key)))
        store.push(copy, name or None)


def test_a_server_goes_on_with_the_signed_version_until_another_one_comes(
    serve: Any, store: LocalStore, digits: Bundle, keys: Path, wait_for: Any
) -> None:
    trusted = ("--require-signature", str(keys / "key.pub"))
    url = serve("digits", "--poll-interval", "0.05", *trusted, store=store.root).url

    def serves(version: int) -> bool:
        picture = digits.path("samples/7.png").read_bytes()
        sent = {"content-type": "image/png"}
        answer = httpx.post(f"{url}/predict/digits", content=picture, headers=sent)
        return bool(answer.json()["version"] == version)

    push(store, digits)
    wait_for(lambda: "is not signed" in (store.read_failure("digits", 2) or ""))
    push(store, digits, keys / "other.pem")
    wait_for(lambda: "another key" in (store.read_failure("digits", 3) or ""))
    assert serves(1)
    push(store, digits, keys / "key.pem")
    wait_for(lambda: serves(4))


def test_a_server_starts_with_the_newest_version_that_is_signed(
    store: LocalStore, digits: Bundle, keys: Path, tmp_path: Path
) -> None:
    pem = (keys / "key.pub").read_bytes()
    lines: list[str] = []
    finder = ModelFinder(
        store.root, tmp_path / "cache", lines.append, Verifier.parse(pem, "key.pub")
    )
    push(store, digits)
    push(store, digits, name="other")
    for words in ([], ["digits"]):
        assert [(one.name, one.version) for one in finder.find_all(words, {})] == [("digits", 1)]
    assert lines[0].startswith("Left out other: other@1 is not signed. If you trust it, sign it: ")
    (store.root / "digits" / "1" / "model.sig").unlink()
    with pytest.raises(SignatureInvalid, match="digits@2 is not signed"):
        finder.find_all([], {})
