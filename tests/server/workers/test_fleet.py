"""The fleet's decisions: events in, actions out, with the time given."""

from __future__ import annotations

import signal

import msgspec
import pytest

from modelpad.server.lifecycle.overrides import LOAD, UNLOAD, Overrides
from modelpad.server.observability.metrics import REQUESTS, RESTARTS, Snapshot
from modelpad.server.workers import messages
from modelpad.server.workers.actions import (
    Action,
    CloseListener,
    Exit,
    Fork,
    Kill,
    LogError,
    MeasureMemory,
    Send,
    Terminate,
)
from modelpad.server.workers.fleet import HUNG_S, KILL_S, MEASURE_S, PING_S, Fleet
from modelpad.server.workers.memory import MAX_HIGH

NOW = 1000.0
MB = 1 << 20
BACKGROUND = (messages.Ping, messages.RequestDesiredStates)


def sends(actions: list[Action], kind: type) -> list[int]:
    """The workers that are sent a message of that kind."""
    return [
        each.pid for each in actions if isinstance(each, Send) and isinstance(each.message, kind)
    ]


def decisions(actions: list[Action]) -> list[Action]:
    """Without log lines, measurements, and messages that are sent from time to time."""
    return [
        each
        for each in actions
        if not isinstance(each, LogError | MeasureMemory)
        and not (isinstance(each, Send) and isinstance(each.message, BACKGROUND))
    ]


def start(fleet: Fleet, *pids: int, workers: int, now: float = NOW) -> list[Action]:
    """Starts workers and makes them ready; returns what followed from that."""
    actions: list[Action] = []
    for pid in pids:
        fleet.worker_started(pid)
        actions += fleet.message_received(pid, messages.Ready(workers, {"digits": 1}), now)
    return actions


@pytest.fixture
def fleet() -> Fleet:
    """Two workers that serve, with pids 1 and 2."""
    fleet = Fleet(2, shutdown_timeout_s=10.0, poll_interval_s=2.0)
    start(fleet, 1, 2, workers=2)
    fleet.tick(NOW)
    return fleet


def test_the_first_worker_starts_alone_and_says_how_many() -> None:
    fleet = Fleet(0)
    assert fleet.tick(NOW) == [Fork()]
    assert fleet.worker_started(1) == []
    assert fleet.tick(NOW) == []
    assert start(fleet, 1, workers=3) == []
    assert decisions(fleet.tick(NOW)) == [Fork(), Fork()]


def test_the_server_is_announced_once_all_are_ready() -> None:
    fleet = Fleet(2)
    announce = Send(1, messages.AnnounceReady())
    assert announce not in start(fleet, 1, workers=2)
    assert announce in start(fleet, 2, workers=2)
    fleet.worker_exited(1, -signal.SIGKILL, NOW)
    assert start(fleet, 3, workers=2) == []


@pytest.mark.parametrize(("exit_code", "expected"), [(1, 1), (2, 2), (0, 1), (-signal.SIGSEGV, 1)])
def test_the_server_does_not_start_when_its_first_worker_cannot(
    exit_code: int, expected: int
) -> None:
    fleet = Fleet(2)
    fleet.worker_started(1)
    assert fleet.worker_exited(1, exit_code, NOW) == [Exit(expected)]


def test_a_worker_that_dies_is_replaced_at_once(fleet: Fleet) -> None:
    (line,) = fleet.worker_exited(1, -signal.SIGSEGV, NOW)
    assert line == LogError("worker 1 died (SIGSEGV); starting another now")
    assert decisions(fleet.tick(NOW)) == [Fork()]


def test_a_crash_loop_is_slowed_down(fleet: Fleet) -> None:
    fleet.worker_exited(1, 1, NOW)
    fleet.worker_started(3)
    (line,) = fleet.worker_exited(3, 1, NOW)
    assert line == LogError("worker 3 died (exit code 1); starting another in 1 s")
    assert Fork() not in fleet.tick(NOW + 0.9)
    assert Fork() in fleet.tick(NOW + 1)
    fleet.worker_started(4)
    fleet.worker_exited(4, 1, NOW + 1)
    assert Fork() not in fleet.tick(NOW + 2.9)
    assert Fork() in fleet.tick(NOW + 3)


def test_the_server_gives_up_when_no_worker_is_left_before_all_were_ready() -> None:
    fleet = Fleet(3)
    start(fleet, 1, workers=3)
    fleet.worker_started(2)
    assert Exit(1) not in fleet.worker_exited(1, 1, NOW)
    assert fleet.worker_exited(2, 1, NOW) == [Exit(1)]


def test_a_server_whose_workers_all_die_starts_again(fleet: Fleet) -> None:
    fleet.worker_exited(1, 1, NOW)
    fleet.worker_exited(2, 1, NOW)
    assert decisions(fleet.tick(NOW + 1)) == [Fork(), Fork()]


