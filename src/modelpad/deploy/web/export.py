"""Writes the page of a model, once its predictions agree with modelpad's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modelpad.deploy.folder import write_files
from modelpad.deploy.web.check import Agreement, check_page
from modelpad.deploy.web.one_file import write_page
from modelpad.deploy.web.site import write_site
from modelpad.errors import UsageError
from modelpad.store import ResolvedBundle

Files = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class PageExport:
    """The files of a page by their path in it, and where to write them."""

    files: Files
    folder: Path

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


def plan_page(found: ResolvedBundle, target: Path, runtime: Files, *, one_file: bool) -> PageExport:
    """The page as a folder `target`, or with `one_file` as that file; `runtime` as `load_runtime`.

    Raises `BundleInvalid` if a file of the bundle cannot be read.
    """
    if one_file:
        return PageExport({target.name: write_page(found, runtime)}, target.parent)
    return PageExport(write_site(found, runtime), target)


def check_export(found: ResolvedBundle, export: PageExport) -> Agreement | None:
    """How well the page agrees with modelpad; None where it cannot be checked.

    Raises `ParityFailed` if it does not.
    """
    return check_page(found, export.files)
