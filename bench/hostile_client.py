"""The client of `hostile.py` that behaves: a small prediction at a time, at a fixed rate.

Prints, when its time is over, when each was due and the seconds until its answer, or none where
none came. It is a process of its own, so that an attack shares nothing with it but the machine.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import sys
import threading
import time

from modelpad.client.load import HEAD_END, LENGTH, write_request
from modelpad.zoo import zoo_bundles

RATE_PER_S = 50.0
THREADS = 4
PATIENCE_S = 10.0
PICTURE = (zoo_bundles()["digits"] / "samples" / "7.png").read_bytes()
Answers = list[tuple[float, float | None]]


def behave(port: int, tls: bool, key: str, first: float, end: float, answers: Answers) -> None:
    """A thread's share of the rate; late answers delay what it asks next, and count as late."""
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
    """A connection, over TLS with a server whose certificate nobody signed."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
    if not tls:
        return connection
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(connection)


def predict(connection: socket.socket, request: bytes) -> bool:
    """Whether a prediction is answered with 200. Raises `OSError` when none comes."""
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
    """Begins when a line on standard input says until when."""
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
    os._exit(0)  # a thread may still wait for a server that says nothing


if __name__ == "__main__":
    main()
