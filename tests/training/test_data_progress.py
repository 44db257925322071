"""Progress lines: rewritten on a terminal, a line at start and end elsewhere."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import suppress

import pytest

from modelpad.datasets import ProgressUpdate
from modelpad.training.data_progress import ProgressPrinter, format_bytes, format_seconds

MB = 1_000_000


def download(done: int, *, finished: bool = False) -> ProgressUpdate:
    return ProgressUpdate("download", "mnist", done * MB, 10 * MB, "bytes", finished)


def print_all(updates: list[ProgressUpdate], *, live: bool, step_s: float = 1.0) -> str:
    def tick() -> Iterator[float]:
        second = 100.0
        while True:
            yield second
            second += step_s

    clock = tick()
    stream = io.StringIO()
    printer = ProgressPrinter(stream, live=live, now=lambda: next(clock))
    for update in updates:
        printer(update)
    return stream.getvalue()


def test_a_terminal_shows_amount_share_rate_and_time_left() -> None:
    text = print_all(
        [download(0), download(2), download(4), download(10, finished=True)], live=True
    )
    lines = [line.rstrip() for line in text.split("\r")[1:]]
    assert lines == [
        "Downloading mnist: 0 bytes of 10.0 MB (0 %)",
        "Downloading mnist: 2.0 MB of 10.0 MB (20 %), 2.0 MB/s, 4 s left",
        "Downloading mnist: 4.0 MB of 10.0 MB (40 %), 2.0 MB/s, 3 s left",
        "Downloaded mnist: 10.0 MB in 3 s",
    ]
    assert text.endswith("\n")
    assert text.count("\n") == 1


def test_a_shorter_line_covers_the_longer_one_before() -> None:
    text = print_all([download(1), download(2), download(10, finished=True)], live=True)
    *_, long, short = text.rstrip("\n").split("\r")
    assert len(short) == len(long)


def test_an_error_ends_the_line() -> None:
    stream = io.StringIO()
    with suppress(OSError), ProgressPrinter(stream, live=True) as printer:
        printer(download(1))
        raise OSError
    assert stream.getvalue().endswith("\n")


def test_elsewhere_only_start_and_end_are_printed() -> None:
    text = print_all([download(0), download(2), download(10, finished=True)], live=False)
    assert text == "Downloading mnist (10.0 MB)\nDownloaded mnist: 10.0 MB in 2 s\n"


def test_a_resumed_download_counts_only_new_bytes_in_its_rate() -> None:
    assert "2.0 MB/s" in print_all([download(6), download(8)], live=True)


def test_images_are_counted_as_images_and_only_on_a_terminal() -> None:
    updates = [
        ProgressUpdate("read", "flowers", done, 3861, "images", done == 3861)
        for done in (1, 1000, 3861)
    ]
    text = print_all(updates, live=True)
    assert "Reading flowers: 1,000 of 3,861 images (26 %)" in text
    assert "MB" not in text
    assert print_all(updates, live=False) == ""


def test_an_unknown_total_has_no_share() -> None:
    updates = [ProgressUpdate("unpack", "a.zip", done * MB, None, "bytes") for done in (1, 3)]
    assert "Unpacking a.zip: 3.0 MB, 2.0 MB/s" in print_all(updates, live=True)
    assert "%" not in print_all(updates, live=True)


def test_a_terminal_is_not_written_to_for_every_update() -> None:
    updates = [download(0)] * 1000
    assert print_all(updates, live=True, step_s=0.001).count("\r") <= 11


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (59.4, "59 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_seconds(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_bytes() -> None:
    assert [format_bytes(n) for n in (5, 4_500, 11_594_722, 1.2e9)] == [
        "5 bytes", "4.5 kB", "11.6 MB", "1.2 GB",
    ]  # fmt: skip
