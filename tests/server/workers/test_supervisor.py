"""Several processes as one server: they count together, change together, and are replaced."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from modelpad.bundle import Bundle, write_bundle
from modelpad.fields import Signature, Tensor
from modelpad.store import LocalStore

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are forked")


def list_workers(server: Any) -> list[psutil.Process]:
    return list(psutil.Process(server.process.pid).children())


def read_metric(url: str, name: str) -> float:
    """The sum over all labels."""
    text = httpx.get(f"{url}/metrics").text
    return sum(float(x) for x in re.findall(rf"^{name}(?:{{[^}}]*}})? ([0-9.e+-]+)$", text, re.M))


def ask(url: str, digits: Bundle) -> httpx.Response:
    """One request on a connection of its own."""
    picture = digits.path("samples/7.png").read_bytes()
    return httpx.post(
        f"{url}/predict/digits", content=picture, headers={"content-type": "image/png"}
    )


def read_version(url: str, digits: Bundle) -> int:
    return int(ask(url, digits).json()["version"])


@pytest.fixture
def three(serve: Any, tmp_path: Path) -> Any:
    return serve("digits", "--workers", "3", store=tmp_path / "store")


def test_workers_answer_and_count_as_one(three: Any, digits: Bundle) -> None:
    assert len(list_workers(three)) == 3
    for _ in range(30):
        assert ask(three.url, digits).json()["label"] == "7"
    assert read_metric(three.url, "modelpad_workers") == 3
    assert read_metric(three.url, "modelpad_queue_seconds_count") == 30
    stats = httpx.get(f"{three.url}/v2/models/digits/stats").json()["model_stats"][0]
    assert stats["inference_count"] == 30


def test_connections_are_shared_evenly(three: Any, wait_for: Any) -> None:
    """Also with a worker that replaced another, and has none yet.

    Not exactly on a busy machine: a worker that is slow to accept is not waited for.
    """

    context = ssl.create_default_context()  # which each client would take long to make

    def connect(count: int, stack: ExitStack) -> None:
        for _ in range(count):
            client = stack.enter_context(httpx.Client(verify=context))
            assert client.get(f"{three.url}/healthz").status_code == 200

    def count_connections() -> list[int]:
        return sorted(
            sum(each.status == psutil.CONN_ESTABLISHED for each in worker.net_connections("tcp"))
            for worker in list_workers(three)
        )

    with ExitStack() as stack:
        connect(30, stack)
        assert count_connections()[0] >= 4
        before = {each.pid for each in list_workers(three)}
        list_workers(three)[0].kill()
        wait_for(lambda: len({each.pid for each in list_workers(three)} - before) == 1)
        wait_for(lambda: read_metric(three.url, "modelpad_workers") == 3)
        connect(20, stack)
        assert count_connections()[0] >= 4


@pytest.mark.skipif(sys.platform != "linux", reason="needs prlimit")
def test_a_worker_that_cannot_be_started_costs_no_other(three: Any, wait_for: Any) -> None:
    """The supervisor has no file left; it retries until it has."""
    supervisor = psutil.Process(three.process.pid)
    victim = list_workers(three)[0]
    soft, hard = supervisor.rlimit(psutil.RLIMIT_NOFILE)
    supervisor.rlimit(psutil.RLIMIT_NOFILE, (3, hard))
    victim.kill()
    wait_for(lambda: len(list_workers(three)) == 2)
    time.sleep(1.0)  # some attempts
    assert len(list_workers(three)) == 2
    assert httpx.get(f"{three.url}/healthz").status_code == 200
    supervisor.rlimit(psutil.RLIMIT_NOFILE, (soft, hard))
    wait_for(lambda: len(list_workers(three)) == 3)
    wait_for(lambda: read_metric(three.url, "modelpad_workers") == 3)


def test_one_worker_is_one_process(serve: Any, tmp_path: Path) -> None:
    running = serve("digits", "--workers", "1", store=tmp_path / "store")
    assert list_workers(running) == []
    assert read_metric(running.url, "modelpad_workers") == 1


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV])
def test_a_worker_that_dies_is_replaced_and_others_answer(
    three: Any, digits: Bundle, how: signal.Signals, wait_for: Any
) -> None:
    """Under load, as a crash in a graph would do it: its connections break, no answer is wrong."""
    victims = list_workers(three)
    before = {each.pid for each in victims}
    results: Counter[str] = Counter()
    over = threading.Event()

    def work() -> None:
        with httpx.Client() as client:
            picture = digits.path("samples/7.png").read_bytes()
            while not over.is_set():
                try:
                    answer = client.post(
                        f"{three.url}/predict/digits",
                        content=picture,
                        headers={"content-type": "image/png"},
                    )
                    results[str(answer.status_code) + answer.json()["label"]] += 1
                except httpx.TransportError:
                    results["broken"] += 1

    threads = [threading.Thread(target=work, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    wait_for(lambda: results["2007"] > 50)
    counted = read_metric(three.url, "modelpad_queue_seconds_count")
    victims[0].send_signal(how)
    wait_for(lambda: len({each.pid for each in list_workers(three)} - before) == 1)
    wait_for(lambda: read_metric(three.url, "modelpad_workers") == 3)
    answered = results["2007"]
    wait_for(lambda: results["2007"] > answered + 50)
    over.set()
    for thread in threads:
        thread.join()
    assert set(results) <= {"2007", "broken"}
    assert results["2007"] > 100
    assert results["broken"] <= 8
    assert read_metric(three.url, "modelpad_worker_restarts_total") == 1
    # What the dead worker had counted until a second before it died is not lost.
    assert read_metric(three.url, "modelpad_queue_seconds_count") >= counted


@pytest.mark.slow
def test_workers_change_versions_together(
    serve: Any, digits: Bundle, tmp_path: Path, wait_for: Any
) -> None:
    """Once one worker answers with the new version, no other answers with the old one."""
    store = LocalStore(tmp_path / "store")
    store.push(digits)
    running = serve("digits", "--workers", "3", "--poll-interval", "0.1", store=store.root)
    store.push(digits)
    wait_for(lambda: read_version(running.url, digits) == 2)
    # A busy machine may need a moment to pass on the command.
    wait_for(lambda: {read_version(running.url, digits) for _ in range(30)} == {2})
    store.set_traffic("digits", {2: 100})
    store.promote("digits", 1)
    wait_for(lambda: read_version(running.url, digits) == 1)
    wait_for(lambda: {read_version(running.url, digits) for _ in range(30)} == {1})


@pytest.mark.slow
def test_a_replaced_worker_serves_what_the_others_serve(
    serve: Any, digits: Bundle, tmp_path: Path, wait_for: Any
) -> None:
    store = LocalStore(tmp_path / "store")
    store.push(digits)
    running = serve("digits", "--workers", "2", "--poll-interval", "0.1", store=store.root)
    store.push(digits)
    store.promote("digits", 2)
    wait_for(lambda: ask(running.url, digits).json()["version"] == 2)
    list_workers(running)[0].kill()
    wait_for(lambda: read_metric(running.url, "modelpad_worker_restarts_total") == 1)
    wait_for(lambda: read_metric(running.url, "modelpad_workers") == 2)
    assert {ask(running.url, digits).json()["version"] for _ in range(20)} == {2}


@pytest.mark.parametrize("fault", ["lies", "damaged"])
@pytest.mark.slow
def test_a_replaced_worker_keeps_out_what_the_others_keep_out(
    serve: Any, digits: Bundle, tmp_path: Path, wait_for: Any, fault: str
) -> None:
    store = LocalStore(tmp_path / "store")
    store.push(digits)
    running = serve("digits", "--workers", "2", "--poll-interval", "0.1", store=store.root)
    wrong = tuple(replace(sample, expected="0") for sample in digits.manifest.samples)
    files = {name: digits.path(name) for name in digits.manifest.files}
    bad = write_bundle(tmp_path / "bad", replace(digits.manifest, samples=wrong), files)
    if fault == "damaged":
        (bad.folder / "model.onnx").write_bytes(b"damaged")
    bad.folder.rename(store.root / "digits" / "2")
    wait_for(lambda: store.read_failure("digits", 2))
    list_workers(running)[0].kill()
    wait_for(lambda: read_metric(running.url, "modelpad_worker_restarts_total") == 1)
    wait_for(lambda: read_metric(running.url, "modelpad_workers") == 2)
    assert {ask(running.url, digits).json()["version"] for _ in range(30)} == {1}
    store.push(digits)
    wait_for(lambda: {ask(running.url, digits).json()["version"] for _ in range(20)} == {3})


@pytest.mark.slow
def test_a_replaced_worker_serves_the_same_where_the_store_is_not_followed(
    serve: Any, digits: Bundle, tmp_path: Path, wait_for: Any
) -> None:
    store = LocalStore(tmp_path / "store")
    store.push(digits)
    running = serve("--workers", "2", "--poll-interval", "0", store=store.root)
    store.push(digits)
    list_workers(running)[0].kill()
    wait_for(lambda: read_metric(running.url, "modelpad_worker_restarts_total") == 1)
    wait_for(lambda: read_metric(running.url, "modelpad_workers") == 2)
    assert {ask(running.url, digits).json()["version"] for _ in range(20)} == {1}


@pytest.mark.slow
def test_a_worker_replaced_while_the_store_is_away_waits_for_it(
    serve: Any, digits: Bundle, tmp_path: Path, wait_for: Any
) -> None:
    """Else it would serve the model that comes with modelpad, as in an empty store."""
    store = LocalStore(tmp_path / "store")
    store.push(digits, "mine")
    running = serve("--workers", "2", "--poll-interval", "0.1", store=store.root)
    store.root.rename(tmp_path / "away")
    list_workers(running)[0].kill()
    wait_for(lambda: read_metric(running.url, "modelpad_worker_restarts_total") >= 2)
    path = f"{running.url}/v2/models/mine/ready"
    assert {httpx.get(path).status_code for _ in range(20)} == {200}
    (tmp_path / "away").rename(store.root)
    wait_for(lambda: read_metric(running.url, "modelpad_workers") == 2)
    assert {httpx.get(path).status_code for _ in range(20)} == {200}


@pytest.mark.slow
def test_a_worker_that_comes_while_a_change_is_made_makes_it_too(
    serve: Any, digits: Bundle, tmp_path: Path, wait_for: Any, gated: Any
) -> None:
    """It has read the store before the change, and is ready before the change is over."""
    store = LocalStore(tmp_path / "store")
    store.push(digits)
    gates = tmp_path / "gates"
    gates.mkdir()
    options = ("--workers", "2", "--poll-interval", "0.1")
    running = serve(*options, store=store.root, program=(*gated, str(gates)))
    (gates / "start").touch()
    list_workers(running)[0].kill()
    wait_for((gates / "start-reached").exists)
    (gates / "prepare").touch()
    store.push(digits)
    wait_for((gates / "prepare-reached").exists)
    (gates / "start").unlink()
    wait_for(lambda: read_metric(running.url, "modelpad_workers") == 2)
    (gates / "prepare").unlink()
    both = 'modelpad_graphs_open{model="digits",version="2"} 2'
    wait_for(lambda: both in httpx.get(f"{running.url}/metrics").text)
    assert {ask(running.url, digits).json()["version"] for _ in range(20)} == {2}


@pytest.mark.slow
def test_a_rate_holds_for_all_workers_together(serve: Any, digits: Bundle, tmp_path: Path) -> None:
    running = serve("digits", "--workers", "3", "--rate-limit", "5", store=tmp_path / "store")
    begin = time.monotonic()
    statuses = Counter(ask(running.url, digits).status_code for _ in range(40))
    earned = 5 + 5 * (time.monotonic() - begin)
    assert earned - 2 <= statuses[200] <= earned + 2
    assert statuses[429] == 40 - statuses[200]


def test_workers_leave_when_their_supervisor_is_killed(serve: Any, tmp_path: Path) -> None:
    running = serve("digits", "--workers", "2", store=tmp_path / "store")
    orphans = list_workers(running)
    running.process.kill()
    running.process.wait()
    running.process.returncode = 0  # it was meant to die
    _, alive = psutil.wait_procs(orphans, timeout=15)
    assert alive == []


def test_workers_leave_though_their_supervisor_was_killed_with_words_unread(
    serve: Any, digits: Bundle, tmp_path: Path
) -> None:
    """What it has not read makes the end of the line an error."""
    running = serve("digits", "--workers", "2", store=tmp_path / "store")
    orphans = list_workers(running)
    running.process.send_signal(signal.SIGSTOP)
    for _ in range(6):
        ask(running.url, digits)
    time.sleep(1.5)  # what was counted is sent once a second; nobody can see it before it is read
    running.process.kill()
    running.process.wait()
    running.process.returncode = 0  # it was meant to die
    _, alive = psutil.wait_procs(orphans, timeout=15)
    for each in alive:
        each.kill()
    assert alive == []


def test_a_stop_takes_all_workers_along(three: Any) -> None:
    workers = list_workers(three)
    three.process.send_signal(signal.SIGTERM)
    assert three.process.wait(15) == 0
    assert not any(each.is_running() for each in workers)


def test_a_stop_refuses_new_connections_while_it_answers_what_is_in_flight(
    three: Any, digits: Bundle, wait_for: Any
) -> None:
    picture = digits.path("samples/7.png").read_bytes()
    where = ("127.0.0.1", int(three.address.rpartition(":")[2]))
    head = f"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(picture)}\r\n"
    head += "expect: 100-continue\r\n"
    with socket.create_connection(where, timeout=10) as client:
        client.sendall(f"{head}content-type: image/png\r\n\r\n".encode())
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"  # it is accepted
        three.process.send_signal(signal.SIGTERM)

        def is_refused() -> bool:
            try:
                socket.create_connection(where, timeout=1).close()
            except ConnectionRefusedError:
                return True
            return False

        wait_for(is_refused, 8)
        client.sendall(picture)
        assert client.recv(100).startswith(b"HTTP/1.1 200 ")
    assert three.process.wait(15) == 0


IMPATIENT = """
import sys
from modelpad.cli.main import main
from modelpad.server.workers import fleet
fleet.PING_S, fleet.HUNG_S = 0.2, 2.5
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_worker_that_hangs_is_replaced(
    serve: Any, tmp_path: Path, digits: Bundle, wait_for: Any
) -> None:
    """SIGSTOP is what a hang looks like from outside."""
    running = serve("--workers", "2", store=tmp_path / "store", program=("-c", IMPATIENT))
    hanging = list_workers(running)[0]
    hanging.suspend()
    wait_for(lambda: not hanging.is_running())
    wait_for(lambda: read_metric(running.url, "modelpad_workers") == 2)
    assert ask(running.url, digits).json()["label"] == "7"


