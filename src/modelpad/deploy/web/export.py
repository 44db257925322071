"""Writes the page of a model, once its predictions agree with modelpad's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modelpad.deploy.folder import write_files
from modelpad.deploy.web.check import Agreement, Device, check_page, find_browser
from modelpad.deploy.web.one_file import write_page
from modelpad.deploy.web.runtime import Runtime
from modelpad.deploy.web.site import write_site
from modelpad.errors import UsageError
from modelpad.store import ResolvedBundle

Files = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class PageExport:
    """The files of a page by their path in it, where to write them, and if they offer WebGPU."""

    files: Files
    folder: Path
    webgpu: bool = False

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(len(body) for body in self.files.values())

    def write(self) -> list[Path]:
        """Writes the files and returns their paths. Raises `StoreError`."""
        return write_files(self.files, self.folder)


def check_target(target: Path, *, one_file: bool) -> None:
    """Raises `UsageError` unless a page may be written to `target`: a folder, or an HTML file."""
    if one_file:
        if target.suffix.lower() not in (".html", ".htm"):
            raise UsageError(
                f"{target} is not the name of an HTML file.",
                hint="With --one-file, give the file to write, such as digits.html.",
            )
        if target.exists():
            raise UsageError(f"{target} exists.", hint="Choose another name, or remove it.")
    elif target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target} is not empty.", hint="Choose a folder that does not exist yet.")


def plan_page(
    found: ResolvedBundle, target: Path, runtime: Runtime, *, one_file: bool
) -> PageExport:
    """The page as a folder `target`, or with `one_file` as that file.

    Raises `BundleInvalid` if a file of the bundle cannot be read.
    """
    if one_file:
        files = {target.name: write_page(found, runtime)}
        return PageExport(files, target.parent, runtime.webgpu)
    return PageExport(write_site(found, runtime), target, runtime.webgpu)


def check_export(found: ResolvedBundle, export: PageExport) -> list[Agreement]:
    """How well the page agrees with modelpad, on each device; empty where it cannot be checked.

    Raises `ParityFailed` if it does not.
    """
    browser = find_browser()
    if browser is None:
        return []
    devices: list[Device] = ["wasm", "webgpu"] if export.webgpu else ["wasm"]
    return [check_page(found, export.files, browser, device) for device in devices]
