"""The well-behaved client of `hostile.py`: small predictions at a fixed rate.

At the end it prints when each prediction was due and its latency in seconds, null without a
response. It is a separate process, so that it shares only the machine with an attack.

usage, by hostile.py: python bench/hostile_client.py PORT TLS KEY
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import sys
import threading
import time

from digit_load import PICTURE
from modelpad.client.load import HEAD_END, LENGTH, write_request

RATE_PER_S = 50.0
THREADS = 4
PATIENCE_S = 10.0
Answers = list[tuple[float, float | None]]


def behave(port: int, tls: bool, key: str, first: float, end: float, answers: Answers) -> None:
    """One thread's share of the rate. A late response delays the next request, which then counts
    as late too."""
    headers = {"x-api-key": key}
    request = write_request("127.0.0.1", "/predict/digits", PICTURE, "image/png", headers)
    connection: socket.socket | None = None
    due = first
    while due < end:
        time.sleep(max(0.0, due - time.monotonic()))
        took = None
        try:
            if connection is None:
                connection = connect(port, tls)
            if predict(connection, request):
                took = time.monotonic() - due
        except OSError:
            if connection is not None:
                connection.close()
            connection = None
        answers.append((due, took))
        due = max(due + THREADS / RATE_PER_S, time.monotonic() - PATIENCE_S)


def connect(port: int, tls: bool) -> socket.socket:
    """A connection, with TLS if the server has its self-signed certificate."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
    if not tls:
        return connection
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(connection)


def predict(connection: socket.socket, request: bytes) -> bool:
    """Whether a prediction gets 200. Raises `OSError` without a response."""
    connection.sendall(request)
    answer = b""
    while True:
        part = connection.recv(65_536)
        if not part:
            raise ConnectionResetError
        answer += part
        head = answer.find(HEAD_END)
        length = LENGTH.search(answer, 0, max(head, 0))
        if head >= 0 and len(answer) >= head + 4 + (int(length[1]) if length else 0):
            return answer[9:12] == b"200"


def main() -> None:
    """Runs until the time given by a line on standard input."""
    port, tls, key = int(sys.argv[1]), sys.argv[2] == "1", sys.argv[3]
    print("ready", flush=True)
    end = float(sys.stdin.readline())
    answers: Answers = []
    now = time.monotonic()
    threads = [
        threading.Thread(
            target=behave,
            args=(port, tls, key, now + number / RATE_PER_S, end, answers),
            daemon=True,
        )
        for number in range(THREADS)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join(max(0.0, end + PATIENCE_S - time.monotonic()))
    print(json.dumps(answers[:]), flush=True)
    os._exit(0)  # a thread may still be waiting for the server


if __name__ == "__main__":
    main()
