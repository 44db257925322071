"""New versions: all workers load them before any serves them."""

from __future__ import annotations

import msgspec
import pytest

from modelpad.server.workers.actions import Action, Send
from modelpad.server.workers.messages import (
    DesiredStates,
    PrepareVersions,
    RequestDesiredStates,
    ServeVersions,
    VersionsPrepared,
)
from modelpad.server.workers.rollouts import READ_TIMEOUT_S, RETRY_S, Rollouts

NOW = 1000.0


def state(live: int, *versions: int) -> msgspec.Raw:
    return msgspec.Raw(
        msgspec.json.encode({"default_version": live, "versions": versions or (live,)})
    )


def desired(**states: msgspec.Raw) -> DesiredStates:
    return DesiredStates(states)


def served(actions: list[Action]) -> dict[int, list[int]]:
    """By worker, the versions that it is told to serve."""
    sends = [each for each in actions if isinstance(each, Send)]
    return {
        each.pid: each.message.versions for each in sends if isinstance(each.message, ServeVersions)
    }


def asked_to_prepare(actions: list[Action]) -> list[tuple[int, str]]:
    sends = [each for each in actions if isinstance(each, Send)]
    return [
        (each.pid, each.message.name) for each in sends if isinstance(each.message, PrepareVersions)
    ]


def test_one_worker_reads_the_store_at_each_interval() -> None:
    rollouts = Rollouts(2.0, {})
    assert rollouts.poll([], NOW) == []
    assert rollouts.poll([5, 6], NOW) == [Send(5, RequestDesiredStates())]
    rollouts.compare(desired(), NOW)
    assert rollouts.poll([5, 6], NOW + 1.9) == []
    assert rollouts.poll([5, 6], NOW + 2) == [Send(5, RequestDesiredStates())]


def test_without_an_interval_the_store_is_never_read() -> None:
    assert Rollouts(0.0, {}).poll([5], NOW) == []


def test_a_slow_read_is_awaited_and_then_another_worker_reads() -> None:
    rollouts = Rollouts(2.0, {})
    rollouts.poll([5, 6], NOW)
    assert rollouts.poll([5, 6], NOW + READ_TIMEOUT_S - 1) == []
    assert rollouts.poll([5, 6], NOW + READ_TIMEOUT_S) == [Send(6, RequestDesiredStates())]
    rollouts.compare(desired(), NOW + READ_TIMEOUT_S)  # and stays the reader
    assert rollouts.poll([5, 6], NOW + READ_TIMEOUT_S + 2) == [Send(6, RequestDesiredStates())]
    assert rollouts.poll([5], NOW + 3 * READ_TIMEOUT_S) == [Send(5, RequestDesiredStates())]


def test_another_worker_reads_when_the_one_that_did_has_died() -> None:
    rollouts = Rollouts(2.0, {})
    rollouts.poll([5, 6], NOW)
    rollouts.remove_worker(5)
    assert rollouts.poll([6], NOW + 2) == [Send(6, RequestDesiredStates())]


def test_versions_are_served_when_all_workers_have_loaded_them() -> None:
    versions: dict[str, int] = {}
    rollouts = Rollouts(2.0, versions)
    rollouts.compare(desired(digits=state(2)), NOW)
    assert asked_to_prepare(rollouts.advance([1, 2], NOW)) == [(1, "digits"), (2, "digits")]
    rollouts.record_prepared(1, VersionsPrepared(1, [1, 2], complete=True))
    assert rollouts.advance([1, 2], NOW) == []
    assert versions == {}
    rollouts.record_prepared(2, VersionsPrepared(1, [1, 2], complete=True))
    assert served(rollouts.advance([1, 2], NOW)) == {1: [1, 2], 2: [1, 2]}
    assert versions == {"digits": 2}


def roll_out(rollouts: Rollouts, number: int, complete: bool = True) -> None:
    rollouts.advance([1], NOW)
    rollouts.record_prepared(1, VersionsPrepared(number, [1], complete))
    assert rollouts.advance([1], NOW) != []


def test_a_state_that_is_served_is_not_rolled_out_again() -> None:
    rollouts = Rollouts(2.0, {})
    rollouts.compare(desired(digits=state(1)), NOW)
    roll_out(rollouts, 1)
    rollouts.compare(desired(digits=state(1)), NOW + RETRY_S + 1)
    assert rollouts.advance([1], NOW) == []
    rollouts.forget("digits")  # a command has changed what is served
    rollouts.compare(desired(digits=state(1)), NOW)
    assert rollouts.advance([1], NOW) != []