@pytest.mark.slow
def test_a_pause_of_all_processes_costs_no_worker(
    serve: Any, tmp_path: Path, digits: Bundle, wait_for: Any
) -> None:
    """As of a container that is frozen for longer than a worker may be silent."""
    running = serve("--workers", "2", store=tmp_path / "store", program=("-c", IMPATIENT))
    workers = list_workers(running)
    everyone = [psutil.Process(running.process.pid), *workers]
    for each in everyone:
        each.suspend()
    time.sleep(3.5)  # the pause itself: longer than a worker may be silent
    for each in everyone:
        each.resume()
    time.sleep(1.0)  # some pings: no worker may be replaced
    assert list_workers(running) == workers
    assert read_metric(running.url, "modelpad_worker_restarts_total") == 0
    workers[0].suspend()
    wait_for(lambda: not workers[0].is_running())  # one that hangs is still found
    wait_for(lambda: read_metric(running.url, "modelpad_workers") == 2)


@pytest.fixture
def endless(tmp_path: Path, build_bundle: Any) -> Path:
    """A model that compares `trips` boxes with each other, all within one operator, which ONNX
    Runtime does not interrupt."""
    from onnx import TensorProto, helper

    whole, number = TensorProto.INT64, TensorProto.FLOAT
    values: dict[str, tuple[int, list[int], list[float]]]
    values = {"zero": (whole, [], [0]), "one": (whole, [], [1]), "sides": (whole, [1], [1])}
    values |= {"beside": (number, [4], [0, 0, 0.5, 0.5]), "flat": (whole, [2], [-1, 1])}
    values |= {"row": (whole, [3], [1, 1, -1]), "boxed": (whole, [3], [1, -1, 4])}
    nodes = [
        helper.make_node("Constant", [], [name], value=helper.make_tensor(name, *value))
        for name, value in values.items()
    ]
    nodes += [
        helper.make_node("ReduceMax", ["trips"], ["most"], keepdims=0),
        helper.make_node("Reshape", ["most", "sides"], ["limit"]),
        helper.make_node("Range", ["zero", "most", "one"], ["places"]),
        helper.make_node("Cast", ["places"], ["starts"], to=number),
        helper.make_node("Reshape", ["starts", "flat"], ["column"]),
        helper.make_node("Add", ["column", "beside"], ["corners"]),
        helper.make_node("Reshape", ["corners", "boxed"], ["boxes"]),
        helper.make_node("Reshape", ["starts", "row"], ["scores"]),
        helper.make_node("NonMaxSuppression", ["boxes", "scores", "limit"], ["kept"]),
        helper.make_node("Size", ["kept"], ["count"]),
        helper.make_node("Add", ["trips", "count"], ["total"]),
    ]
    fields = Signature((Tensor("trips", "int64", ()),), (Tensor("total", "int64", ()),))
    build_bundle(tmp_path, "endless", nodes, [("trips", whole, [])], [("total", whole, [])], fields)
    return tmp_path / "endless"


