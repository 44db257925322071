"""`modelpad models sign` and `modelpad models verify`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from modelpad.bundle.reader import MANIFEST, SIGNATURE_FILE
from modelpad.cli.main import DONE, FAILED
from modelpad.errors import UsageError

if TYPE_CHECKING:
    from modelpad.bundle import Bundle
    from modelpad.signing import SigningKey
    from modelpad.store import Entry, Store

PASSWORD = "MODELPAD_KEY_PASSWORD"
SIGN_EXAMPLE = """ --key key.pem

  Make a key, and write its public part for those who verify:
    openssl ecparam -name prime256v1 -genkey -noout -out key.pem
    openssl ec -in key.pem -pubout -out key.pub
  Then: modelpad serve digits --require-signature key.pub
"""
VERIFY_EXAMPLE = """
  modelpad models verify digits@2 --key key.pub
"""


def add_sign_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `models sign`."""
    parser.epilog = f"{parser.epilog}{SIGN_EXAMPLE}"
    parser.add_argument(
        "--key",
        required=True,
        metavar="FILE",
        help="private key (PEM): P-256, P-384 or P-521; the password of an encrypted one is asked"
        f" for (also: the variable {PASSWORD})",
    )
    parser.add_argument(
        "--certificate-chain",
        metavar="FILE",
        help="certificate of the key, followed by its issuers (PEM), so that verifying takes only"
        " the authority's certificate (default: none, verify with the public key)",
    )


def add_verify_options(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `models verify`."""
    parser.epilog = f"{parser.epilog}{VERIFY_EXAMPLE}"
    parser.add_argument(
        "model",
        metavar="MODEL",
        nargs="?",
        help="NAME, NAME@VERSION or NAME@ALIAS (default: all versions)",
    )
    parser.add_argument(
        "--key",
        metavar="FILE",
        help="also verify that each version is signed by a public key in this file, or by a"
        " certificate of an authority in it (PEM) (default: checksums only)",
    )


def sign(store: Store, args: argparse.Namespace) -> int:
    """Signs one version, or a bundle's folder; a signature that it has is replaced."""
    from modelpad.signing import SigningKey

    chain = Path(args.certificate_chain) if args.certificate_chain else None
    key = SigningKey.read(Path(args.key), chain, ask_password)
    if (Path(args.model) / MANIFEST).is_file():
        bundle = sign_folder(Path(args.model), key)
        signed, name, version = args.model, bundle.manifest.name, None
        following = f"modelpad models push {args.model}"
    else:
        entry = sign_version(store, args.model, key)
        signed, name, version = f"{entry.name}@{entry.version}", entry.name, entry.version
        with_what = "the authority's certificate" if chain else "the public key"
        following = f"modelpad models verify {signed} --key FILE, with {with_what}"
    if args.json:
        print(json.dumps({"name": name, "version": version}))
    else:
        print(f"Signed {signed}.\nNext: {following}")
    return DONE


def sign_version(store: Store, reference: str, key: SigningKey) -> Entry:
    """Signs a version of a store."""
    from modelpad.signing import sign_bundle

    entry = store.resolve(reference)
    body = sign_bundle(store.open(f"{entry.name}@{entry.version}"), key)
    store.write_signature_file(entry.name, entry.version, body)
    return entry


def sign_folder(folder: Path, key: SigningKey) -> Bundle:
    """Signs a bundle that is in no store yet. Raises `StoreError`."""
    from modelpad.bundle import open_bundle
    from modelpad.signing import sign_bundle
    from modelpad.store.staging import replace_file, writing

    bundle = open_bundle(folder)
    with writing(str(folder), hint="Check its permissions."):
        replace_file(folder, SIGNATURE_FILE, sign_bundle(bundle, key))
    return bundle


def verify(store: Store, args: argparse.Namespace) -> int:
    """Verifies checksums and, with a key, signatures; returns 1 if a version fails."""
    check = None
    if args.key:
        from modelpad.signing import Verifier
        from modelpad.signing.keys import read_pem

        check = Verifier.parse(read_pem(Path(args.key)), args.key).check
    findings = store.verify(args.model, check)
    if args.json:
        print(json.dumps({"findings": findings}))
        return FAILED if findings else DONE
    for finding in findings:
        print(finding)
    if not findings:
        print(f"All files are intact{' and signed' if check else ''}.")
    elif check is None:
        print("Remove damaged versions, then train or push them again.")
    else:
        print("Remove damaged versions. Sign others, if you trust them: modelpad models sign")
    return FAILED if findings else DONE


def ask_password() -> str:
    """The password of a private key: the variable's, else asked for in a terminal.

    Raises `UsageError` if there is neither.
    """
    password = os.environ.get(PASSWORD)
    if password is not None:
        return password
    if not sys.stdin.isatty():
        raise UsageError("The key is encrypted.", hint=f"Set its password in {PASSWORD}.")
    from getpass import getpass

    return getpass("Password of the key: ")