@pytest.mark.parametrize(("first", "second"), [([1, 2], [1]), ([1], [1, 2])])
def test_only_versions_that_every_worker_has_are_served(
    first: list[int], second: list[int]
) -> None:
    versions: dict[str, int] = {"digits": 1}
    rollouts = Rollouts(2.0, versions)
    rollouts.compare(desired(digits=state(2, 1, 2)), NOW)
    rollouts.advance([1, 2], NOW)
    rollouts.record_prepared(1, VersionsPrepared(1, first, complete=first == [1, 2]))
    rollouts.record_prepared(2, VersionsPrepared(1, second, complete=second == [1, 2]))
    assert served(rollouts.advance([1, 2], NOW)) == {1: [1], 2: [1]}
    assert versions == {"digits": 1}
    rollouts.compare(desired(digits=state(2, 1, 2)), NOW + RETRY_S)
    assert asked_to_prepare(rollouts.advance([1, 2], NOW)) != []


def test_a_version_that_failed_to_load_is_tried_again_later() -> None:
    rollouts = Rollouts(2.0, {})
    rollouts.compare(desired(digits=state(2, 1, 2)), NOW)
    roll_out(rollouts, 1, complete=False)
    rollouts.compare(desired(digits=state(2, 1, 2)), NOW + RETRY_S - 1)
    assert rollouts.advance([1], NOW) == []
    rollouts.compare(desired(digits=state(2, 1, 2)), NOW + RETRY_S)
    roll_out(rollouts, 2)
    rollouts.compare(desired(digits=state(2, 1, 2)), NOW + 2 * RETRY_S)
    assert rollouts.advance([1], NOW) == []


def test_a_worker_that_dies_midway_holds_up_no_other() -> None:
    rollouts = Rollouts(2.0, {})
    rollouts.compare(desired(digits=state(2)), NOW)
    rollouts.advance([1, 2], NOW)
    rollouts.record_prepared(1, VersionsPrepared(1, [2], complete=True))
    rollouts.remove_worker(2)
    assert served(rollouts.advance([1], NOW)) == {1: [2]}


def test_its_replacement_gets_the_versions_by_another_rollout() -> None:
    """It may have read the store before the change, and has not loaded what is served now."""
    rollouts = Rollouts(2.0, {})
    rollouts.compare(desired(digits=state(2)), NOW)
    rollouts.advance([1, 2], NOW)
    rollouts.remove_worker(2)
    rollouts.add_worker()
    rollouts.record_prepared(1, VersionsPrepared(1, [2], complete=True))
    assert served(rollouts.advance([1, 3], NOW)) == {1: [2]}
    assert rollouts.poll([1, 3], NOW) == [Send(1, RequestDesiredStates())]
    rollouts.compare(desired(digits=state(2)), NOW)
    assert asked_to_prepare(rollouts.advance([1, 3], NOW)) == [(1, "digits"), (3, "digits")]


def test_a_new_process_with_the_pid_of_a_dead_worker_is_not_taken_for_it() -> None:
    rollouts = Rollouts(2.0, {})
    rollouts.compare(desired(digits=state(2)), NOW)
    rollouts.advance([1, 2], NOW)
    rollouts.remove_worker(2)
    rollouts.record_prepared(1, VersionsPrepared(1, [2], complete=True))
    assert served(rollouts.advance([1, 2], NOW)) == {1: [2]}


def test_versions_that_kill_every_worker_are_not_what_the_next_ones_start_with() -> None:
    versions = {"digits": 1}
    rollouts = Rollouts(2.0, versions)
    rollouts.compare(desired(digits=state(2)), NOW)
    rollouts.advance([1, 2], NOW)
    rollouts.remove_worker(1)
    rollouts.remove_worker(2)
    assert rollouts.advance([], NOW) == []
    assert versions == {"digits": 1}


def test_replies_to_an_earlier_rollout_or_of_others_do_not_count() -> None:
    rollouts = Rollouts(2.0, {})
    rollouts.compare(desired(digits=state(2)), NOW)
    rollouts.advance([1], NOW)
    rollouts.record_prepared(1, VersionsPrepared(99, [2], complete=True))
    rollouts.record_prepared(3, VersionsPrepared(1, [2], complete=True))
    assert rollouts.advance([1], NOW) == []


def test_models_are_rolled_out_one_after_the_other() -> None:
    rollouts = Rollouts(2.0, {})
    rollouts.compare(desired(a=state(1), b=state(1)), NOW)
    assert asked_to_prepare(rollouts.advance([1], NOW)) == [(1, "a")]
    assert rollouts.poll([1], NOW) == []
    rollouts.record_prepared(1, VersionsPrepared(1, [1], complete=True))
    actions = rollouts.advance([1], NOW)
    assert served(actions) == {1: [1]}
    assert asked_to_prepare(actions) == [(1, "b")]