def count_up(url: str, trips: int) -> int:
    body = {"trips": trips}
    return httpx.post(f"{url}/predict/endless", json=body, timeout=20).status_code


@pytest.mark.slow
def test_a_model_that_hangs_costs_its_worker(
    serve: Any, endless: Path, tmp_path: Path, wait_for: Any
) -> None:
    options = ("--workers", "2", "--timeout", "1")
    running = serve(str(endless), *options, store=tmp_path / "store")
    assert count_up(running.url, 5) == 200
    before = set(list_workers(running))
    assert count_up(running.url, 3 * 10**6) == 504
    wait_for(lambda: read_metric(running.url, "modelpad_worker_restarts_total") == 1)
    wait_for(lambda: len(before & set(list_workers(running))) == 1)  # the one that hung has gone
    wait_for(lambda: read_metric(running.url, "modelpad_workers") == 2)
    assert [count_up(running.url, 5) for _ in range(10)] == [200] * 10


@pytest.mark.slow
def test_no_count_goes_back_while_a_worker_is_replaced(
    serve: Any, endless: Path, tmp_path: Path, wait_for: Any
) -> None:
    """Prometheus would take that for a restart, and count everything again."""
    options = ("--workers", "2", "--timeout", "1")
    running = serve(str(endless), *options, store=tmp_path / "store")
    for _ in range(20):
        count_up(running.url, 5)
    counted = [read_metric(running.url, "modelpad_requests_total")]
    before = set(list_workers(running))
    count_up(running.url, 3 * 10**6)

    def is_replaced() -> bool:
        counted.append(read_metric(running.url, "modelpad_requests_total"))
        now = set(list_workers(running))
        return len(now) == 2 and len(now & before) == 1

    wait_for(is_replaced)
    wait_for(lambda: read_metric(running.url, "modelpad_workers") == 2)
    counted.append(read_metric(running.url, "modelpad_requests_total"))
    assert counted == sorted(counted)


