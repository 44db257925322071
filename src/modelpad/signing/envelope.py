"""How a signed statement is written: a DSSE envelope in a Sigstore bundle, version 0.3.

This module parses and writes; it verifies nothing.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass

from modelpad.foreign_json import Json, as_object, list_at, load_json, object_at, text_at

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload and its signature.

    It was made with the key whose SHA-256, as PEM, is `key_hint`, or by the first of the
    `certificates` (DER), each of which is issued by the next one.
    """

    payload: bytes
    signature: bytes
    key_hint: str = ""
    certificates: tuple[bytes, ...] = ()

    def to_json(self) -> bytes:
        """The content of `model.sig`."""
        material: dict[str, Json] = {"tlogEntries": []}
        if self.certificates:
            chain: list[Json] = [{"rawBytes": _encode(each)} for each in self.certificates]
            material["x509CertificateChain"] = {"certificates": chain}
        else:
            material["publicKey"] = {"hint": self.key_hint}
        bundle = {
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": material,
            "dsseEnvelope": {
                "payload": _encode(self.payload),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"sig": _encode(self.signature), "keyid": ""}],
            },
        }
        return json.dumps(bundle).encode("ascii")

    @classmethod
    def from_json(cls, body: bytes) -> Envelope:
        """Parses `model.sig`. Raises `ValueError`."""
        try:
            return cls._from_record(as_object(load_json(body), "the signature"))
        except (LookupError, TypeError) as error:
            raise ValueError(f"{type(error).__name__} {error}") from error

    @classmethod
    def _from_record(cls, record: dict[str, Json]) -> Envelope:
        envelope = object_at(record, "dsseEnvelope")
        types = text_at(record, "mediaType"), text_at(envelope, "payloadType")
        if types != (MEDIA_TYPE, PAYLOAD_TYPE):
            raise ValueError(f"it is {types!r:.80}, not {MEDIA_TYPE}")
        (signature,) = list_at(envelope, "signatures")
        material = object_at(record, "verificationMaterial")
        hint, certificates = "", []
        if "x509CertificateChain" in material:
            chain = list_at(object_at(material, "x509CertificateChain"), "certificates")
            certificates = [_decode(as_object(each, "a certificate"), "rawBytes") for each in chain]
        else:
            hint = text_at(object_at(material, "publicKey"), "hint")
        return cls(
            _decode(envelope, "payload"),
            _decode(as_object(signature, "a signature"), "sig"),
            hint,
            tuple(certificates),
        )


def encode_payload(payload: bytes) -> bytes:
    """What is signed: DSSE's pre-authentication encoding of an in-toto payload."""
    return b"DSSEv1 %d %s %d %s" % (
        len(PAYLOAD_TYPE),
        PAYLOAD_TYPE.encode("ascii"),
        len(payload),
        payload,
    )


def _encode(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _decode(record: dict[str, Json], key: str) -> bytes:
    return base64.b64decode(text_at(record, key), validate=True)
