"""What a connection decides, without sockets: bytes and times go in, actions come out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelpad.server.budget import ByteBudget
from modelpad.server.http import actions as act
from modelpad.server.http.exchange import Exchange
from modelpad.server.http.messages import Request, Response, ServerLimits
from modelpad.server.http.request_queue import MAX_PIPELINED, PAUSE_BYTES
from modelpad.server.http.service import Service
from modelpad.server.http.state import FIRST_S, NEVER, PACE_S, SLICE_BYTES, ConnectionState

LIMITS = ServerLimits(header_bytes=1000, header_s=10, body_s=60, idle_s=75)
GET = b"GET /one HTTP/1.1\r\nhost: x\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
Outcome = tuple[object, ...]


def post(path: bytes, body: bytes) -> bytes:
    return b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (path, len(body), body)


def chunked(*chunks: bytes) -> bytes:
    head = b"POST /chunks HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in chunks) + b"0\r\n\r\n"


async def handle(request: Request) -> Response:
    raise AssertionError("the core calls no handler")


async def read(exchange: Exchange) -> tuple[bytes, bool]:
    raise AssertionError("the core reads no body")


def shed_load(request: Request) -> Response | None:
    return Response(b"too much", status=429) if request.path == "/full" else None


class Client:
    """Performs actions as `Connection` does, and notes what the client would see."""

    def __init__(self, limits: ServerLimits = LIMITS, now: float = 0.0) -> None:
        self.service = Service(handle, limits, ByteBudget(limits.inflight_bytes), shed_load)
        self.state = ConnectionState(self.service, read, now)
        self.now = now
        self.outcomes: list[Outcome] = []
        self.last = 0  # actions

    @property
    def current(self) -> Exchange:
        assert self.state.requests.current is not None
        return self.state.requests.current

    def send(self, *parts: bytes) -> int:
        """Returns all actions that the parts led to."""
        seen = 0
        for part in parts:
            buffer = bytearray(part)
            seen |= self.perform(self.state.receive(memoryview(buffer), self.now))
            buffer[:] = bytes(len(buffer))  # the next connection reads into it
        return seen

    def perform(self, actions: int) -> int:
        seen = actions
        while actions & act.REFUSE:
            assert self.current.refusal is not None
            self.outcomes.append((self.current.refusal.status,))
            actions = self.state.finish_response(self.now)
            seen |= actions
        for end in (act.TELL, act.LINGER, act.CLOSE, act.ABORT):
            if actions & end == act.TELL:
                assert self.state.last_response is not None
                self.outcomes.append((self.state.last_response.status,))
            elif actions & end:
                self.outcomes.append((end,))
        return seen

    def respond(self) -> int:
        """Reads the whole body of the current request, which is complete, and responds."""
        exchange, request = self.current, self.current.request
        assert exchange.complete
        assert request is not None
        exchange.started = exchange.begun = True
        body = bytes(exchange.take())
        seen = self.perform(self.state.read_body())
        self.outcomes.append((request.method, request.path, dict(request.headers), body))
        self.state.write_part(self.now)
        return seen | self.perform(self.state.finish_response(self.now))

    def respond_to_all(self) -> None:
        while self.state.requests.current is not None and self.current.complete:
            self.respond()


# Input.


def test_a_request_starts_its_handler_when_its_head_is_complete() -> None:
    client = Client()
    assert client.send(b"POST / HTTP/1.1\r\nho") == 0
    assert client.send(b"st: x\r\ncontent-length: 4\r\n\r\n") == act.START
    assert not client.current.complete
    assert client.send(b"ab") == act.WAKE
    assert client.send(b"cd") == act.WAKE
    assert client.current.complete
    assert client.current.take() == b"abcd"


def test_requests_are_answered_one_at_a_time_in_order() -> None:
    client = Client()
    assert client.send(GET * 2 + LAST) & act.START
    assert client.respond() == act.START
    assert client.respond() == act.START
    assert client.respond() == act.CLOSE
    assert [each[1] for each in client.outcomes[:3]] == ["/one", "/one", "/last"]


def test_a_request_that_is_shed_never_becomes_the_handlers() -> None:
    client = Client()
    seen = client.send(post(b"/full", b"abc") + GET)
    assert seen & act.REFUSE
    assert client.outcomes == [(429,)]
    assert client.current.request is not None
    assert client.current.request.path == "/one"


def test_a_shed_request_waits_for_its_small_body_only() -> None:
    client = Client()
    head = post(b"/full", b"abc")[:-3]
    assert not client.send(head) & act.REFUSE
    assert client.send(b"abc") & act.REFUSE
    assert not client.state.closing
    large = b"POST /full HTTP/1.1\r\nhost: x\r\ncontent-length: 9999999\r\n\r\n"
    assert client.send(large) & act.LINGER


def test_requests_are_shed_in_their_turn() -> None:
    client = Client()
    asked: list[str] = []
    client.service.shed_load = lambda request: asked.append(request.path)
    client.send(GET * 3)
    assert asked == ["/one"]
    client.respond()
    assert asked == ["/one"] * 2


def test_a_body_that_came_before_its_request_was_shed_is_dropped() -> None:
    client = Client()
    request = post(b"/full", b"x" * (PAUSE_BYTES + 2))
    assert client.send(GET + request[:-1]) & act.PAUSE
    assert client.respond() & act.RESUME
    assert client.state.requests.waiting[0].part == b""
    client.send(request[-1:])
    assert client.outcomes[1:] == [(429,)]


def test_a_shed_request_is_left_to_a_task_while_the_client_does_not_read() -> None:
    client = Client()
    client.state.blocked = True
    assert client.send(post(b"/full", b"abc")) & (act.START | act.REFUSE) == act.START


FULL = post(b"/full", b"abc")


def test_a_retry_right_after_a_rejection_is_held() -> None:
    client = Client(now=100)
    assert client.send(FULL) & act.REFUSE
    client.now = 100.1
    assert client.send(FULL) & act.HOLD
    assert client.state.held_until == 100 + PACE_S
    client.now = 100.2
    assert not client.send(GET) & (act.START | act.REFUSE)  # waits its turn
    client.now = client.state.held_until
    assert client.perform(client.state.release(client.now)) & act.REFUSE
    assert client.outcomes == [(429,), (429,)]
    client.respond()
    client.now += 0.1
    assert client.send(FULL) & act.HOLD


def test_a_client_that_waits_or_asks_for_something_else_is_not_held() -> None:
    client = Client(now=100)
    client.send(FULL)
    client.now = 100.1
    assert client.send(GET) & act.START
    client.respond()
    client.now = 100 + PACE_S
    assert client.send(FULL) & act.REFUSE


def test_pipelined_requests_that_are_shed_are_not_held() -> None:
    client = Client(now=100)
    client.send(FULL)
    client.now = 100.1
    client.send(FULL * 3)
    assert client.outcomes == [(429,)] * 4


def test_shutdown_releases_what_is_held() -> None:
    client = Client(now=100)
    client.send(FULL)
    client.now = 100.1
    client.send(FULL)
    client.service.stopping = True
    client.perform(client.state.stop_when_idle(100.2))
    assert client.outcomes == [(429,), (429,), (act.CLOSE,)]


def test_pipelined_requests_beyond_the_limit_wait_as_bytes() -> None:
    client = Client()
    count = 10 * SLICE_BYTES // len(GET)
    seen = client.send(GET * count)
    assert seen & act.PAUSE
    assert len(client.state.requests.waiting) <= MAX_PIPELINED + SLICE_BYTES // len(GET) + 1
    seen = 0
    while client.state.requests.current is not None:
        seen |= client.respond()
    assert seen & act.RESUME
    assert len(client.outcomes) == count
    assert not client.state.paused


def test_a_body_that_nobody_reads_pauses_the_client() -> None:
    client = Client()
    head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9000000\r\n\r\n"
    assert not client.send(head + bytes(PAUSE_BYTES)) & act.PAUSE
    assert client.send(b"a") == act.WAKE | act.PAUSE
    assert len(client.current.take()) == PAUSE_BYTES + 1
    assert client.state.read_body() == act.RESUME
    assert client.state.read_body() == 0


def test_after_the_end_of_input_the_last_response_closes() -> None:
    client = Client()
    client.send(GET)
    assert client.state.end_input() == 0
    assert client.respond() == act.CLOSE


def test_a_request_that_works_for_long_ends_with_its_clients_side() -> None:
    client = Client()
    client.send(GET)
    assert client.current.request is not None
    client.current.request.stops_with_client = True
    assert client.state.end_input() == act.ABORT


def test_the_end_of_input_within_a_body_wakes_the_handler() -> None:
    client = Client()
    client.send(post(b"/", b"abc")[:-1])
    assert client.state.end_input() == act.WAKE
    assert client.current.gone


# Errors.


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"rubbish\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: x\r\nhost: x\r\n\r\n", 400),
        (b"CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 1000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 1000, 431),
        (b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * 200 + b"\r\n", 431),
    ],
)
def test_an_error_is_written_after_the_responses_before_it(data: bytes, status: int) -> None:
    client = Client()
    client.send(GET + data + GET)
    client.respond_to_all()
    assert [each[0] for each in client.outcomes] == ["GET", status, act.LINGER]
    assert client.send(GET) == 0


def test_an_error_within_the_body_being_read_cancels_its_handler() -> None:
    client = Client()
    client.send(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
    client.current.started = True
    assert client.send(b"zz\r\n") == act.CANCEL | act.TELL | act.LINGER
    assert client.outcomes == [(400,), (act.LINGER,)]


def test_an_error_within_a_body_that_is_answered_already_aborts() -> None:
    client = Client()
    client.send(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
    client.current.started = client.current.begun = True
    assert client.send(b"zz\r\n") == act.ABORT


def test_a_failed_handler_aborts_once() -> None:
    client = Client()
    client.send(GET)
    assert client.state.fail_response() == act.ABORT
    assert client.state.fail_response() == 0


def test_a_response_before_the_end_of_its_request_lingers() -> None:
    client = Client()
    client.send(post(b"/", b"abc")[:-1])
    assert client.state.finish_response(0) == act.LINGER
    assert client.service.budget.used == 0


def test_a_connection_that_lingers_reads_on_and_ignores_it() -> None:
    client = Client()
    client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9000000\r\n\r\n")
    client.send(bytes(PAUSE_BYTES + 1))
    assert client.state.finish_response(0) == act.LINGER | act.RESUME
    assert client.send(b"more") == 0


# Times.


def test_a_head_must_arrive_in_time() -> None:
    client = Client(now=100)
    assert client.state.deadline == 110
    client.now = 105
    client.send(b"GET / HTTP/1.1\r\nx: ")
    client.now = 109
    client.send(b"a")
    assert client.state.deadline == 110
    client.perform(client.state.time_out(110))
    assert client.outcomes == [(408,), (act.LINGER,)]


def test_a_body_must_arrive_in_time() -> None:
    client = Client(now=100)
    client.send(post(b"/", b"abc")[:-2])
    client.now = 150
    client.send(b"b")
    assert client.state.deadline == 160
    client.perform(client.state.time_out(160))
    assert client.outcomes == [(408,), (act.LINGER,)]


def test_a_handler_has_all_the_time_it_needs() -> None:
    client = Client(now=100)
    client.send(GET)
    assert client.state.deadline == NEVER


def test_an_idle_connection_is_closed_without_a_response() -> None:
    client = Client(now=100)
    client.send(GET)
    client.now = 200
    client.respond()
    assert client.state.deadline == 275
    client.now = 270
    assert client.state.time_out(275) == act.CLOSE
    assert client.state.deadline == 275 + LIMITS.body_s  # to read what was written
    assert client.state.time_out(335) == act.ABORT


def test_the_next_head_has_its_own_time() -> None:
    client = Client(now=100)
    client.send(GET)
    client.respond()
    client.now = 120
    client.send(b"GET")
    assert client.state.deadline == 130


def test_a_slow_reader_is_aborted() -> None:
    client = Client(now=100)
    client.send(GET)
    client.current.started = client.current.begun = True
    client.state.blocked = True
    client.state.wait_for_reader(100)
    client.now = 150
    client.send(post(b"/", b"abc"))  # does not give it more time
    assert client.state.deadline == 160
    assert client.state.time_out(160) == act.ABORT


def test_shutdown_waits_for_requests_and_for_new_clients() -> None:
    fresh = Client(now=100)
    assert fresh.state.stop_when_idle(100 + FIRST_S / 2) == 0
    assert fresh.state.stop_when_idle(100 + FIRST_S) == act.CLOSE
    busy = Client()
    busy.send(GET)
    assert busy.state.stop_when_idle(1000) == 0
    busy.service.stopping = True
    assert busy.respond() == act.CLOSE
    half = Client()
    half.send(b"GET / HT")
    half.send(b"TP/1.1\r\nhost")
    assert half.state.stop_when_idle(0) == 0


# Budget.


def test_no_room_for_a_body_is_told_after_the_responses_before_it() -> None:
    client = Client()
    client.send(GET)
    others = client.service.budget.limit - client.service.budget.used - 5000
    client.service.budget.used += others
    client.send(post(b"/", bytes(6000)))
    client.respond_to_all()
    assert [each[0] for each in client.outcomes] == ["GET", 429, act.LINGER]
    assert client.service.budget.used == others


def test_evicting_drops_what_is_not_complete() -> None:
    client = Client()
    client.send(post(b"/", b"abc")[:-1])
    assert client.service.budget.used > 0
    assert client.perform(client.state.evict()) == act.CANCEL | act.TELL | act.LINGER
    assert client.service.budget.used == 0
    busy = Client()
    busy.send(GET + GET + b"GET / HTTP/1.1\r\nx: y\r\n")
    busy.current.started = True
    assert busy.state.evict() == act.ABORT
    assert busy.service.budget.used == busy.current.reservation.size


def test_a_connection_may_be_evicted_while_its_input_is_parsed() -> None:
    client = Client()
    budget = client.service.budget
    evicted: list[int] = []
    budget.evict = lambda size, total: evicted.append(client.state.evict())
    client.send(GET)
    client.current.started = True
    budget.limit = budget.used + 3000
    client.send(GET * 5)
    assert set(evicted) == {act.ABORT}
    assert client.state.closing
    assert client.send(GET) == 0
    client.state.lose()
    client.current.finish()
    assert budget.used == 0


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\nx: y\r\n", GET, GET * 100, post(b"/", b"a")[:-1]]
)
def test_a_lost_connection_releases_its_bytes(data: bytes) -> None:
    client = Client()
    client.send(data)
    assert client.service.budget.used > 0
    assert client.state.lose() == act.WAKE | act.CANCEL
    assert client.service.budget.used == 0


# Chunks.

REQUESTS = st.sampled_from(
    [
        GET,
        LAST,
        post(b"/a%20b?c=d", b"hello"),
        post(b"/full", b"hello"),
        chunked(b"he", b"llo"),
        chunked(),
        b"GET /up HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
        b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"rubbish\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 70_000 + b"\r\n\r\n",
    ]
)
PLACES = st.lists(st.integers(0, 100_000), max_size=12)
# A head may be longer than a slice, so that an error in a slice is not one of its length.
LONG_HEADS = ServerLimits(header_bytes=4 * SLICE_BYTES)


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[begin:end] for begin, end in pairwise(edges) if begin < end]


@settings(deadline=None)
@given(st.lists(REQUESTS, min_size=1, max_size=6), PLACES)
def test_how_bytes_are_cut_changes_nothing(requests: list[bytes], places: list[int]) -> None:
    data = b"".join(requests)
    whole, parts = Client(LONG_HEADS), Client(LONG_HEADS)
    whole.send(data)
    whole.respond_to_all()
    for part in cut(data, places):
        parts.send(part)
        parts.respond_to_all()
    assert parts.outcomes == whole.outcomes
    assert parts.state.deadline == whole.state.deadline
    for client in (whole, parts):
        client.state.lose()
        assert client.service.budget.used == 0


@settings(deadline=None)
@given(st.lists(REQUESTS, min_size=1, max_size=6), PLACES)
def test_when_handlers_finish_changes_nothing(requests: list[bytes], places: list[int]) -> None:
    data = b"".join(requests)
    early, late = Client(LONG_HEADS), Client(LONG_HEADS)
    for part in cut(data, places):
        early.send(part)
        early.respond_to_all()
        late.send(part)
    late.respond_to_all()
    assert early.outcomes == late.outcomes
