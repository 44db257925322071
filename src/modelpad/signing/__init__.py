"""Digital signatures of bundles, in the format of OpenSSF model signing.

A signature is the file `model.sig` beside a bundle's files: a Sigstore bundle with an in-toto
statement, which names every file with its SHA-256. Keys and certificates are files: nothing is
looked up on the network.
"""

from modelpad.signing.keys import SigningKey
from modelpad.signing.signatures import Verifier, sign_bundle

__all__ = ["SigningKey", "Verifier", "sign_bundle"]
