"""How this modelpad was installed, and the command that adds an extra to it.

An editable or local install, and one from a repository, are installed again from where they came
from: a package index may not have them.
"""

from __future__ import annotations

import json
import shlex
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from shutil import which
from urllib.parse import unquote, urlparse

PACKAGE = "modelpad"
UVX = "uvx --from"  # its environments are not for installing into: it makes one for each command
SOURCES = Path(__file__).parents[2]


def install_command(extra: str | None = None) -> str:
    """For example `pip install -e '/home/ann/modelpad[train]'`.

    It is for the environment of the running Python, and for its installer.
    """
    try:
        found = distribution(PACKAGE)
    except PackageNotFoundError:
        editable = (SOURCES / "pyproject.toml").is_file()
        source = f"{name_folder(SOURCES)}{{extra}}" if editable else f"{PACKAGE}{{extra}}"
        return join_command(choose_installer(None), source, extra, editable=editable)
    source, editable = find_source(found.read_text("direct_url.json"))
    return join_command(choose_installer(found), source, extra, editable=editable)


def join_command(installer: str, source: str, extra: str | None, *, editable: bool = False) -> str:
    """The installer's command for a source in which `{extra}` stands for the extra."""
    requirement = source.replace("{extra}", f"[{extra}]" if extra else "")
    if installer == UVX:
        return f"{UVX} {shlex.quote(requirement)} {PACKAGE}"
    return f"{installer} {'-e ' if editable else ''}{shlex.quote(requirement)}"


def find_source(direct_url: str | None) -> tuple[str, bool]:
    """The requirement of an install, and whether it is editable; see PEP 610.

    `direct_url` is the text of `direct_url.json`; it is missing for an install from an index.
    """
    try:
        record = json.loads(direct_url or "null")
        url = str(record["url"])
        if "vcs_info" in record:
            vcs = record["vcs_info"]
            revision = vcs.get("requested_revision") or vcs["commit_id"]
            folder = f"#subdirectory={record['subdirectory']}" if "subdirectory" in record else ""
            return f"{PACKAGE}{{extra}} @ {vcs['vcs']}+{url}@{revision}{folder}", False
        if "dir_info" in record:
            path = Path(unquote(urlparse(url).path))
            return f"{name_folder(path)}{{extra}}", bool(record["dir_info"].get("editable"))
        return f"{PACKAGE}{{extra}} @ {url}", False
    except (AttributeError, KeyError, TypeError, ValueError):
        return f"{PACKAGE}{{extra}}", False


def name_folder(path: Path) -> str:
    """The folder as pip takes it: `.` if it is the working folder."""
    return "." if path.resolve() == Path.cwd().resolve() else str(path)


def choose_installer(found: Distribution | None) -> str:
    """`pip install` of the running Python, or what uv, uvx and pipx need."""
    prefix = Path(sys.prefix)
    if prefix.parent.name.startswith("archive-v"):  # in the cache of uv
        return UVX
    if (prefix / "uv-receipt.toml").is_file():
        return "uv tool install"
    if (prefix / "pipx_metadata.json").is_file():
        return "pipx install --force"
    if found is not None and (found.read_text("INSTALLER") or "").strip() == "uv":
        return "uv pip install"
    bin_folder = Path(sys.executable).parent
    pip = which("pip")
    if pip is not None and Path(pip).parent == bin_folder:
        return "pip install"
    return f"{shlex.quote(sys.executable)} -m pip install"
