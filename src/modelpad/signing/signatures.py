"""Signs bundles, and verifies their signatures.

A bundle's manifest has the SHA-256 of every other file, which opening the bundle has verified. So
what is left to verify is that the statement is signed, and that it names the same manifest.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from modelpad.bundle import Bundle, Manifest
from modelpad.bundle.reader import MANIFEST, SIGNATURE_FILE, read_manifest, read_signature_file
from modelpad.errors import BundleInvalid, SignatureInvalid
from modelpad.signing.envelope import Envelope
from modelpad.signing.keys import SigningKey
from modelpad.signing.statement import Statement
from modelpad.signing.trust import TrustedKeys


def sign_bundle(bundle: Bundle, key: SigningKey) -> bytes:
    """The signature of a bundle that was opened and verified: the content of `model.sig`."""
    statement = Statement(bundle.manifest.name, list_digests(bundle))
    return key.sign(statement.to_json()).to_json()


@dataclass(frozen=True, slots=True)
class Verifier:
    """Verifies signatures by trusted keys."""

    trusted: TrustedKeys

    @classmethod
    def parse(cls, pem: bytes, where: str) -> Verifier:
        """Trusts the public keys and certificates in a PEM file. Raises as `TrustedKeys.parse`."""
        return cls(TrustedKeys.parse(pem, where))

    def check(self, bundle: Bundle, name: str, version: int) -> None:
        """Verifies that a bundle is signed, and as the model `name`.

        Raises `SignatureInvalid`, with what to do.
        """
        where = f"{name}@{version}"
        body = read_signature_file(bundle.folder)
        if body is None:
            raise SignatureInvalid(f"{where} is not signed.", hint=_advise(where))
        try:
            envelope = Envelope.from_json(body)
            accepted = self.trusted.accept(envelope)
            statement = Statement.from_json(envelope.payload) if accepted else None
        except ValueError as error:
            raise SignatureInvalid(
                f"{SIGNATURE_FILE} of {where} cannot be trusted: {error}.", hint=_advise(where)
            ) from error
        if statement is None:
            raise SignatureInvalid(
                f"{where} is signed with another key than the trusted one.",
                hint=f"Give the public key of its signer, or sign again: {_command(where)}",
            )
        self._compare(statement, bundle, name, where)

    def _compare(self, statement: Statement, bundle: Bundle, name: str, where: str) -> None:
        digests = list_digests(bundle)
        if bundle.manifest.name != name:
            raise SignatureInvalid(
                f"{where} is signed as the model {bundle.manifest.name!r}.",
                hint="Serve it under that name.",
            )
        if statement.files == digests:
            return
        if {*statement.files.values()}.isdisjoint(digests.values()):
            raise SignatureInvalid(
                f"The signature of {where} is that of another model, {statement.name!r:.80}.",
                hint=_advise(where),
            )
        paths = sorted({*statement.files, *digests})
        changed = next(p for p in paths if statement.files.get(p) != digests.get(p))
        shown = changed if changed in digests else f"{changed!r:.80}"
        raise SignatureInvalid(
            f"{shown} of {where} is not the file that was signed.",
            hint=f"Find out who changed it, then: {_command(where)}",
            file=shown,
        )


def list_digests(bundle: Bundle) -> dict[str, str]:
    """The SHA-256 of every file of a bundle, as its manifest has them.

    Raises `BundleInvalid` if the manifest on disk is not the one that was opened.
    """
    body = read_manifest(bundle.folder)
    if Manifest.from_json(body) != bundle.manifest:
        raise BundleInvalid(
            f"{MANIFEST} in {bundle.folder} has just been changed.", hint="Try again."
        )
    files = {path: record.sha256 for path, record in bundle.manifest.files.items()}
    return files | {MANIFEST: hashlib.sha256(body).hexdigest()}


def _command(where: str) -> str:
    return f"modelpad models sign {where} --key KEY.pem"


def _advise(where: str) -> str:
    return f"If you trust it, sign it: {_command(where)}"
