"""Stores of clouds that run on this machine: Azurite, SeaweedFS, and Google's protocol."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from tests.ports import find_port
from tests.store.buckets import run_s3, s3_variables
from tests.store.google import run_google

ACCOUNT = "devstoreaccount1"
# Azurite's own, which everyone knows.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
VERSION = "2023-11-03"


@dataclass(frozen=True, slots=True)
class Service:
    """A service on this machine: its bucket's URL, and the variables of a client at a port."""

    bucket: str
    port: int
    variables: Callable[[int], dict[str, str]]


@contextmanager
def run_service(name: str, folder: Path) -> Iterator[Service]:
    """One of SERVICES, with an empty bucket; files are kept in `folder`."""
    pytest.importorskip("obstore")
    with SERVICES[name](folder) as service:
        yield service


@contextmanager
def run_moto(folder: Path) -> Iterator[Service]:
    """S3's protocol as moto has it, in this process."""
    with run_s3() as (_, port):
        yield Service("s3://bucket", port, s3_variables)


@contextmanager
def run_gs(folder: Path) -> Iterator[Service]:
    """Google Cloud Storage's protocol, in this process."""

    def variables(port: int) -> dict[str, str]:
        account = {"gcs_base_url": f"http://127.0.0.1:{port}", "disable_oauth": True}
        account |= {"client_email": "", "private_key": "", "private_key_id": ""}
        path = folder / "account.json"
        path.write_text(json.dumps(account), "utf-8")
        return {"GOOGLE_SERVICE_ACCOUNT": str(path)}

    with run_google() as (_, port):
        yield Service("gs://bucket", port, variables)


@contextmanager
def run_azurite(folder: Path) -> Iterator[Service]:
    """Azure Blob Storage as Microsoft's emulator has it."""
    port = find_port()
    options = ("--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(folder))
    more = ("--skipApiVersionCheck", "--disableTelemetry", "--silent")
    with run_program("azurite-blob", *options, *more):
        wait_for(lambda: create_container(port) == 201)

        def variables(port: int) -> dict[str, str]:
            endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
            return {"AZURE_STORAGE_ACCOUNT_KEY": KEY, "AZURE_STORAGE_ENDPOINT": endpoint}

        yield Service(f"az://{ACCOUNT}/bucket", port, variables)


def create_container(port: int) -> int:
    """Asks for a container with a shared key, as Microsoft documents it; the status."""
    date = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    headers = {"x-ms-date": date, "x-ms-version": VERSION}
    lines = ["PUT", *[""] * 11, *(f"{name}:{value}" for name, value in headers.items())]
    text = "\n".join([*lines, f"/{ACCOUNT}/{ACCOUNT}/bucket", "restype:container"])
    digest = hmac.digest(base64.b64decode(KEY), text.encode(), hashlib.sha256)
    headers["authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"
    address = f"http://127.0.0.1:{port}/{ACCOUNT}/bucket?restype=container"
    return httpx.put(address, headers=headers, timeout=60).status_code


@contextmanager
def run_seaweed(folder: Path) -> Iterator[Service]:
    """S3's protocol as SeaweedFS has it."""
    port = find_port()
    options = [
        "-ip=127.0.0.1",
        f"-dir={folder}",
        "-s3",
        f"-s3.port={port}",
        "-master.volumeSizeLimitMB=64",
    ]
    for part in ("master", "volume", "filer"):
        options += [f"-{part}.port={find_port()}", f"-{part}.port.grpc={find_port()}"]
    with run_program("weed", "server", *options, f"-s3.port.grpc={find_port()}"):
        wait_for(lambda: httpx.put(f"http://127.0.0.1:{port}/bucket", timeout=60).is_success)
        yield Service("s3://bucket", port, s3_variables)


@contextmanager
def run_program(name: str, *options: str) -> Iterator[None]:
    """Runs a program; skips the test if it is not installed."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed (make test-stores)")
    process = subprocess.Popen(
        [path, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


def wait_for(succeeds: Callable[[], bool]) -> None:
    """Waits at most a minute for a service."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            if succeeds():
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise TimeoutError("The service does not answer.")


SERVICES = {"s3": run_moto, "google": run_gs, "azure": run_azurite, "seaweed": run_seaweed}
