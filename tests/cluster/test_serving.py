"""`modelpad serve --on local`: replicas come and go with the requests, and no answer is wrong."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import psutil
import pytest

from modelpad.bundle import open_bundle
from modelpad.engine.opening import open_session
from modelpad.store import LocalStore
from modelpad.zoo import zoo_bundles
from tests.ports import find_port

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.long]

CLIENTS = 10
CHANGE_S = 90


@dataclass
class Cluster:
    """A server on a Ray cluster of this machine."""

    store: LocalStore
    process: subprocess.Popen[str]
    port: int
    pictures: list[bytes]
    expected: list[object]
    counts: Counter[str] = field(default_factory=Counter)

    def list_replicas(self) -> list[psutil.Process]:
        """The processes of replicas."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "ServeReplica" in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def ask(self, number: int) -> tuple[int, bytes]:
        """The response to one of the pictures."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        kind = {"content-type": "image/png"}
        connection.request("POST", "/predict/digits", self.pictures[number], kind)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response.status, body

    def judge(self, number: int) -> str:
        """`right`, `wrong` or `failed`: what became of a request."""
        try:
            status, body = self.ask(number)
        except OSError:
            return "failed"
        if status != 200:
            return "failed"
        return "right" if json.loads(body)["scores"] == self.expected[number] else "wrong"

    @contextlib.contextmanager
    def under_load(self) -> Iterator[None]:
        """Clients that ask one request after the other, and count what becomes of them."""
        done = threading.Event()

        def run(first: int) -> None:
            number = first
            while not done.is_set():
                number = (number + 1) % len(self.pictures)
                self.counts[self.judge(number)] += 1

        threads = [threading.Thread(target=run, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            done.set()
            for thread in threads:
                thread.join()


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.25)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder, port = tmp_path_factory.mktemp("cluster"), find_port()
    bundle = open_bundle(zoo_bundles()["digits"])
    store = LocalStore(folder / "store")
    store.push(bundle)
    session = open_session(bundle)
    pictures = [path.read_bytes() for path in sorted((bundle.folder / "samples").iterdir())[:8]]
    output, name = session.signature.outputs[0].name, session.signature.inputs[0].name
    answers: list[Any] = [session.answer({name: picture})[output] for picture in pictures]
    expected = [answer["scores"] for answer in answers]
    options = ["--on", "local", "--replicas", "1:2", "--replica-requests", "2"]
    options += ["--replica-cpus", "0.5", "--replica-idle", "5"]
    options += ["--port", str(port), "--store", str(folder / "store")]
    with (folder / "output").open("w") as output_file:
        process = subprocess.Popen(
            [sys.executable, "-m", "modelpad", "serve", "digits", "--no-open", *options],
            stdout=subprocess.PIPE,
            stderr=output_file,
            text=True,
        )
    assert process.stdout is not None
    banner = iter(process.stdout.readline, "")
    assert "Serving on local, 1 to 2 replicas\n" in banner, (folder / "output").read_text()
    yield Cluster(store, process, port, pictures, expected)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0


def test_replicas_answer_as_a_server_does(cluster: Cluster) -> None:
    assert [cluster.judge(number) for number in range(8)] == ["right"] * 8
    connection = http.client.HTTPConnection("127.0.0.1", cluster.port)
    connection.request("GET", "/")
    assert b"modelpad" in connection.getresponse().read()
    connection.request("POST", "/v2/models/nobody/infer", b"{}")
    assert connection.getresponse().status == 404


def test_a_new_version_is_followed(cluster: Cluster) -> None:
    cluster.store.push(open_bundle(zoo_bundles()["digits"]))
    wait_for(lambda: json.loads(cluster.ask(0)[1])["version"] == 2, CHANGE_S)


def test_replicas_come_with_requests_die_and_go(cluster: Cluster) -> None:
    with cluster.under_load():
        wait_for(lambda: len(cluster.list_replicas()) == 2, CHANGE_S)
        wait_for(lambda: cluster.counts["right"] > 50, CHANGE_S)
        killed = cluster.list_replicas()[0]
        killed.kill()
        before = cluster.counts["right"]
        wait_for(lambda: cluster.counts["right"] > before + 100, CHANGE_S)
        wait_for(lambda: len(cluster.list_replicas()) == 2, CHANGE_S)
        assert killed.pid not in {each.pid for each in cluster.list_replicas()}
    assert cluster.counts["wrong"] == 0
    assert cluster.counts["failed"] <= CLIENTS  # those that the killed replica had begun
    wait_for(lambda: len(cluster.list_replicas()) == 1, CHANGE_S)
    assert cluster.judge(0) == "right"
