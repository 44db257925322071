"""Keys and certificates, made as the documentation says."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytest.importorskip("cryptography")


def run_openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def make_key(folder: Path, name: str, curve: str = "prime256v1") -> Path:
    """`NAME.pem`, and its public part `NAME.pub`."""
    key = f"{name}.pem"
    run_openssl(folder, "ecparam", "-name", curve, "-genkey", "-noout", "-out", key)
    run_openssl(folder, "ec", "-in", key, "-pubout", "-out", f"{name}.pub")
    return folder / key


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the keys `key` and `other`, each `.pem` and `.pub`."""
    folder = tmp_path_factory.mktemp("keys")
    make_key(folder, "key")
    make_key(folder, "other", "secp384r1")
    return folder


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
