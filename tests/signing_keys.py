"""Keys and certificates for tests, made with OpenSSL as the documentation says."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def run_openssl(folder: Path, *arguments: str) -> None:
    """Runs it, or skips the test that needs it."""
    if shutil.which("openssl") is None:
        pytest.skip("OpenSSL is not installed")
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def make_key(folder: Path, name: str, curve: str = "prime256v1") -> Path:
    """`NAME.pem`, and its public part `NAME.pub`."""
    key = f"{name}.pem"
    run_openssl(folder, "ecparam", "-name", curve, "-genkey", "-noout", "-out", key)
    run_openssl(folder, "ec", "-in", key, "-pubout", "-out", f"{name}.pub")
    return folder / key


def make_keys(folder: Path) -> Path:
    """A folder with the keys `key` (P-256) and `other` (P-384), each `.pem` and `.pub`."""
    make_key(folder, "key")
    make_key(folder, "other", "secp384r1")
    return folder
