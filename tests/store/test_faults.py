"""A disk that is full while a version is pushed leaves the store as it was."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from modelpad.bundle import Bundle
from modelpad.store import LocalStore

PROGRAM = """
import resource, sys
from pathlib import Path
from modelpad.bundle import open_bundle
from modelpad.errors import StoreError
from modelpad.store import LocalStore

resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # as a full disk: writes fail
try:
    LocalStore(Path(sys.argv[1])).push(open_bundle(Path(sys.argv[2])))
except StoreError as error:
    print(error.message)
    sys.exit(3)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_a_full_disk_while_pushing(tmp_path: Path, digits: Bundle) -> None:
    store = LocalStore(tmp_path / "store")
    store.push(digits)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(store.root), str(digits.folder)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3, done.stderr
    assert "cannot be written" in done.stdout
    assert store.versions("digits") == [1]
    assert store.verify() == []
    left = [path.name for path in (store.root / "digits").iterdir()]
    assert not [name for name in left if name.startswith(".staging")]
    assert store.push(digits).version == 2
