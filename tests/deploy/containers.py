"""Builds and runs images with Podman, as root and without a registry.

No image can be pulled where only package registries are reached, so the base image is made from
Debian's packages and has what `python:3.13-slim` has. It is kept from run to run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from modelpad.deploy.image import PYTHON

TOOLS = ("podman", "buildah", "runc", "mmdebstrap")
ROOT = Path(
    os.environ.get("MODELPAD_CONTAINERS") or Path(tempfile.gettempdir()) / "modelpad-containers"
)
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
PACKAGES = "python3,python3-venv,python3-pip,ca-certificates"
SETTINGS = """\
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
BASE = """\
FROM localhost/debian-python
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
RUN rm -f /usr/lib/python3*/EXTERNALLY-MANAGED \\
 && ln -s /usr/bin/python3 /usr/local/bin/python && ln -s python /usr/local/bin/python3 \\
 && printf '[global]\\ncert = /etc/ssl/certs/ca-certificates.crt\\n' > /etc/pip.conf
"""


class Engine:
    """Podman with a storage of its own."""

    def __init__(self) -> None:
        ROOT.mkdir(parents=True, exist_ok=True)
        self.settings = ROOT / "containers.conf"
        self.settings.write_text(SETTINGS, "utf-8")

    def run(self, *arguments: str, timeout_s: float = 1800) -> str:
        """Runs `podman`; returns its output. Fails the test with what it printed."""
        done = self.call(*arguments, timeout_s=timeout_s)
        assert done.returncode == 0, f"podman {' '.join(arguments)}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def call(self, *arguments: str, timeout_s: float = 1800) -> subprocess.CompletedProcess[str]:
        """Runs `podman`."""
        places = ("--root", str(ROOT / "root"), "--runroot", str(ROOT / "runroot"))
        return subprocess.run(
            ["podman", *places, *arguments],
            env=os.environ | {"CONTAINERS_CONF": str(self.settings)},
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    def has(self, image: str) -> bool:
        """Whether the image is in the storage."""
        return self.call("image", "exists", image).returncode == 0

    def make_base(self) -> None:
        """Makes the base image, unless it is there."""
        if self.has(PYTHON):
            return
        context = ROOT / "base"
        context.mkdir(exist_ok=True)
        archive = context / "root.tar"
        if not self.has("localhost/debian-python"):
            debootstrap = ["mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", "--quiet"]
            done = subprocess.run(
                [*debootstrap, "trixie", str(archive)], capture_output=True, text=True
            )
            if done.returncode:
                pytest.skip(f"Debian's packages cannot be reached: {done.stderr[-300:]}")
            self.run("import", str(archive), "localhost/debian-python")
            archive.unlink()
        shutil.copyfile(CERTIFICATES, context / CERTIFICATES.name)
        (context / "Dockerfile").write_text(BASE, "utf-8")
        self.run("build", "--network", "host", "-t", PYTHON, str(context))

    def build(self, folder: Path, image: str, *options: str) -> None:
        """Builds an image as reproducibly as the docs say."""
        settings = ("--network", "host", "--format", "docker", "--timestamp", "0")
        self.run("build", *settings, *options, "-t", image, str(folder))


def open_engine() -> Engine:
    """The engine with its base image; skips the test where there is none."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    if os.geteuid() != 0:
        pytest.skip("images are built as root")
    engine = Engine()
    engine.make_base()
    return engine
