"""The local store: versions, aliases, and recovery from killed processes."""

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
from modelpad.errors import ModelNotFound, StoreError, UsageError, VersionNotFound
from modelpad.store import LocalStore

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


def test_versions_count_up_and_resolve(store: LocalStore, digits: Bundle) -> None:
    assert store.names() == []
    assert [store.push(digits).version for _ in range(3)] == [1, 2, 3]
    assert store.names() == ["digits"]
    assert store.resolve("digits").version == 3
    assert store.resolve("digits@latest").version == 3
    assert store.resolve("digits@2").folder.name == "2"
    assert store.open("digits@1").manifest.files == digits.manifest.files
    assert store.push(digits, "other").name == "other"


def test_names_may_have_capitals_but_not_differ_in_case_alone(
    store: LocalStore, digits: Bundle
) -> None:
    assert store.push(digits, "ResNet50").name == "ResNet50"
    assert store.push(digits, "ResNet50").version == 2
    with pytest.raises(StoreError, match="'ResNet50', whose name differs from 'resnet50' in case"):
        store.push(digits, "resnet50")
    assert store.names() == ["ResNet50"]


def test_a_version_keeps_its_number_if_it_is_new(store: LocalStore, digits: Bundle) -> None:
    assert [store.push(digits, version=number).version for number in (3, 7, 5, 8)] == [3, 7, 8, 9]
    assert store.push(digits).version == 10


def test_aliases_and_rollback(store: LocalStore, digits: Bundle) -> None:
    for _ in range(3):
        store.push(digits)
    store.set_alias("digits", "production", 3)
    store.set_alias("digits", "production", 1)
    assert store.resolve("digits").version == 1
    assert store.resolve("digits@production").version == 1
    assert store.rollback("digits").version == 3
    assert store.rollback("digits").version == 2
    assert store.rollback("digits").version == 1
    with pytest.raises(VersionNotFound):
        store.rollback("digits")
    assert store.aliases("digits") == {"production": 1, "latest": 3}


@pytest.mark.parametrize("alias", ["latest", "7", "Not A Word", "../x", ""])
def test_some_words_cannot_be_aliases(store: LocalStore, digits: Bundle, alias: str) -> None:
    store.push(digits)
    with pytest.raises(UsageError):
        store.set_alias("digits", alias, 1)


def test_errors_for_unknown_names_suggest_the_nearest(store: LocalStore, digits: Bundle) -> None:
    store.push(digits)
    with pytest.raises(ModelNotFound, match="digit") as raised:
        store.resolve("digit")
    assert "digits" in raised.value.hint
    with pytest.raises(VersionNotFound) as missing:
        store.resolve("digits@9")
    assert "1" in missing.value.hint


@given(st.text(max_size=40))
def test_any_reference_is_resolved_or_not_found(reference: str) -> None:
    with pytest.raises(ModelNotFound):
        LocalStore(Path("/nonexistent")).resolve(reference)


def test_a_removed_number_is_never_used_again(store: LocalStore, digits: Bundle) -> None:
    store.push(digits)
    store.push(digits)
    store.remove("digits@2")
    assert store.versions("digits") == [1]
    assert store.push(digits).version == 3


def test_a_version_with_an_alias_is_not_removed(store: LocalStore, digits: Bundle) -> None:
    store.push(digits)
    store.set_alias("digits", "production", 1)
    with pytest.raises(StoreError, match="production") as raised:
        store.remove("digits@1")
    assert str(store.root / "digits") in raised.value.hint  # no other can take the alias
    store.push(digits)
    with pytest.raises(StoreError, match="production") as raised:
        store.remove("digits@1")
    assert "models alias digits production ANOTHER" in raised.value.hint


@pytest.mark.parametrize(("keep", "opened"), [(1, {2}), (2, {2, 3, 4}), (3, {2, 3, 4})])
def test_the_desired_state_has_the_newest_versions_and_the_default(
    store: LocalStore, digits: Bundle, keep: int, opened: set[int]
) -> None:
    for _ in range(4):
        store.push(digits)
    assert store.desired_state("digits", keep).versions == set(range(5 - keep, 5))
    store.promote("digits", 2)
    assert store.desired_state("digits", keep).versions == opened


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
        store.push(digits)
    with pytest.raises(StoreError):
        store.check_writable()
    assert store.names() == []


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


def test_the_desired_state_keeps_the_newest_versions(store: LocalStore, digits: Bundle) -> None:
    for _ in range(4):
        store.push(digits, "digits")
    assert [sorted(store.desired_state("digits", keep).versions) for keep in (1, 2, 3)] == [
        [4],
        [3, 4],
        [2, 3, 4],
    ]
    store.promote("digits", 1)
    assert [sorted(store.desired_state("digits", keep).versions) for keep in (1, 2)] == [
        [1],
        [1, 3, 4],
    ]


def test_where_the_data_is_stays_here(store: LocalStore, digits: Bundle, tmp_path: Path) -> None:
    store.push(digits)
    store.push(digits)
    assert store.read_data("digits", 1) is None
    store.record_data("digits", 1, tmp_path / "data")
    store.record_data("digits", 9, tmp_path / "data")
    assert store.read_data("digits", 1) == tmp_path / "data"
    assert store.read_data("digits", 9) is None
    store.remove("digits@1")
    assert store.read_data("digits", 1) is None
    assert store.verify() == []
