"""An order, run as a process of its own, without a cluster."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelpad.bundle import open_bundle
from modelpad.cli.train_on_cluster import write_run
from modelpad.cluster.inputs import pack
from modelpad.cluster.keeper import MAX_LOG_BYTES, Keeper
from modelpad.cluster.order import Order, Resources
from modelpad.cluster.process import open_log, read_for, run_order
from modelpad.cluster.training import check_room
from modelpad.errors import UsageError

TRAINS = ("reviews", "--on=", "--runs=run", "--store=store", "--name=tickets", "--arch=bow")


class Log(list[bytes]):
    """Takes the reports of a training, which nobody interrupts."""

    def __call__(self, text: bytes) -> int:
        self.append(text)
        return 0

    @property
    def whole(self) -> bytes:
        return b"".join(self)


def write_table(folder: Path) -> Path:
    path = folder / "tickets.csv"
    rows = [f"good fine film {n},pos\nbad dull film {n},neg" for n in range(40)]
    path.write_text("\n".join(["text,label", *rows]))
    return path


@pytest.mark.slow
def test_a_training_comes_back_as_a_run(tmp_path: Path) -> None:
    inputs = pack({"files/0/tickets.csv": write_table(tmp_path)})
    log = Log()
    order = Order("tickets", (*TRAINS, "--data=files/0/tickets.csv"), inputs)
    finished = run_order(order, log)
    assert finished.code == 0, log.whole
    assert b"Testing on" in log.whole
    assert finished.facts["name"] == "tickets"
    assert finished.facts["test_accuracy"] == 1
    write_run(finished.run, tmp_path / "runs" / "tickets")
    assert open_bundle(tmp_path / "runs" / "tickets" / "bundle").manifest.name == "tickets"
    assert (tmp_path / "runs" / "tickets" / "report.html").is_file()


def test_errors_are_in_the_log_and_in_the_exit_code() -> None:
    log = Log()
    order = Order("tickets", (*TRAINS, "--data=nothing-here"), pack({}))
    assert run_order(order, log).code == 1
    assert b"There is no data set called nothing-here" in log.whole


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such terminals")
def test_a_log_for_a_terminal_is_written_to_one() -> None:
    read, write = open_log(60)
    assert os.get_terminal_size(write).columns == 60
    os.write(write, b"\repoch 1\n")
    os.close(write)
    assert read_for(read, 5) == (b"\repoch 1\n", False)
    os.close(read)


def test_a_keeper_forgets_the_start_of_a_long_log() -> None:
    keeper = Keeper("digest")
    keeper.report(b"a" * MAX_LOG_BYTES)
    assert keeper.report(b"b" * 10) == 0
    assert keeper._log.endswith(b"b" * 10)
    assert len(keeper._log) == MAX_LOG_BYTES
    assert keeper._dropped == 10


def test_workers_must_fit_on_the_machines_there_are() -> None:
    nodes = [
        {"Alive": True, "Resources": {"CPU": 4.0, "GPU": 1.0}},
        {"Alive": True, "Resources": {"CPU": 3.0}},
        {"Alive": False, "Resources": {"CPU": 64.0}},
    ]
    check_room(nodes, Resources(2, 0, workers=3))
    check_room(nodes, Resources(99, 0))  # one may wait for a machine that is still to come
    with pytest.raises(UsageError, match="has room for 3 workers with 2 CPUs each, not for 4"):
        check_room(nodes, Resources(2, 0, workers=4))
    with pytest.raises(UsageError, match="for 1 worker with 1 CPU and 1 GPU each, not for 2"):
        check_room(nodes, Resources(1, 1, workers=2))
    assert str(Resources(2, 0, workers=4)) == "4 workers with 2 CPUs each"


def test_orders_of_the_same_training_are_equal_in_any_terminal() -> None:
    assert Order("a", ("x",), b"1").digest == Order("a", ("x",), b"1", columns=90).digest
    assert Order("a", ("x",), b"1").digest != Order("a", ("x",), b"2").digest