def test_workers_are_pinged_and_one_that_hangs_is_killed_once(fleet: Fleet) -> None:
    now = NOW
    killed: list[Action] = []
    for _ in range(2 + int(HUNG_S / PING_S)):
        now += PING_S + 0.1
        actions = fleet.tick(now)
        assert sends(actions, messages.Ping) == [1, 2]
        killed += [each for each in actions if isinstance(each, Kill)]
        fleet.message_received(2, messages.Pong(), now)
    assert killed == [Kill(1)]
    fleet.worker_exited(1, -signal.SIGKILL, now)
    assert Fork() in fleet.tick(now)


def test_a_pause_of_the_whole_machine_kills_nobody(fleet: Fleet) -> None:
    actions = fleet.tick(NOW + 1000 * HUNG_S)
    assert not any(isinstance(each, Kill) for each in actions)


def test_a_stalled_worker_finishes_its_requests_while_another_starts(fleet: Fleet) -> None:
    actions = fleet.message_received(1, messages.Stalled("digits version 1"), NOW)
    assert actions == [LogError("worker 1 hangs: digits version 1"), Terminate(1)]
    assert fleet.message_received(1, messages.Stalled("digits version 1"), NOW) == []
    assert decisions(fleet.tick(NOW)) == [Fork()]
    start(fleet, 3, workers=2)
    assert decisions(fleet.tick(NOW + 10 + KILL_S)) == []
    assert decisions(fleet.tick(NOW + 10.1 + KILL_S)) == [Kill(1)]
    assert fleet.worker_exited(1, -signal.SIGKILL, NOW + 16) == []
    assert decisions(fleet.tick(NOW + 16)) == []


def test_a_worker_whose_memory_has_grown_is_replaced(fleet: Fleet) -> None:
    limit = 1000 * MB
    assert fleet.memory_measured({1: 100 * MB, 2: 100 * MB}, limit, NOW) == []
    for _ in range(MAX_HIGH - 1):
        assert fleet.memory_measured({1: 950 * MB, 2: 100 * MB}, limit, NOW) == []
    actions = fleet.memory_measured({1: 950 * MB, 2: 100 * MB}, limit, NOW)
    assert actions == [LogError("worker 1 uses 950 MB of 1000 MB: replaced"), Terminate(1)]
    assert Fork() in fleet.tick(NOW)
    assert fleet.memory_measured({1: 950 * MB, 2: 100 * MB}, limit, NOW) == []


def test_a_worker_far_above_its_limit_is_killed(fleet: Fleet) -> None:
    actions = fleet.memory_measured({1: 1300 * MB}, 1000 * MB, NOW)
    assert actions == [LogError("worker 1 uses 1300 MB of 1000 MB: killed"), Kill(1)]
    assert fleet.memory_measured({1: 1300 * MB}, 1000 * MB, NOW) == []


def test_memory_of_workers_that_are_ready_is_measured_now_and_then(fleet: Fleet) -> None:
    fleet.worker_started(3)
    assert not any(isinstance(each, MeasureMemory) for each in fleet.tick(NOW + MEASURE_S / 2))
    assert MeasureMemory(frozenset({1, 2}), 2) in fleet.tick(NOW + MEASURE_S)


def test_shutdown_closes_the_socket_and_waits_for_workers(fleet: Fleet) -> None:
    fleet.stop()
    assert fleet.tick(NOW) == [CloseListener(), Terminate(1), Terminate(2)]
    assert fleet.tick(NOW + 1) == []
    assert fleet.worker_exited(1, 0, NOW + 2) == []
    assert fleet.tick(NOW + 2) == []
    assert fleet.worker_exited(2, 0, NOW + 3) == []
    assert fleet.tick(NOW + 3) == [Exit(0)]


def test_workers_that_do_not_stop_in_time_are_killed(fleet: Fleet) -> None:
    fleet.stop()
    fleet.tick(NOW)
    fleet.worker_exited(1, 0, NOW + 1)
    assert fleet.tick(NOW + 10 + KILL_S) == []
    assert decisions(fleet.tick(NOW + 10.1 + KILL_S)) == [Kill(2)]
    assert fleet.tick(NOW + 20) == []
    assert fleet.worker_exited(2, -signal.SIGKILL, NOW + 20) == []
    assert fleet.tick(NOW + 20) == [Exit(0)]


def test_a_shutdown_before_the_first_worker_is_ready_ends_it() -> None:
    fleet = Fleet(2)
    fleet.worker_started(1)
    fleet.stop()
    assert fleet.tick(NOW) == [CloseListener(), Terminate(1)]
    assert fleet.worker_exited(1, -signal.SIGTERM, NOW) == []
    assert fleet.tick(NOW) == [Exit(0)]


def test_a_command_is_kept_for_workers_that_are_forked_later(fleet: Fleet) -> None:
    command = messages.Command(1, UNLOAD, "digits")
    actions = fleet.message_received(2, messages.Command(5, UNLOAD, "digits"), NOW)
    assert actions == [Send(1, command), Send(2, command)]
    assert fleet.worker_started(3) == [Send(3, command)]  # forked before the command has ended
    fleet.message_received(1, messages.CommandResult(1), NOW)
    assert decisions(fleet.tick(NOW)) == []
    fleet.message_received(2, messages.CommandResult(1), NOW)
    assert decisions(fleet.tick(NOW)) == [Send(2, messages.CommandResult(5))]
    assert fleet.overrides.unloaded == {"digits"}


