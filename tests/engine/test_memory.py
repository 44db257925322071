"""The memory budget: graphs are loaded on use, and the least recently used are evicted."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from modelpad.bundle import Bundle, write_bundle
from modelpad.engine import MemoryBudget, Session
from modelpad.engine.memory import resident_bytes
from modelpad.errors import BundleInvalid

MB = 1 << 20


class Evictable:
    """A model of a given size."""

    def __init__(self, title: str, graph_bytes: int, *, busy: bool = False) -> None:
        self.title, self.graph_bytes, self.busy = title, graph_bytes, busy
        self.loaded = False
        self.process_bytes = 0

    def evict(self) -> bool:
        self.loaded = self.busy
        return not self.busy


def make_budget(limit: int, *models: Evictable) -> MemoryBudget:
    def measure() -> int:
        return sum(each.graph_bytes for each in models if each.loaded)

    return MemoryBudget(limit, measure)


def use(budget: MemoryBudget, model: Evictable) -> None:
    if not model.loaded:
        budget.evict_for(model)
        model.loaded = True
    budget.mark_used(model)


def test_the_least_recently_used_is_evicted() -> None:
    a, b, c = Evictable("a", 40), Evictable("b", 40), Evictable("c", 40)
    budget = make_budget(100, a, b, c)
    use(budget, a)
    use(budget, b)
    use(budget, a)
    use(budget, c)
    assert [each.loaded for each in (a, b, c)] == [True, False, True]


def test_a_model_in_use_is_not_evicted() -> None:
    a, b, c = Evictable("a", 40, busy=True), Evictable("b", 40), Evictable("c", 40)
    budget = make_budget(100, a, b, c)
    for each in (a, b, c):
        use(budget, each)
    assert [each.loaded for each in (a, b, c)] == [True, False, True]


def test_a_model_over_the_limit_is_loaded_alone() -> None:
    a, b = Evictable("a", 40), Evictable("b", 400)
    budget = make_budget(100, a, b)
    use(budget, a)
    use(budget, b)
    assert [a.loaded, b.loaded] == [False, True]


def test_a_removed_model_is_not_evicted() -> None:
    a, b = Evictable("a", 60), Evictable("b", 60)
    budget = make_budget(100, a, b)
    use(budget, a)
    budget.remove(a)
    use(budget, b)
    assert a.loaded


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_memory_is_measured() -> None:
    assert 10 * MB < resident_bytes() < 10_000 * MB


def label_of(answer: Any) -> str:
    return str(answer["label"]["label"])


def test_an_evicted_session_loads_itself_again(digits: Bundle) -> None:
    session = Session(digits, memory=MemoryBudget(10_000 * MB))
    assert not session.is_open
    values = {"image": digits.path("samples/3.png").read_bytes()}
    assert label_of(session.answer(values)) == "3"
    assert session.is_open
    assert session.evict()
    assert not session.is_open
    assert session.is_described
    assert label_of(session.answer(values)) == "3"


def test_a_tight_budget_works_from_many_threads(digits: Bundle) -> None:
    """Evicted sessions are loaded again, and none is evicted while it is in use."""
    budget = MemoryBudget(1)
    sessions = [Session(digits, memory=budget) for _ in range(3)]
    values = {"image": digits.path("samples/5.png").read_bytes()}
    answers: list[str] = []

    def ask(number: int) -> None:
        for turn in range(12):
            answer = sessions[(number + turn) % 3].answer(values)
            answers.append(label_of(answer))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == ["5"] * 48
    assert sum(session.is_open for session in sessions) <= 3


def test_a_bundle_that_changed_on_disk_is_not_loaded(digits: Bundle, tmp_path: Path) -> None:
    files = {name: digits.path(name) for name in digits.manifest.files}
    copy = write_bundle(tmp_path / "copy", digits.manifest, files)
    session = Session(copy, memory=MemoryBudget(10_000 * MB))
    (copy.folder / "model.onnx").write_bytes(b"other")
    with pytest.raises(BundleInvalid):
        session.answer({"image": digits.path("samples/5.png").read_bytes()})
