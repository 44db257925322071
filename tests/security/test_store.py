"""The store under concurrent changes, killed processes and symbolic links."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelpad.bundle import Bundle, write_bundle
from modelpad.errors import StoreError, VersionNotFound
from modelpad.store import LocalStore

ROUNDS = 120

# Runs one change of the store a line, each at the moment that the line names.
RACER = """
import sys, time
from pathlib import Path
from modelpad.errors import ModelpadError
from modelpad.store import LocalStore

store = LocalStore(Path(sys.argv[1]))
actions = {
    "remove": lambda version: store.remove(f"digits@{version}"),
    "promote": lambda version: store.promote("digits", version),
    "alias": lambda version: store.set_alias("digits", "staging", version),
    "traffic": lambda version: store.set_traffic("digits", {1: 50, version: 50}),
    "shadow": lambda version: store.set_shadow("digits", version),
}
print("ready", flush=True)
for line in sys.stdin:
    action, version, moment = line.split()
    while time.monotonic() < float(moment):
        pass
    try:
        actions[action](int(version))
    except ModelpadError as error:
        print("refused", error.message, flush=True)
    else:
        print("done", flush=True)
"""

HOLD = """
import sys, time
from pathlib import Path
from modelpad.bundle.locks import hold_lock
with hold_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""

CHANGE = """
import sys
from pathlib import Path
from modelpad.store import LocalStore
store = LocalStore(Path(sys.argv[1]))
print("ready", flush=True)
for number in range(100_000):
    store.set_alias("digits", "production", 1 + number % 2)
"""

PUSH = """
import sys
from pathlib import Path
from modelpad.bundle import open_bundle
from modelpad.bundle import writer
from modelpad.store import LocalStore

write = writer._write_file

def write_slowly(*given):
    record = write(*given)
    print("writing", flush=True)
    sys.stdin.readline()
    return record

writer._write_file = write_slowly
print(LocalStore(Path(sys.argv[1])).push(open_bundle(Path(sys.argv[2]))).version)
"""


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


