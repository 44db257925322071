"""Whose signatures are accepted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelpad.errors import UsageError
from modelpad.signing.certificates import find_signer
from modelpad.signing.envelope import Envelope
from modelpad.signing.keys import (
    BLOCK,
    MAKE_PUBLIC,
    PUBLIC,
    check_curve,
    explain_unreadable,
    is_signed_by,
    parse_certificates,
    require_cryptography,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.x509 import Certificate


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """Public keys, and certificates of authorities, any of which may have made a signature."""

    keys: tuple[EllipticCurvePublicKey, ...]
    authorities: tuple[Certificate, ...] = ()

    @classmethod
    def parse(cls, pem: bytes, where: str) -> TrustedKeys:
        """The keys and certificates in a PEM file; `where` is its path.

        Raises `UsageError` if it has none, or a private one, and `MissingExtra`.
        """
        require_cryptography()
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        keys = []
        for found in BLOCK.finditer(pem):
            if found["kind"].endswith(b"PRIVATE KEY"):
                raise UsageError(
                    f"{where} has a private key: keep it where you sign.", hint=MAKE_PUBLIC
                )
            if found["kind"] == PUBLIC:
                try:
                    keys.append(check_curve(load_pem_public_key(found[0]), where))
                except ValueError as error:
                    raise explain_unreadable(where, "public key", MAKE_PUBLIC) from error
        authorities = parse_certificates(pem, where)
        if not keys and not authorities:
            raise explain_unreadable(where, "public key or certificate", MAKE_PUBLIC)
        return cls(tuple(keys), authorities)

    def accept(self, envelope: Envelope) -> bool:
        """Whether one of the keys, or a certificate by one of the authorities, has signed it.

        Raises `ValueError`, which says why, for a certificate that may not be trusted.
        """
        if not envelope.certificates:
            return any(is_signed_by(envelope, key) for key in self.keys)
        return is_signed_by(envelope, find_signer(envelope.certificates, self.authorities))
