"""Signatures: who made them, what they cover, and that OpenSSF's own tool agrees."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelpad.bundle import Bundle, open_bundle, write_bundle
from modelpad.errors import BundleInvalid, SignatureInvalid, UsageError
from modelpad.signing import SigningKey, Verifier, sign_bundle
from modelpad.signing.keys import read_pem
from tests.signing_keys import run_openssl


@pytest.fixture
def bundle(tmp_path: Path, digits: Bundle) -> Bundle:
    """The digits as a folder of their own."""
    files = {name: digits.path(name) for name in digits.manifest.files}
    return write_bundle(tmp_path / "digits", digits.manifest, files, digits)


def sign(bundle: Bundle, key: Path, chain: Path | None = None) -> None:
    body = sign_bundle(bundle, SigningKey.read(key, chain))
    (bundle.folder / "model.sig").write_bytes(body)


def verify(bundle: Bundle, trusted: Path, name: str = "digits") -> None:
    Verifier.parse(read_pem(trusted), str(trusted)).check(bundle, name, 1)


def openssf(kind: str, bundle: Bundle) -> Any:
    """What OpenSSF's own library signs or verifies (`kind`) a bundle with, but for the keys."""
    pytest.importorskip("OpenSSL")  # which it lacks in its list of dependencies
    library = pytest.importorskip(f"model_signing.{kind}")
    hashing = pytest.importorskip("model_signing.hashing")
    ignored = hashing.Config().set_ignored_paths(paths=[bundle.folder / "model.sig"])
    return library.Config().set_hashing_config(ignored)


def test_a_signature_is_accepted_by_its_key_alone(bundle: Bundle, keys: Path) -> None:
    with pytest.raises(SignatureInvalid, match="digits@1 is not signed"):
        verify(bundle, keys / "key.pub")
    sign(bundle, keys / "key.pem")
    verify(bundle, keys / "key.pub")
    with pytest.raises(SignatureInvalid, match="signed with another key"):
        verify(bundle, keys / "other.pub")
    both = keys / "both.pub"  # as while keys are rotated
    both.write_bytes((keys / "other.pub").read_bytes() + (keys / "key.pub").read_bytes())
    verify(bundle, both)


def test_openssfs_library_accepts_our_signature_and_we_its_own(bundle: Bundle, keys: Path) -> None:
    folder, signature = bundle.folder, bundle.folder / "model.sig"
    sign(bundle, keys / "other.pem")  # P-384, with SHA-384
    theirs = openssf("verifying", bundle).use_elliptic_key_verifier(public_key=keys / "other.pub")
    theirs.verify(folder, signature)
    theirs = openssf("signing", bundle).use_elliptic_key_signer(private_key=keys / "key.pem")
    theirs.sign(folder, signature)
    verify(bundle, keys / "key.pub")


def test_openssfs_library_accepts_our_certificate_and_we_its_own(
    bundle: Bundle, authority: Path
) -> None:
    folder, signature = bundle.folder, bundle.folder / "model.sig"
    key, chain, root = (authority / name for name in ("key.pem", "chain.pem", "ca.crt"))
    sign(bundle, key, chain)
    verify(bundle, root)
    theirs = openssf("verifying", bundle).use_certificate_verifier(certificate_chain=[root])
    theirs.verify(folder, signature)
    theirs = openssf("signing", bundle).use_certificate_signer(
        private_key=key, signing_certificate=chain, certificate_chain=[root]
    )
    theirs.sign(folder, signature)
    verify(bundle, root)


def test_a_certificate_by_nobody_we_trust_is_rejected(bundle: Bundle, authority: Path) -> None:
    sign(bundle, authority / "key.pem", authority / "chain.pem")
    with pytest.raises(SignatureInvalid, match="only public keys are trusted"):
        verify(bundle, authority / "key.pub")
    stranger = authority / "stranger.crt"
    words = ("req", "-x509", "-key", "other.pem", "-out", stranger.name, "-subj", "/CN=stranger")
    run_openssl(authority, *words)
    with pytest.raises(SignatureInvalid, match="not by a trusted authority"):
        verify(bundle, stranger)
    with pytest.raises(UsageError, match="is not that of"):
        SigningKey.read(authority / "other.pem", authority / "chain.pem")


def rewrite_manifest(bundle: Bundle) -> None:
    path = bundle.folder / "manifest.json"
    path.write_text(path.read_text("utf-8").replace('"title": "', '"title": "Better '), "utf-8")


