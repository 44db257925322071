"""Elliptic-curve keys and certificates in PEM files; the private key that signs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelpad.errors import MissingExtra, UsageError
from modelpad.signing.envelope import Envelope, encode_payload

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import (
        ECDSA,
        EllipticCurvePrivateKey,
        EllipticCurvePublicKey,
    )
    from cryptography.x509 import Certificate

EXTRA = "sign"
BLOCK = re.compile(rb"-----BEGIN (?P<kind>[A-Z0-9 ]+)-----.+?-----END (?P=kind)-----", re.DOTALL)
PUBLIC, CERTIFICATE, PARAMETERS = b"PUBLIC KEY", b"CERTIFICATE", b"EC PARAMETERS"
HASHES = {"secp256r1": "SHA256", "secp384r1": "SHA384", "secp521r1": "SHA512"}
MAKE_KEY = "Make one: openssl ecparam -name prime256v1 -genkey -noout -out key.pem"
MAKE_PUBLIC = "Write the public key: openssl ec -in key.pem -pubout -out key.pub"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key, with the certificates (signer's first) that others verify it by, if any."""

    key: EllipticCurvePrivateKey
    certificates: tuple[Certificate, ...] = ()

    @classmethod
    def read(
        cls,
        path: Path,
        certificates: Path | None = None,
        ask_password: Callable[[], str] | None = None,
    ) -> SigningKey:
        """Reads a private key, and a PEM file of certificates.

        `ask_password` is called for a key that is encrypted.

        Raises:
            UsageError: a file cannot be read, is of another kind, or does not fit the other.
            MissingExtra: `cryptography` is not installed.
        """
        require_cryptography()
        key = _parse_private(path, ask_password)
        if certificates is None:
            return cls(key)
        chain = parse_certificates(read_pem(certificates), str(certificates))
        if not chain or chain[0].public_key() != key.public_key():
            raise UsageError(
                f"The first certificate in {certificates} is not that of {path}.",
                hint="Give a PEM file with the certificate of the key first, then its issuers.",
            )
        return cls(key, chain)

    def sign(self, payload: bytes) -> Envelope:
        """Signs an in-toto payload."""
        from cryptography.hazmat.primitives.serialization import Encoding

        signature = self.key.sign(encode_payload(payload), choose_hash(self.key.public_key()))
        chain = tuple(each.public_bytes(Encoding.DER) for each in self.certificates)
        hint = "" if chain else hash_key(self.key.public_key())
        return Envelope(payload, signature, hint, chain)


def is_signed_by(envelope: Envelope, key: EllipticCurvePublicKey) -> bool:
    """Whether a signature was made with the private part of a key."""
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(envelope.signature, encode_payload(envelope.payload), choose_hash(key))
    except InvalidSignature:
        return False
    return True


def read_pem(path: Path) -> bytes:
    """The content of a file of keys or certificates. Raises `UsageError`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", hint=MAKE_KEY) from error


def parse_certificates(pem: bytes, where: str) -> tuple[Certificate, ...]:
    """The certificates in a PEM file, in their order. Raises `UsageError`."""
    from cryptography.x509 import load_pem_x509_certificate

    blocks = [found[0] for found in BLOCK.finditer(pem) if found["kind"] == CERTIFICATE]
    try:
        return tuple(load_pem_x509_certificate(block) for block in blocks)
    except ValueError as error:
        raise explain_unreadable(where, "certificate", "Give certificates in PEM.") from error


def check_curve(key: object, where: str) -> EllipticCurvePublicKey:
    """The public key, if the format has its kind. Raises `UsageError`."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

    if isinstance(key, EllipticCurvePublicKey) and key.curve.name in HASHES:
        return key
    raise UsageError(f"{where} is not a key of P-256, P-384 or P-521.", hint=MAKE_KEY)


def choose_hash(key: EllipticCurvePublicKey) -> ECDSA:
    """The algorithm that belongs to a key's curve."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

    return ECDSA(getattr(hashes, HASHES[key.curve.name])())


def hash_key(key: EllipticCurvePublicKey) -> str:
    """The SHA-256 of a key as PEM, which names it in a signature."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(pem).hexdigest()


def require_cryptography() -> None:
    """Raises `MissingExtra` if `cryptography` is not installed."""
    try:
        import cryptography.hazmat.primitives  # noqa: F401
    except ImportError as error:
        raise MissingExtra("cryptography", extra=EXTRA) from error


def explain_unreadable(where: str, kind: str, hint: str) -> UsageError:
    """The error of a file that is not what it should be."""
    return UsageError(f"{where} has no {kind} in PEM that can be read.", hint=hint)


def _parse_private(path: Path, ask_password: Callable[[], str] | None) -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    pem = read_pem(path)
    blocks = [found for found in BLOCK.finditer(pem) if found["kind"] != PARAMETERS]
    if blocks and not blocks[0]["kind"].endswith(b"PRIVATE KEY"):
        raise UsageError(
            f"{path} has no private key but a {blocks[0]['kind'].decode().lower()}.",
            hint="Sign with the private key.",
        )
    encrypted = bool(blocks) and b"ENCRYPTED" in blocks[0][0]
    password = ask_password().encode() if encrypted and ask_password is not None else None
    try:
        key = load_pem_private_key(blocks[0][0] if blocks else pem, password)
    except (ValueError, TypeError) as error:
        if encrypted:
            raise UsageError(f"The password of {path} is wrong or missing.") from error
        raise explain_unreadable(str(path), "private key", MAKE_KEY) from error
    check_curve(key.public_key(), str(path))
    if not isinstance(key, EllipticCurvePrivateKey):
        raise explain_unreadable(str(path), "private key", MAKE_KEY)
    return key
