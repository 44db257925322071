"""Commands that all workers run."""

from __future__ import annotations

from modelpad.server.workers.actions import Send
from modelpad.server.workers.commands import PendingCommands
from modelpad.server.workers.messages import Command, CommandResult

REQUEST = Command(7, "unload", "digits")  # 7 is the asker's own number
SENT = Command(1, "unload", "digits")


def test_all_workers_get_it_and_those_that_serve_are_awaited() -> None:
    commands = PendingCommands()
    actions = commands.add(1, REQUEST, serving=[1, 2], workers=[1, 2, 3])
    assert actions == [Send(1, SENT), Send(2, SENT), Send(3, SENT)]
    commands.record_result(1, CommandResult(1))
    commands.record_result(3, CommandResult(1))
    assert commands.take_finished() == []
    commands.record_result(2, CommandResult(1))
    (finished,) = commands.take_finished()
    assert (finished.asker, finished.result) == (1, CommandResult(7))
    assert commands.take_finished() == []


def test_one_failure_is_the_result() -> None:
    commands = PendingCommands()
    commands.add(1, REQUEST, [1, 2], [1, 2])
    commands.record_result(2, CommandResult(1, "ModelNotFound", "There is no model."))
    commands.record_result(1, CommandResult(1))
    (finished,) = commands.take_finished()
    assert finished.result == CommandResult(7, "ModelNotFound", "There is no model.")


def test_a_worker_that_has_gone_is_not_awaited() -> None:
    commands = PendingCommands()
    commands.add(1, REQUEST, [1, 2], [1, 2])
    commands.record_result(1, CommandResult(1))
    commands.remove_worker(2)
    assert len(commands.take_finished()) == 1


def test_a_late_result_does_not_count() -> None:
    commands = PendingCommands()
    commands.add(1, REQUEST, [1, 2], [1, 2])
    commands.remove_worker(2)
    commands.record_result(2, CommandResult(1, "ModelFailed", "too late"))
    commands.record_result(1, CommandResult(1))
    assert commands.take_finished()[0].result == CommandResult(7)


def test_commands_are_told_apart() -> None:
    commands = PendingCommands()
    commands.add(1, REQUEST, [1, 2], [1, 2])
    commands.add(2, Command(7, "load", "digits"), [1, 2], [1, 2])
    assert commands.send_to_new(3) == [Send(3, SENT), Send(3, Command(2, "load", "digits"))]
    for pid in (1, 2):
        commands.record_result(pid, CommandResult(2))
    assert [each.command.action for each in commands.take_finished()] == ["load"]
