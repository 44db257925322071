"""The supervisor's end of a worker's socket."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from modelpad.server.workers import messages
from modelpad.server.workers.connection import READ_BYTES, WorkerConnection


@pytest.fixture
def pair() -> Iterator[tuple[WorkerConnection, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    yield WorkerConnection(1, ours), theirs
    ours.close()
    theirs.close()


def test_messages_come_whole(pair: tuple[WorkerConnection, socket.socket]) -> None:
    connection, worker = pair
    line = messages.write_line(messages.Stalled("digits"))
    worker.sendall(line + line[:5])
    assert connection.receive() == [messages.Stalled("digits")]
    assert connection.receive() == []
    worker.sendall(line[5:])
    assert connection.receive() == [messages.Stalled("digits")]
    assert not connection.closed


def test_what_a_worker_sent_before_it_exited_is_read_to_the_end(
    pair: tuple[WorkerConnection, socket.socket],
) -> None:
    connection, worker = pair
    reason = "x" * (READ_BYTES // 2)
    for _ in range(2):
        worker.sendall(messages.write_line(messages.Stalled(reason)))
    worker.close()
    assert connection.receive_all() == [messages.Stalled(reason)] * 2
    assert connection.closed


def test_what_does_not_fit_is_sent_later(pair: tuple[WorkerConnection, socket.socket]) -> None:
    connection, worker = pair
    result = messages.CommandResult(1, "ModelFailed", "x" * (4 << 20))
    connection.send(result)
    assert connection.outgoing
    received = b""
    while not received.endswith(b"\n"):
        received += worker.recv(1 << 20)
        connection.flush()
    assert messages.read_from_supervisor(received) == result
    assert connection.outgoing == b""


def test_a_worker_that_has_died_is_no_error(pair: tuple[WorkerConnection, socket.socket]) -> None:
    connection, worker = pair
    worker.close()
    connection.send(messages.Ping())
    assert connection.outgoing == b""
    assert connection.receive() == []
    assert connection.closed
