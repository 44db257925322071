"""The local store: checksums, and recovery from killed processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpad.bundle import Bundle
from modelpad.bundle.locks import claim_folder
from modelpad.errors import ModelNotFound, StoreError
from modelpad.store import LocalStore
from modelpad.store.aliases import AliasState

PUSH = """
import sys
from pathlib import Path
from modelpad.bundle import open_bundle
from modelpad.store import LocalStore
store, bundle = LocalStore(Path(sys.argv[1])), open_bundle(Path(sys.argv[2]))
print("ready", flush=True)
for _ in range(int(sys.argv[3])):
    print(store.push(bundle).version, flush=True)
"""


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def push_in_process(store: LocalStore, bundle: Bundle, times: int) -> subprocess.Popen[str]:
    arguments = [str(store.root), str(bundle.folder), str(times)]
    return subprocess.Popen(
        [sys.executable, "-c", PUSH, *arguments], stdout=subprocess.PIPE, text=True
    )


@given(st.text(max_size=40))
def test_any_reference_is_resolved_or_not_found(reference: str) -> None:
    with pytest.raises(ModelNotFound):
        LocalStore(Path("/nonexistent")).resolve(reference)


def test_verify_names_the_damaged_file(store: LocalStore, digits: Bundle) -> None:
    entry = store.push(digits)
    assert store.verify() == []
    path = entry.folder / "model.onnx"
    body = bytearray(path.read_bytes())
    body[100] ^= 1
    path.write_bytes(body)
    assert "digits@1" in store.verify()[0]
    assert "model.onnx" in store.verify("digits@1")[0]


def test_an_unwritable_store_says_so(tmp_path: Path, digits: Bundle) -> None:
    (tmp_path / "file").write_text("")
    store = LocalStore(tmp_path / "file" / "store")
    with pytest.raises(StoreError, match="cannot be written"):
        store.check_writable()
    for use in (store.names, lambda: store.push(digits)):
        with pytest.raises(StoreError, match="is not a folder"):
            use()


def test_processes_pushing_at_once_take_different_versions(
    store: LocalStore, digits: Bundle
) -> None:
    processes = [push_in_process(store, digits, 8) for _ in range(4)]
    taken = []
    for process in processes:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        taken += [int(line) for line in output.split()[1:]]
    assert sorted(taken) == list(range(1, 33))
    assert store.versions("digits") == list(range(1, 33))
    assert store.verify() == []


def count_staged(store: LocalStore) -> int:
    """The files and folders that pushes have staged so far."""
    folder = store.root / "digits"
    staged = [path for path in folder.iterdir() if path.name.startswith(".staging-")]
    return sum(len(files) + 1 for path in staged for _, _, files in os.walk(path))


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_the_store_valid(store: LocalStore, digits: Bundle) -> None:
    store.push(digits)
    for number in range(30):
        process = push_in_process(store, digits, 1000)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        end = time.monotonic() + 15
        while count_staged(store) < number % 15:
            assert time.monotonic() < end, "nothing is staged"
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert store.verify() == []
    versions = store.versions("digits")
    assert versions == list(range(1, len(versions) + 1))
    assert store.push(digits).version == len(versions) + 1


def test_leftovers_of_dead_processes_are_cleaned_by_a_push_and_only_then(
    store: LocalStore, digits: Bundle
) -> None:
    store.push(digits)
    dead = store.root / "digits" / ".staging-1-0123456789ab"
    foreign = store.root / "digits" / ".staging-by-hand"
    for folder in (dead, foreign):
        folder.mkdir()
    with claim_folder(store.root / "digits", ".staging-") as alive:
        os.utime(alive, (0, 0))
        assert store.versions("digits") == [1]
        assert dead.exists()
        store.push(digits)
        assert not dead.exists()
        assert foreign.exists()
        assert alive.exists()
    assert not alive.exists()


class Racing(LocalStore):
    """Another process releases a version whenever a state is read."""

    def _read_state(self, name: str) -> AliasState:
        other = LocalStore(self.root)
        other.promote(name, other.push(other.open(f"{name}@1")).version)
        return super()._read_state(name)


def test_a_version_that_is_promoted_during_a_read_is_found(
    store: LocalStore, digits: Bundle
) -> None:
    for _ in range(2):
        store.push(digits)
    store.promote("digits", 1)
    assert Racing(store.root).read("digits").resolve() == 3
