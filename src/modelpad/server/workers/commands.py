"""Load and unload commands of an admin: every worker runs them, then the admin gets the result."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from modelpad.server.workers.actions import Action, Send
from modelpad.server.workers.messages import Command, CommandResult


@dataclass(slots=True)
class PendingCommand:
    """A command that runs in the workers `pending`.

    `asker` is the worker that received the admin's request, and `result` is sent back to it.
    """

    command: Command
    asker: int
    pending: set[int]
    result: CommandResult


class PendingCommands:
    """Commands that not every worker has finished."""

    def __init__(self) -> None:
        self._commands: list[PendingCommand] = []
        self._last_number = 0

    def add(
        self, asker: int, request: Command, serving: Collection[int], workers: Collection[int]
    ) -> list[Action]:
        """Sends a command to all `workers`, those that are starting too; waits for `serving`."""
        self._last_number += 1
        command = Command(self._last_number, request.action, request.name)
        result = CommandResult(request.number)
        self._commands.append(PendingCommand(command, asker, set(serving), result))
        return [Send(pid, command) for pid in workers]

    def send_to_new(self, pid: int) -> list[Action]:
        """Sends a worker that has just started the commands that it may have missed."""
        return [Send(pid, each.command) for each in self._commands]

    def record_result(self, pid: int, result: CommandResult) -> None:
        """Notes how a command ended in one worker."""
        for each in self._commands:
            if each.command.number == result.number and pid in each.pending:
                each.pending.discard(pid)
                if result.error:
                    each.result = CommandResult(each.result.number, result.error, result.message)

    def remove_worker(self, pid: int) -> None:
        """Stops waiting for a worker."""
        for each in self._commands:
            each.pending.discard(pid)

    def take_finished(self) -> list[PendingCommand]:
        """Removes and returns the commands that no worker is still running."""
        finished = [each for each in self._commands if not each.pending]
        self._commands = [each for each in self._commands if each.pending]
        return finished
