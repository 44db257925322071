"""Graphs within a limit of memory: opened when asked, the least recently used closed for others."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from modelpad.bundle import Bundle, write_bundle
from modelpad.engine import MemoryBudget, Session
from modelpad.engine.memory import resident_bytes
from modelpad.errors import BundleInvalid

MB = 1 << 20


class Evictable:
    """Takes so much while it is awake."""

    def __init__(self, title: str, graph_bytes: int, *, busy: bool = False) -> None:
        self.title, self.graph_bytes, self.busy = title, graph_bytes, busy
        self.awake = False

    def evict(self) -> bool:
        self.awake = self.busy
        return not self.busy


def make_budget(limit: int, *sleepers: Evictable) -> MemoryBudget:
    def measure() -> int:
        return sum(each.graph_bytes for each in sleepers if each.awake)

    return MemoryBudget(limit, measure)


def wake(budget: MemoryBudget, sleeper: Evictable) -> None:
    if not sleeper.awake:
        budget.evict_for(sleeper)
        sleeper.awake = True
    budget.mark_used(sleeper)


def test_the_least_recently_used_makes_room() -> None:
    a, b, c = Evictable("a", 40), Evictable("b", 40), Evictable("c", 40)
    budget = make_budget(100, a, b, c)
    wake(budget, a)
    wake(budget, b)
    wake(budget, a)
    wake(budget, c)
    assert [each.awake for each in (a, b, c)] == [True, False, True]


def test_what_is_in_use_stays() -> None:
    a, b, c = Evictable("a", 40, busy=True), Evictable("b", 40), Evictable("c", 40)
    budget = make_budget(100, a, b, c)
    for each in (a, b, c):
        wake(budget, each)
    assert [each.awake for each in (a, b, c)] == [True, False, True]


def test_one_that_is_too_large_is_opened_alone() -> None:
    a, b = Evictable("a", 40), Evictable("b", 400)
    budget = make_budget(100, a, b)
    wake(budget, a)
    wake(budget, b)
    assert [a.awake, b.awake] == [False, True]


def test_what_has_gone_is_not_asked_to_sleep() -> None:
    a, b = Evictable("a", 60), Evictable("b", 60)
    budget = make_budget(100, a, b)
    wake(budget, a)
    budget.remove(a)
    wake(budget, b)
    assert a.awake


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not tell")
def test_memory_is_measured() -> None:
    assert 10 * MB < resident_bytes() < 10_000 * MB


def test_a_session_sleeps_and_wakes(digits: Bundle) -> None:
    session = Session(digits, memory=MemoryBudget(10_000 * MB))
    assert not session.is_open
    values = {"image": digits.path("samples/3.png").read_bytes()}
    assert session.answer(values)["label"]["label"] == "3"
    assert session.is_open
    assert session.evict()
    assert not session.is_open
    assert session.is_described
    assert session.answer(values)["label"]["label"] == "3"


def test_sessions_in_a_tight_budget_answer_from_many_threads(digits: Bundle) -> None:
    """Whoever sleeps for another is opened again: nobody is closed while it answers."""
    budget = MemoryBudget(1)
    sessions = [Session(digits, memory=budget) for _ in range(3)]
    values = {"image": digits.path("samples/5.png").read_bytes()}
    answers: list[str] = []

    def ask(number: int) -> None:
        for turn in range(12):
            answer = sessions[(number + turn) % 3].answer(values)
            answers.append(answer["label"]["label"])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == ["5"] * 48
    assert sum(session.is_open for session in sessions) <= 3


def test_what_changed_on_disk_is_not_opened(digits: Bundle, tmp_path: Path) -> None:
    files = {name: digits.path(name) for name in digits.manifest.files}
    copy = write_bundle(tmp_path / "copy", digits.manifest, files)
    session = Session(copy, memory=MemoryBudget(10_000 * MB))
    (copy.folder / "model.onnx").write_bytes(b"other")
    with pytest.raises(BundleInvalid):
        session.answer({"image": digits.path("samples/5.png").read_bytes()})