def replace_sample(bundle: Bundle) -> None:
    """Changes a file, and its checksum too."""
    name = next(name for name in bundle.manifest.files if name.startswith("samples/"))
    files: dict[str, bytes | Path] = {each: bundle.path(each) for each in bundle.manifest.files}
    made = write_bundle(bundle.folder.parent / "b", bundle.manifest, files | {name: b"x"})
    for each in (name, "manifest.json"):
        (made.folder / each).replace(bundle.folder / each)


@pytest.mark.parametrize("change", [rewrite_manifest, replace_sample])
def test_a_change_is_found_though_checksums_agree(
    bundle: Bundle, keys: Path, change: Callable[[Bundle], None]
) -> None:
    sign(bundle, keys / "key.pem")
    change(bundle)
    with pytest.raises(SignatureInvalid, match=r"manifest\.json of digits@1 is not the file"):
        verify(open_bundle(bundle.folder), keys / "key.pub")
    with pytest.raises(BundleInvalid):  # opened before the change
        verify(bundle, keys / "key.pub")


def test_a_signed_bundle_under_another_name_is_rejected(bundle: Bundle, keys: Path) -> None:
    sign(bundle, keys / "key.pem")
    with pytest.raises(SignatureInvalid, match="signed as the model 'digits'"):
        verify(bundle, keys / "key.pub", "pets")


def test_the_signature_of_another_model_is_rejected(
    bundle: Bundle, bundles: Path, keys: Path
) -> None:
    other = open_bundle(bundles / "half_plus_two")
    body = sign_bundle(other, SigningKey.read(keys / "key.pem"))
    (bundle.folder / "model.sig").write_bytes(body)
    with pytest.raises(SignatureInvalid, match="is that of another model"):
        verify(bundle, keys / "key.pub")


def damage(body: bytes) -> dict[str, bytes]:
    """Signatures that are wrong, by what is wrong with them."""
    record = json.loads(body)
    cut = {**record, "dsseEnvelope": {**record["dsseEnvelope"], "signatures": []}}
    typed = {**record, "mediaType": "text/plain"}
    sig = {"sig": "AAAA", "keyid": ""}
    forged = {**record, "dsseEnvelope": {**record["dsseEnvelope"], "signatures": [sig]}}
    payload = {**record, "dsseEnvelope": {**record["dsseEnvelope"], "payload": "e30="}}
    others = {"cut": cut, "typed": typed, "forged": forged, "payload": payload, "list": []}
    written = {name: json.dumps(each).encode() for name, each in others.items()}
    return written | {"empty": b"", "noise": b"\xff\x00", "deep": b"[" * 5000}


def test_garbage_is_rejected_with_what_to_do(bundle: Bundle, keys: Path) -> None:
    sign(bundle, keys / "key.pem")
    path = bundle.folder / "model.sig"
    for name, body in damage(path.read_bytes()).items():
        path.write_bytes(body)
        with pytest.raises(SignatureInvalid) as caught:
            verify(bundle, keys / "key.pub")
        assert "modelpad models sign digits@1" in caught.value.hint, name
    path.unlink()
    path.symlink_to(keys / "key.pub")
    with pytest.raises(BundleInvalid, match="is a link"):
        verify(bundle, keys / "key.pub")


def test_unsuitable_keys_are_explained(keys: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "missing.pem", tmp_path / "empty.pem", keys / "key.pub"):
        if path.stem == "empty":
            path.write_bytes(b"")
        with pytest.raises(UsageError, match=r"cannot be read|can be read|no private key"):
            SigningKey.read(path)
    with pytest.raises(UsageError, match="has a private key"):
        Verifier.parse(read_pem(keys / "key.pem"), "key.pem")
    with pytest.raises(UsageError, match="no public key or certificate"):
        Verifier.parse(b"hello", "hello.txt")
    run_openssl(tmp_path, "genpkey", "-algorithm", "ed25519", "-out", "ed.pem")
    with pytest.raises(UsageError, match="P-256"):
        SigningKey.read(tmp_path / "ed.pem")


def test_an_encrypted_key_needs_its_password(bundle: Bundle, keys: Path, tmp_path: Path) -> None:
    path = tmp_path / "locked.pem"
    words = ("-in", str(keys / "key.pem"), "-aes256", "-passout", "pass:open", "-out", str(path))
    run_openssl(tmp_path, "ec", *words)
    key = SigningKey.read(path, ask_password=lambda: "open")
    (bundle.folder / "model.sig").write_bytes(sign_bundle(bundle, key))
    verify(bundle, keys / "key.pub")
    for ask in (None, lambda: "shut"):
        with pytest.raises(UsageError, match="password"):
            SigningKey.read(path, ask_password=ask)