def test_what_was_shown_of_counts_outlives_the_worker_that_showed_it(
    serve: Any, digits: Bundle, tmp_path: Path, wait_for: Any
) -> None:
    running = serve("digits", "--workers", "2", store=tmp_path / "store")
    port = int(running.url.rpartition(":")[2])
    with httpx.Client() as client:  # one connection, and so one worker
        for _ in range(5):
            client.post(f"{running.url}/predict/digits", content=b"no picture")
        shown = client.get(f"{running.url}/metrics").text
        for worker in list_workers(running):
            if any(c.raddr and c.laddr.port == port for c in worker.net_connections()):
                worker.kill()
    total = re.search(r'modelpad_requests_total{endpoint="/predict/{model}",.*} (\d+)', shown)
    assert total is not None
    assert total[1] == "5"
    wait_for(lambda: read_metric(running.url, "modelpad_worker_restarts_total") == 1)
    assert f"{total[0]}\n" in httpx.get(f"{running.url}/metrics").text


def test_counts_of_some_workers_are_not_shown_as_those_of_all(serve: Any, tmp_path: Path) -> None:
    running = serve("--workers", "2", store=tmp_path / "store")
    running.process.send_signal(signal.SIGSTOP)  # it is the one that knows
    assert httpx.get(f"{running.url}/metrics").status_code == 504
    assert httpx.get(f"{running.url}/readyz").status_code == 200
    running.process.send_signal(signal.SIGCONT)
    assert read_metric(running.url, "modelpad_workers") == 2


