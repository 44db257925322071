"""Certificates that vouch for a signer's key.

As nothing proves when a signature was made, a certificate is judged as of the day on which it
became valid, as OpenSSF's tool does: one that has expired since is accepted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelpad.errors import UsageError
from modelpad.signing.keys import check_curve

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.x509 import Certificate


def find_signer(
    chain: Sequence[bytes], authorities: Sequence[Certificate]
) -> EllipticCurvePublicKey:
    """The key of the first certificate of a chain (DER), if an authority has issued it.

    Raises `ValueError`, which says why the certificate cannot be trusted.
    """
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    if not authorities:
        raise ValueError("it was made with a certificate, and only public keys are trusted")
    try:
        signer, *others = map(x509.load_der_x509_certificate, chain)
        check_chain(signer, others, authorities)
        if not may_sign(signer):
            raise ValueError("its certificate is not for digital signatures")
        return check_curve(signer.public_key(), "Its certificate")
    except UsageError as error:
        raise ValueError(error.message) from error
    except (UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion) as error:
        raise ValueError(f"its certificate cannot be read ({error})") from error


def check_chain(
    signer: Certificate, others: Sequence[Certificate], authorities: Sequence[Certificate]
) -> None:
    """Raises `ValueError` unless the certificate leads to one of the authorities."""
    from cryptography.x509.verification import (
        ExtensionPolicy,
        PolicyBuilder,
        Store,
        VerificationError,
    )

    policy = (
        PolicyBuilder()
        .store(Store([*authorities]))
        .time(signer.not_valid_before_utc)
        .extension_policies(
            ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=ExtensionPolicy.permit_all()
        )
        .build_client_verifier()
    )
    try:
        policy.verify(signer, [*others])
    except VerificationError as error:
        raise ValueError(f"its certificate is not by a trusted authority ({error})") from error


def may_sign(certificate: Certificate) -> bool:
    """Whether a certificate is for digital signatures or for signing code."""
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        if usage.digital_signature:
            return True
    except x509.ExtensionNotFound:
        pass
    try:
        extended = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return ExtendedKeyUsageOID.CODE_SIGNING in extended
