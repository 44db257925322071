"""One checksum for a data set of many files."""

from __future__ import annotations

import hashlib
from pathlib import Path

from modelpad.datasets.checksum import checksum_files


def test_it_is_that_of_the_list_that_sha256sum_prints(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    bodies = {"a/2.txt": b"two", "1.txt": b"one"}
    for name, body in bodies.items():
        (tmp_path / name).write_bytes(body)
    lines = [f"{hashlib.sha256(bodies[name]).hexdigest()}  {name}\n" for name in sorted(bodies)]
    expected = hashlib.sha256("".join(lines).encode()).hexdigest()
    files = [tmp_path / name for name in bodies]
    assert checksum_files(files, tmp_path) == expected
    assert checksum_files(files[::-1], tmp_path) == expected
    (tmp_path / "1.txt").write_bytes(b"changed")
    assert checksum_files(files, tmp_path) != expected