class Program:
    """A Python program in a process of its own, spoken to line by line."""

    def __init__(self, code: str, *arguments: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def write(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def start() -> Iterator[object]:
    """Starts programs, which end with the test."""
    running: list[Program] = []

    def start(code: str, *arguments: object) -> Program:
        running.append(Program(code, *arguments))
        return running[-1]

    yield start
    for program in running:
        program.kill()


def list_hidden(store: LocalStore, prefix: str) -> list[str]:
    return [p.name for p in (store.root / "digits").iterdir() if p.name.startswith(prefix)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "rival",
    [
        "promote",
        *(pytest.param(name, marks=pytest.mark.long) for name in ("alias", "traffic", "shadow")),
    ],
)
def test_remove_and_its_rival_are_never_both_acknowledged(
    store: LocalStore, digits: Bundle, start: Any, rival: str
) -> None:
    chance = random.Random(12)
    store.push(digits)
    store.promote("digits", 1)
    remover, other = start(RACER, store.root), start(RACER, store.root)
    assert remover.read() == other.read() == "ready"
    both, removed = 0, 0
    for _ in range(ROUNDS):
        version = store.push(digits).version
        moment = time.monotonic() + 0.003
        racers = [(remover, "remove"), (other, rival)]
        chance.shuffle(racers)  # on a busy machine the first to be told is the first to begin
        for racer, action in racers:
            racer.write(f"{action} {version} {moment + chance.uniform(0, 1e-3)}")
        first, second = remover.read(), other.read()
        assert "done" in (first, second), (first, second)
        both += first == second == "done"
        removed += first == "done"
        book = json.loads((store.root / "digits" / "aliases.json").read_bytes())
        meant = {*book["aliases"].values(), *map(int, book["traffic"]), book["shadow"]}
        if not both:
            assert meant - {None} <= set(store.versions("digits"))
        store.promote("digits", 1)
        store.set_alias("digits", "staging", 1)
    assert both == 0, f"{both} of {ROUNDS} races acknowledged both"
    assert 0 < removed < ROUNDS, "the two never raced"


def test_a_version_that_gets_requests_is_not_removed(store: LocalStore, digits: Bundle) -> None:
    for _ in range(3):
        store.push(digits)
    store.set_traffic("digits", {1: 90, 2: 10})
    with pytest.raises(StoreError, match="traffic") as raised:
        store.remove("digits@2")
    assert "modelpad models traffic digits" in raised.value.hint
    store.set_traffic("digits", {})
    store.set_shadow("digits", 2)
    with pytest.raises(StoreError, match="shadow") as raised:
        store.remove("digits@2")
    assert "modelpad models shadow digits" in raised.value.hint
    store.set_shadow("digits", None)
    assert store.remove("digits@2").version == 2


def test_a_removed_version_takes_the_note_of_its_failure_along(
    store: LocalStore, digits: Bundle
) -> None:
    store.push(digits)
    store.push(digits)
    store.record_failure("digits", 1, "it hangs")
    store.remove("digits@1")
    assert store.read_failure("digits", 1) is None
    store.record_failure("digits", 1, "a server that has not heard")
    assert store.read_failure("digits", 1) is None
    store.record_failure("unknown", 1, "nobody's")
    assert store.names() == ["digits"]


def test_a_killed_holder_of_the_lock_holds_nobody_up(
    store: LocalStore, digits: Bundle, start: Any
) -> None:
    store.push(digits)
    holder = start(HOLD, store.root / "digits" / ".lock")
    assert holder.read() == "held"
    done = threading.Event()

    def change() -> None:
        store.promote("digits", 1)
        done.set()

    thread = threading.Thread(target=change)
    thread.start()
    assert not done.wait(0.3), "the lock was ignored"
    holder.kill()
    assert done.wait(5)
    thread.join()


def test_waiting_for_the_lock_ends_with_an_error(
    store: LocalStore, digits: Bundle, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.push(digits)
    assert start(HOLD, store.root / "digits" / ".lock").read() == "held"
    monkeypatch.setattr("modelpad.bundle.locks.MAX_WAIT_S", 0.2)
    with pytest.raises(StoreError, match="lock"):
        store.promote("digits", 1)


def test_an_alias_file_of_a_live_writer_stays_until_it_dies(
    store: LocalStore, digits: Bundle, start: Any
) -> None:
    store.push(digits)
    writer = start(HOLD, store.root / "digits" / ".lock")
    assert writer.read() == "held"
    aside = store.root / "digits" / ".aliases.json-12345678"
    aside.write_text("{")
    thread = threading.Thread(target=store.promote, args=("digits", 1))
    thread.start()
    time.sleep(0.3)  # short: it waits for the lock, and may not remove the file before
    assert aside.exists()
    writer.kill()
    thread.join(5)
    assert not aside.exists()
    assert store.aliases("digits")["production"] == 1


def test_kills_during_alias_changes_leave_no_files(
    store: LocalStore, digits: Bundle, start: Any
) -> None:
    chance = random.Random(15)
    store.push(digits)
    store.push(digits)
    for _ in range(20):
        changer = start(CHANGE, store.root)
        assert changer.read() == "ready"
        time.sleep(chance.uniform(0, 0.02))
        changer.kill()
        assert store.resolve("digits").version in (1, 2)
    store.promote("digits", 1)
    assert list_hidden(store, ".aliases.json-") == []


def test_a_version_half_written_by_a_killed_process_is_cleaned(
    store: LocalStore, digits: Bundle, start: Any
) -> None:
    store.push(digits)
    pusher = start(PUSH, store.root, digits.folder)
    assert pusher.read() == "writing"
    store.push(digits)
    assert len(list_hidden(store, ".staging-")) == 1, "a live writer's folder is gone"
    pusher.kill()
    store.push(digits)
    assert list_hidden(store, ".staging-") == []


def test_a_slow_push_is_finished_though_others_clean(
    store: LocalStore, digits: Bundle, start: Any
) -> None:
    pusher = start(PUSH, store.root, digits.folder)
    written = 0
    while (line := pusher.read()) == "writing":
        written += 1
        for folder in (store.root / "digits").glob(".staging-*"):
            os.utime(folder, (0, 0))  # old, but not dead
        store.push(digits)
        pusher.write("")
    assert written == len(digits.manifest.files)
    assert int(line) == written + 1
    assert store.verify() == []


def test_a_bundle_half_written_by_a_killed_process_is_cleaned(
    tmp_path: Path, digits: Bundle
) -> None:
    dead = tmp_path / ".staging-123-0123456789ab"
    dead.mkdir()
    (dead / "model.onnx").write_bytes(b"half")
    foreign = tmp_path / ".staging-of-another-program"
    foreign.mkdir()
    files = {name: digits.path(name) for name in digits.manifest.files}
    write_bundle(tmp_path / "copy", digits.manifest, files)
    assert sorted(path.name for path in tmp_path.iterdir()) == [foreign.name, "copy"]


def test_what_a_killed_removal_left_is_cleaned_by_the_next_change(
    store: LocalStore, digits: Bundle
) -> None:
    store.push(digits)
    left = store.root / "digits" / ".removed-2-abcdef01"
    left.mkdir()
    (left / "model.onnx").write_bytes(b"rest")
    store.promote("digits", 1)
    assert not left.exists()


def test_a_probe_leaves_nothing_behind(store: LocalStore) -> None:
    store.check_writable()
    assert list(store.root.iterdir()) == []


# Symbolic links.


@pytest.fixture
def outside(tmp_path: Path, digits: Bundle) -> Path:
    """A model's folder out of the store, as a store of somebody else's."""
    other = LocalStore(tmp_path / "outside")
    other.push(digits)
    other.push(digits)
    return other.root / "digits"


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    "change",
    [
        lambda store, digits: store.remove("digits@1"),
        lambda store, digits: store.promote("digits", 1),
        lambda store, digits: store.rollback("digits"),
        lambda store, digits: store.set_traffic("digits", {1: 100}),
        lambda store, digits: store.record_failure("digits", 1, "no"),
        lambda store, digits: store.push(digits),
    ],
    ids=["remove", "promote", "rollback", "traffic", "failure", "push"],
)
def test_a_model_that_is_a_link_is_not_changed(
    store: LocalStore, digits: Bundle, outside: Path, change: Any
) -> None:
    (outside / ".staging-1-0123456789ab").mkdir()
    (outside / ".staging-1-0123456789ab" / "kept").write_bytes(b"mine")
    store.root.mkdir()
    (store.root / "digits").symlink_to(outside)
    before = snapshot(outside)
    with pytest.raises(StoreError, match="symbolic link"):
        change(store, digits)
    assert snapshot(outside) == before
    assert store.resolve("digits").version == 2  # to read is no harm


def test_removing_a_version_that_is_a_link_removes_the_link_alone(
    store: LocalStore, digits: Bundle, outside: Path
) -> None:
    store.push(digits)
    (store.root / "digits" / "2").symlink_to(outside / "1")
    before = snapshot(outside)
    assert store.remove("digits@2").version == 2
    assert snapshot(outside) == before
    assert store.versions("digits") == [1]
    assert list_hidden(store, ".removed-") == []


def test_leftovers_that_are_links_are_not_followed(
    store: LocalStore, digits: Bundle, outside: Path
) -> None:
    store.push(digits)
    before = snapshot(outside)
    (store.root / "digits" / ".removed-1-abcdef01").symlink_to(outside)
    (store.root / "digits" / ".staging-1-0123456789ab").symlink_to(outside)
    (store.root / "digits" / ".aliases.json-abcdef01").symlink_to(outside / "aliases.json")
    store.push(digits)
    assert snapshot(outside) == before


def test_a_lock_that_is_a_link_is_not_followed(
    store: LocalStore, digits: Bundle, tmp_path: Path
) -> None:
    store.push(digits)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (store.root / "digits" / ".lock").unlink(missing_ok=True)
    (store.root / "digits" / ".lock").symlink_to(victim)
    with pytest.raises(StoreError):
        store.promote("digits", 1)
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("wanted", ["9" * 5000, "1_0", "\u0661", "+1"])
def test_odd_version_numbers_are_not_found(store: LocalStore, digits: Bundle, wanted: str) -> None:
    store.push(digits)
    with pytest.raises(VersionNotFound):
        store.resolve(f"digits@{wanted}")
