"""A version's `model.sig`, and the statement in it: the file, a zero byte, a statement."""

from __future__ import annotations

import contextlib

from fuzz.files import make_folder
from fuzz.models import allow_errors
from modelpad.bundle import Bundle, Manifest
from modelpad.fields import Signature, Tensor
from modelpad.signing import Verifier
from modelpad.signing.statement import Statement

DECODERS = (
    "modelpad.signing.signatures",
    "modelpad.signing.envelope",
    "modelpad.signing.statement",
    "modelpad.signing.trust",
)
# A public key and an authority's certificate, whose private keys are gone.
TRUSTED = b"""\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEByV+eaf2Bqe6GnHc+7O2COc9dr+z
GAxqsj246rWqCzNjNQzJ+VnvS5KICpjMnAH5e3D/P6kWRGuogGp/BtkRWg==
-----END PUBLIC KEY-----
-----BEGIN CERTIFICATE-----
MIIByjCCAVCgAwIBAgIUDnjQMowV0D9em6Cv0tb8P6DYkywwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJYXV0aG9yaXR5MB4XDTI2MTEyNjE4NDkyMVoXDTM2MTEyMzE4
NDkyMVowFDESMBAGA1UEAwwJYXV0aG9yaXR5MHYwEAYHKoZIzj0CAQYFK4EEACID
YgAEUFl48CUpdrNe45wbLZFwregSS1X2g8lHjUw5ShCVYbsZm7YH/ysHo/jJ6HKM
qQ6ixwdV3VQKmkW4H1gfIRXjppQFsDSwff0JZXFr6pncsKa/HQtasDHpYpGBt4Pv
h37Yo2MwYTAdBgNVHQ4EFgQUqS30wAG02DKa3ogbCnNTHhANjo0wHwYDVR0jBBgw
FoAUqS30wAG02DKa3ogbCnNTHhANjo0wDwYDVR0TAQH/BAUwAwEB/zAOBgNVHQ8B
Af8EBAMCAgQwCgYIKoZIzj0EAwIDaAAwZQIwUqtGU/ycSRed5jVXMjbKWa0Llvno
ZW7CIvhmTF+63tD1kaGBB7/geNXkR2CZffq5AjEArCAsrGSn5QHtZ73SEy1cWCJN
7tmh9MCSgAoKNOIk2ewEBEM6fLcW8GDUaKXg/c5R
-----END CERTIFICATE-----
"""
NUMBERS = Tensor("x", "float32", (1,))
VERIFIER = Verifier.parse(TRUSTED, "TRUSTED")
MANIFEST = Manifest("model", "tensor", Signature((NUMBERS,), (NUMBERS,)))
FOLDER = make_folder()
(FOLDER / "manifest.json").write_bytes(MANIFEST.to_json())


def fuzz(data: bytes) -> None:
    """Verifies a bundle that has this file; none of them is signed."""
    body, _, statement = data.partition(b"\0")
    (FOLDER / "model.sig").write_bytes(body)
    with allow_errors():
        VERIFIER.check(Bundle(FOLDER, MANIFEST), "model", 1)
        raise AssertionError("accepted")
    with contextlib.suppress(ValueError):
        Statement.from_json(statement).to_json()
