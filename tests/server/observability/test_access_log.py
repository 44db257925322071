"""The access log: request ids, trace ids, and one line of JSON a request."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from modelpad.server.budget import ByteBudget, Reservation
from modelpad.server.http.messages import Request, Response, ServerLimits
from modelpad.server.observability.access_log import log_request, name_request, read_trace

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def make_request(path: str = "/predict", **headers: str) -> Request:
    async def read() -> tuple[bytes, bool]:
        return b"", False

    named = {name.replace("_", "-"): value for name, value in headers.items()}
    reservation = Reservation(ByteBudget(1000))
    return Request("POST", path, b"secret=1", named, read, ServerLimits(), reservation)


@pytest.mark.parametrize("given", ["seven", "a.b:c_d-1", "x" * 128])
def test_a_plain_id_of_the_client_is_kept(given: str) -> None:
    assert name_request(make_request(x_request_id=given)) == given


@pytest.mark.parametrize("given", ["", "two words", 'a"b', "a\nb", "x" * 129])
def test_any_other_id_is_replaced(given: str) -> None:
    name = name_request(make_request(x_request_id=given))
    assert re.fullmatch("[0-9a-f]{16}", name)
    assert name != name_request(make_request(x_request_id=given))


def test_the_trace_of_the_client_is_read() -> None:
    assert read_trace(make_request(traceparent=f"00-{TRACE}-{PARENT}-01")) == TRACE


@pytest.mark.parametrize(
    "given",
    [
        "",
        TRACE,
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-01-more",
    ],
)
def test_an_invalid_traceparent_is_ignored(given: str) -> None:
    assert read_trace(make_request(traceparent=given)) is None


def test_a_request_is_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    request = make_request("/predict/olá\n")
    log_request(request, Response(b"12345", status=404), 0.0123456, "seven", TRACE)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "secret" not in err
    line = json.loads(err)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", line.pop("time"))
    assert line == {
        "method": "POST",
        "path": "/predict/olá\n",
        "status": 404,
        "ms": 12.35,
        "bytes": 5,
        "request_id": "seven",
        "trace_id": TRACE,
    }


def test_a_request_without_a_trace_has_no_trace_id(capsys: pytest.CaptureFixture[str]) -> None:
    log_request(make_request(), Response(), 0, "seven", None)
    assert "trace_id" not in json.loads(capsys.readouterr().err)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
def test_a_line_that_cannot_be_written_fails_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full").open("w")  # noqa: SIM115 (closing it fails too)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", full)
        log_request(make_request(), Response(), 0, "seven", None)
    with pytest.raises(OSError, match="No space"):
        full.close()
