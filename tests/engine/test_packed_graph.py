"""Large graphs that processes map from a cache."""

from __future__ import annotations

import gc
import os
import re
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from modelpad.bundle import Bundle
from modelpad.engine import GraphCache, Session, SessionSettings
from modelpad.engine.packed_graph import KEPT, WEIGHTS, remove_beyond_kept, room_to_map

X = {"x": np.linspace(-1, 1, 1024, dtype=np.float32).reshape(2, 512)}


def share(folder: Path, min_bytes: int = 1) -> SessionSettings:
    return SessionSettings(packed=GraphCache(folder, min_bytes))


def entries(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_sessions_map_the_same_weights_and_cannot_write_to_them(
    large: Bundle, tmp_path: Path
) -> None:
    expected = Session(large).predict(X)["y"]
    cache = tmp_path / "graphs"
    sessions = [Session(large, share(cache)) for _ in range(2)]
    for session in sessions:
        np.testing.assert_array_equal(session.predict(X)["y"], expected)
    (entry,) = entries(cache)
    lines = Path("/proc/self/maps").read_text().splitlines()
    mapped = [line.split() for line in lines if line.endswith(str(entry / WEIGHTS))]
    assert len(mapped) >= 4  # two tensors in each session
    assert {line[1] for line in mapped} == {"r--p"}
    assert len({line[4] for line in mapped}) == 1  # one file


def test_small_graphs_and_other_devices_are_not_shared(large: Bundle, tmp_path: Path) -> None:
    Session(large, share(tmp_path / "graphs", min_bytes=large.graph_bytes + 1))
    cache = GraphCache(tmp_path / "graphs", 1)
    Session(large, SessionSettings(device="auto", packed=cache))
    assert not (tmp_path / "graphs").exists()


def test_a_damaged_entry_is_written_again(large: Bundle, tmp_path: Path) -> None:
    cache = tmp_path / "graphs"
    expected = Session(large, share(cache)).predict(X)["y"]
    (entry,) = entries(cache)
    size = (entry / WEIGHTS).stat().st_size
    (entry / WEIGHTS).rename(tmp_path / "mapped")  # the session above still maps it
    (entry / WEIGHTS).write_bytes(bytes(size))
    np.testing.assert_array_equal(Session(large, share(cache)).predict(X)["y"], expected)
    assert entries(cache) == [entry]


def test_the_last_used_entries_are_kept(large: Bundle, tmp_path: Path) -> None:
    cache = tmp_path / "graphs"
    for at in range(KEPT + 2):
        (cache / f"old-{at}").mkdir(parents=True)
        os.utime(cache / f"old-{at}", (at, at))
    Session(large, share(cache))
    left = {path.name for path in entries(cache)}
    assert len(left) == KEPT
    assert left > {f"old-{at}" for at in range(3, KEPT + 2)}


def test_what_is_in_use_is_kept(large: Bundle, tmp_path: Path) -> None:
    cache = tmp_path / "graphs"
    used = Session(large, share(cache))
    (entry,) = entries(cache)
    for at in range(KEPT):
        (cache / f"new-{at}").mkdir()
    os.utime(entry, (1, 1))
    remove_beyond_kept(cache)
    assert entry.is_dir()
    used.close()
    del used
    gc.collect()
    remove_beyond_kept(cache)
    assert not entry.exists()
    assert not [path for path in cache.iterdir() if entry.name in path.name]  # nor its locks


@pytest.mark.skipif(sys.platform == "win32", reason="it has no such limit")
def test_loads_at_the_same_time_leave_the_limit_of_memory_as_it_was() -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    soft = 1 << 40
    resource.setrlimit(resource.RLIMIT_DATA, (soft, before[1]))
    begun = threading.Event()

    def load() -> None:
        begun.set()
        with room_to_map(1 << 20):
            pass

    try:
        with room_to_map(1 << 30):
            other = threading.Thread(target=load)
            other.start()
            begun.wait()
            other.join(0.1)
            assert other.is_alive()  # it takes turns
        other.join()
        assert resource.getrlimit(resource.RLIMIT_DATA)[0] == soft
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def test_modules_in_the_working_folder_are_not_imported(
    large: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('numpy.py was imported')")
    monkeypatch.chdir(tmp_path)
    Session(large, share(tmp_path / "graphs"))
    assert entries(tmp_path / "graphs")


def test_where_the_cache_cannot_be_written_each_session_has_a_copy(
    large: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "graphs").write_text("a file")
    session = Session(large, share(tmp_path / "graphs"))
    np.testing.assert_array_equal(session.predict(X)["y"], Session(large).predict(X)["y"])
    assert re.search(r"large: each worker loads its own copy of the weights: .*graphs", caplog.text)
