"""What a worker may take, and when one is replaced for what it takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from modelpad.server.workers import memory
from modelpad.server.workers.memory import MemoryWatch, Verdict, WorkerMemory, total_bytes

MB = 1024 * 1024
GB = 1024 * MB


def test_workers_share_most_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "total_bytes", lambda: 16 * GB)
    assert WorkerMemory().limit(2) == int(6.4 * GB)
    assert WorkerMemory(300 * MB).limit(2) == 300 * MB
    assert WorkerMemory(0).limit(2) == 0
    monkeypatch.setattr(memory, "total_bytes", lambda: GB)
    assert WorkerMemory().limit(8) == 512 * MB  # each may need that much, though not all at once
    monkeypatch.setattr(memory, "total_bytes", lambda: 256 * MB)
    assert WorkerMemory().limit(8) == int(0.8 * 256 * MB)
    monkeypatch.setattr(memory, "total_bytes", lambda: 0)
    assert WorkerMemory().limit(2) == 0


def test_the_limit_of_a_container_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = total_bytes()
    assert machine > 0
    (tmp_path / "memory.max").write_text(f"{64 * MB}\n")
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text(f"{64 * MB}\n")
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    if Path("/proc/self/cgroup").exists():
        assert total_bytes() == 64 * MB
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text(f"{2**63 - 4096}\n")
    assert total_bytes() == machine


@pytest.mark.skipif(sys.platform != "linux", reason="memory is capped on Linux")
def test_an_allocation_beyond_the_cap_fails_and_nothing_else() -> None:
    code = """
from modelpad.server.workers.memory import WorkerMemory
WorkerMemory(500 << 20).cap(1)
try:
    bytearray(600 << 20)
except MemoryError:
    print(len(bytearray(100 << 20)) >> 20)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "100\n", done.stderr


def test_processes_are_measured() -> None:
    own = os.getpid()
    for capped in (True, False):
        sizes = WorkerMemory(GB, capped).measure([own, 2**22 - 1])
        assert set(sizes) == {own}
        assert sizes[own] > 10 * MB
    assert memory._run_ps([own]).get(own, 11 * MB) > 10 * MB


def test_processes_that_a_worker_started_count() -> None:
    own = os.getpid()
    before = WorkerMemory(GB).measure([own])[own], memory._run_ps([own]).get(own, 0)
    code = f"kept = bytearray({60 * MB}); print('ready', flush=True); input()"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as native:
        assert native.stdout is not None
        native.stdout.readline()
        after = WorkerMemory(GB).measure([own])[own], memory._run_ps([own]).get(own, 60 * MB)
        native.communicate(b"\n")
    assert after[0] - before[0] > 50 * MB
    assert after[1] - before[1] > 50 * MB


def test_a_worker_that_stays_high_is_replaced() -> None:
    watch = MemoryWatch()

    def judge(size: int) -> Verdict:
        return watch.judge({7: size * MB}, 1000 * MB)[7]

    assert judge(100) is Verdict.KEEP
    assert [judge(950), judge(950), judge(500)] == [Verdict.KEEP] * 3  # it came down again
    assert [judge(950), judge(950), judge(950)] == [Verdict.KEEP, Verdict.KEEP, Verdict.REPLACE]
    assert judge(1300) is Verdict.KILL
    assert watch.judge({}, 1000 * MB) == {}
    assert watch.first_bytes == watch.times_high == {}


def test_a_worker_that_begins_high_is_not_replaced_for_ever() -> None:
    watch = MemoryWatch()
    verdicts = [watch.judge({7: 950 * MB}, 1000 * MB)[7] for _ in range(5)]
    assert verdicts == [Verdict.KEEP] * 5