@pytest.mark.slow
def test_one_process_that_hangs_says_that_it_is_not_well(
    serve: Any, endless: Path, tmp_path: Path, wait_for: Any
) -> None:
    options = ("--workers", "1", "--timeout", "1", "--shutdown-timeout", "0.1")
    running = serve(str(endless), *options, store=tmp_path / "store")
    assert httpx.get(f"{running.url}/livez").status_code == 200
    assert count_up(running.url, 3 * 10**6) == 504
    wait_for(lambda: httpx.get(f"{running.url}/livez").status_code == 503)
    assert "endless version 1" in httpx.get(f"{running.url}/healthz").text
    running.process.kill()
    running.process.wait()
    running.process.returncode = 0  # nothing else ends what hangs in the graph


def test_what_cannot_start_says_so_once(tmp_path: Path, digits: Bundle) -> None:
    store = LocalStore(tmp_path / "store")
    entry = store.push(digits)
    (entry.folder / "model.onnx").write_bytes(b"damaged")
    command = [sys.executable, "-m", "modelpad", "serve", "digits", "--workers", "3"]
    done = subprocess.run(
        [*command, "--port", "0", "--store", str(store.root), "--no-open"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.count("modelpad: ") == 1
    assert "model.onnx is not the one that was written" in done.stderr


@pytest.mark.parametrize("words", ["--workers -1", "--workers two"])
def test_workers_are_counted(run_modelpad: Any, words: str) -> None:
    assert run_modelpad("serve", "digits", *words.split()).returncode == 2