def test_a_command_that_failed_changes_nothing_for_later_workers(fleet: Fleet) -> None:
    fleet.message_received(1, messages.Command(5, LOAD, "cats"), NOW)
    failed = messages.CommandResult(1, "ModelNotFound", "There is no model 'cats'.")
    fleet.message_received(2, failed, NOW)
    fleet.message_received(1, messages.CommandResult(1), NOW)
    expected = messages.CommandResult(5, "ModelNotFound", "There is no model 'cats'.")
    assert decisions(fleet.tick(NOW)) == [Send(1, expected)]
    assert fleet.overrides == Overrides(versions={"digits": 1})


def test_a_command_ends_though_a_worker_dies_while_it_runs(fleet: Fleet) -> None:
    fleet.message_received(1, messages.Command(5, LOAD, "cats"), NOW)
    fleet.message_received(1, messages.CommandResult(1), NOW)
    fleet.worker_exited(2, -signal.SIGKILL, NOW)
    assert Send(1, messages.CommandResult(5)) in fleet.tick(NOW)


def test_a_rollout_ends_though_a_worker_dies_midway_and_reaches_its_replacement(
    fleet: Fleet,
) -> None:
    def desire(version: int) -> None:
        raw = msgspec.Raw(msgspec.json.encode({"default_version": version, "versions": [version]}))
        fleet.message_received(1, messages.DesiredStates({"digits": raw}), NOW)

    desire(2)
    assert sends(fleet.tick(NOW), messages.PrepareVersions) == [1, 2]
    fleet.message_received(1, messages.VersionsPrepared(1, [2], complete=True), NOW)
    assert sends(fleet.tick(NOW), messages.ServeVersions) == []
    fleet.worker_exited(2, -signal.SIGKILL, NOW)
    assert sends(fleet.tick(NOW), messages.ServeVersions) == [1]
    assert fleet.overrides.versions == {"digits": 2}
    start(fleet, 3, workers=2)
    assert fleet.overrides.versions == {"digits": 2}  # not version 1, with which it has started
    assert sends(fleet.tick(NOW + 2), messages.RequestDesiredStates) == [1]
    desire(2)
    assert sends(fleet.tick(NOW + 2), messages.PrepareVersions) == [1, 3]


def test_metrics_of_a_worker_that_died_are_not_lost(fleet: Fleet) -> None:
    counted = Snapshot(counters={REQUESTS: [((), 20)]})
    fleet.message_received(2, messages.MetricsSnapshot(counted), NOW)
    assert fleet.message_received(1, messages.CollectMetrics(Snapshot()), NOW) == [
        Send(2, messages.RequestSnapshot())
    ]
    fleet.worker_exited(2, -signal.SIGKILL, NOW)
    actions = fleet.tick(NOW)
    assert sends(actions, messages.CollectedMetrics) == [1]
    (reply,) = (
        each.message
        for each in actions
        if isinstance(each, Send) and isinstance(each.message, messages.CollectedMetrics)
    )
    counters = [each.counters for each in reply.snapshots]
    assert {REQUESTS: [((), 20)]} in counters
    assert {RESTARTS: [((), 1)]} in counters


def test_a_command_makes_the_store_be_rolled_out_again(fleet: Fleet) -> None:
    raw = msgspec.Raw(msgspec.json.encode({"default_version": 1, "versions": [1]}))
    desired = messages.DesiredStates({"digits": raw})
    fleet.message_received(1, desired, NOW)
    fleet.tick(NOW)
    for pid in (1, 2):
        fleet.message_received(pid, messages.VersionsPrepared(1, [1], complete=True), NOW)
    fleet.tick(NOW)
    fleet.message_received(1, desired, NOW)
    assert sends(fleet.tick(NOW), messages.PrepareVersions) == []
    fleet.message_received(1, messages.Command(1, UNLOAD, "digits"), NOW)
    for pid in (1, 2):
        fleet.message_received(pid, messages.CommandResult(1), NOW)
    fleet.tick(NOW)
    fleet.message_received(1, desired, NOW)
    assert sends(fleet.tick(NOW), messages.PrepareVersions) == [1, 2]


def test_workers_that_are_replaced_count_as_restarts(fleet: Fleet) -> None:
    fleet.message_received(1, messages.Stalled("digits version 1"), NOW)
    fleet.message_received(2, messages.CollectMetrics(Snapshot()), NOW)
    (reply,) = (
        each.message
        for each in fleet.tick(NOW)
        if isinstance(each, Send) and isinstance(each.message, messages.CollectedMetrics)
    )
    assert {RESTARTS: [((), 1)]} in [each.counters for each in reply.snapshots]


def test_a_worker_that_exits_as_the_server_stops_is_no_failure() -> None:
    """Ctrl-C reaches the workers, too, and one may be faster than the supervisor."""
    fleet = Fleet(2)
    fleet.worker_started(1)
    fleet.stop()
    assert fleet.worker_exited(1, 1, NOW) == []
    assert fleet.tick(NOW) == [Exit(0)]
