"""An authority that has certified a key."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.signing_keys import run_openssl


@pytest.fixture(scope="session")
def authority(keys: Path) -> Path:
    """A folder with `chain.pem`, the certificate of `key` by the authority `ca.crt`."""
    run_openssl(
        keys,
        *("req", "-x509", "-key", "other.pem", "-out", "ca.crt", "-subj", "/CN=authority"),
        *("-days", "30", "-addext", "keyUsage=critical,keyCertSign"),
    )
    run_openssl(keys, "req", "-new", "-key", "key.pem", "-out", "key.csr", "-subj", "/CN=signer")
    (keys / "signer.cnf").write_text("keyUsage=critical,digitalSignature\n")
    run_openssl(
        keys,
        *("x509", "-req", "-in", "key.csr", "-CA", "ca.crt", "-CAkey", "other.pem", "-days", "30"),
        *("-extfile", "signer.cnf", "-out", "chain.pem"),
    )
    return keys
