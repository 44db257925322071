"""What a connection does next, as pure state transitions: no sockets, no tasks, no clock.

Each method of `ConnectionState` is an event (bytes received, a response finished, a time-out) and
returns the `actions` that `connection.py` then performs, as a bit mask. Times are those of one
monotonic clock, in seconds, and are passed in.
"""

from __future__ import annotations

from http import HTTPStatus

from modelpad.errors import ModelpadError, forget_frames
from modelpad.server.budget import too_many_bytes
from modelpad.server.errors import respond_error, respond_problem
from modelpad.server.http.actions import (
    ABORT,
    CANCEL,
    CLOSE,
    HOLD,
    LINGER,
    PAUSE,
    REFUSE,
    RESUME,
    TELL,
    WAKE,
)
from modelpad.server.http.exchange import Exchange
from modelpad.server.http.heads import RequestRejected
from modelpad.server.http.messages import Response
from modelpad.server.http.parser import ReadExchange, RequestParser
from modelpad.server.http.request_queue import RequestQueue
from modelpad.server.http.service import Service

FIRST_S = 1.0  # a client that has just connected is about to send a request
# Between two rejections of a client that retries as soon as it is rejected, instead of waiting for
# Retry-After: what its retries cost is then bounded.
PACE_S = 0.5
# Input is parsed in slices, so that pipelined requests wait as bytes and not as objects.
SLICE_BYTES = 16 * 1024
EMPTY = memoryview(b"")
NEVER = float("inf")


class ConnectionState:
    """One client's connection, from accepting its socket to closing it."""

    __slots__ = (
        "_limits",
        "_now",
        "_parser",
        "_rejected_at",
        "_rest",
        "_service",
        "_woken",
        "active_at",
        "begun",
        "blocked",
        "broken",
        "closing",
        "deadline",
        "ended",
        "has_asked",
        "held",
        "last_response",
        "paused",
        "requests",
    )

    def __init__(self, service: Service, read: ReadExchange, now: float) -> None:
        """`read` is the function with which requests read their bodies."""
        self.requests = RequestQueue()
        self.begun = self.active_at = now
        self.deadline = now + service.limits.header_s  # when `time_out` is due
        self.last_response: Response | None = None
        self.has_asked = False  # a request's head has been received
        self.held = False  # the refusal of the only request waits
        self.ended = False  # the client has stopped sending
        self.broken = False  # the input is not HTTP: nothing after it is parsed
        self.closing = False
        self.paused = False  # reading
        self.blocked = False  # writing, until the client has read; the writer sets it
        self._service = service
        self._limits = service.limits
        self._parser = RequestParser(service, self, read)
        self._rest = EMPTY  # received but not parsed
        self._now = now
        self._rejected_at = -NEVER  # when load was last shed
        self._woken = 0  # WAKE when the handler may continue

    # Input.

    def open(self, client: str) -> None:
        """The connection is established, from the address `client`."""
        self._parser.client = client

    def receive(self, data: memoryview, now: float) -> int:
        """Bytes were received; `data` may change once an action without REFUSE is returned."""
        if self.closing or self.broken:
            return 0
        self.active_at = now
        if self.requests.receiving is None and self.requests.current is None:
            self.deadline = min(self.deadline, now + self._limits.header_s)
        self._rest = memoryview(bytes(self._rest) + data) if self._rest else data
        return self._advance(now)

    def end_input(self) -> int:
        """The client has stopped sending; a pending response is still sent.

        Unless its request would work on for long for a client that has probably gone.
        """
        self.ended = True
        current = self.requests.current
        request = None if current is None else current.request
        if request is not None and request.stops_with_client:
            return self.abort()
        receiving = self.requests.receiving
        if receiving is None or self._rest:
            return 0
        receiving.gone = True
        return WAKE

    @property
    def held_until(self) -> float:
        """When a refusal that is held may be written."""
        return self._rejected_at + PACE_S

    def release(self, now: float) -> int:
        """The refusal that is held may be written, at its time or before."""
        self.held, self._rejected_at = False, -NEVER
        return self._advance(now)

    @property
    def head_reserved(self) -> int:
        """Bytes reserved for an incomplete head."""
        return self._parser.reserved

    def read_body(self) -> int:
        """The handler has read a part of the body."""
        return self._settle(0) if self.paused else 0

    def _advance(self, now: float) -> int:
        """Parses what was received, and starts the next request."""
        self._now = now
        requests = self.requests
        actions = 0
        while True:
            if requests.current is None and requests.waiting and not (self.closing or self.held):
                self._shed_load(requests.waiting[0])
                if self._retries_early():
                    self.held = True
                    return self._settle(actions | HOLD)
                actions |= requests.start_next(blocked=self.blocked)
                if actions & REFUSE:
                    self._rejected_at = now
                    return actions
            if not self._rest or self.closing or self.broken or requests.is_full:
                return self._settle(actions)
            actions |= self._parse_slice()

    def _shed_load(self, exchange: Exchange) -> None:
        """Asks whether to refuse the next request, now that it is its turn.

        Not before: requests behind others on their connection are not in the model's queue yet, and
        only a few of them will be at a time.
        """
        shed_load, request = self._service.shed_load, exchange.request
        if shed_load is not None and request is not None and exchange.refusal is None:
            exchange.refusal = shed_load(request)
            if exchange.refusal is not None:
                exchange.part = b""

    def _retries_early(self) -> bool:
        """Whether the next response rejects a retry that came too soon after the last rejection.

        What a client pipelines is no retry: it has not seen the last rejection.
        """
        if self._now >= self.held_until or self.active_at <= self._rejected_at:
            return False
        is_pipelined = bool(self._rest) or len(self.requests.waiting) > 1
        is_rejected = self.requests.waiting[0].refusal is not None and not self.broken
        return is_rejected and not is_pipelined

    def _parse_slice(self) -> int:
        data = self._rest
        size = max(SLICE_BYTES, self._parser.expected_bytes)
        if len(data) > size:
            data, self._rest = data[:size], data[size:]
        else:
            self._rest = EMPTY
        actions = 0
        try:
            self._parser.feed(bytes(data))
        except RequestRejected as rejected:
            actions = self._refuse_in_turn(rejected.response)
            forget_frames(rejected)
        except ModelpadError as error:  # the memory budget is exhausted
            response, receiving = respond_error(error), self.requests.receiving
            forget_frames(error)
            actions = self._refuse_in_turn(response)
            if receiving is not None:
                receiving.finish()
        actions |= self._woken
        self._woken = 0
        return actions

    def _settle(self, actions: int) -> int:
        """Appends an action that pauses or resumes reading, if needed."""
        if self.closing or self.broken:
            self._rest = EMPTY
        elif self._rest and not isinstance(self._rest.obj, bytes):
            self._rest = memoryview(bytes(self._rest))  # connections share the buffer
        if self.closing:
            return actions
        if self.requests.is_behind:
            if not self.paused:
                self.paused = True
                actions |= PAUSE
        elif self.paused:
            self.paused = False
            actions |= RESUME
        return actions

    # Called by the parser.

    def begin_request(self, exchange: Exchange) -> None:
        """The head of a request is complete."""
        self.requests.begin(exchange)
        self.has_asked = True
        if not self.blocked:  # otherwise the client's time to read the response keeps running
            self.deadline = self._now + self._limits.body_s

    def add_body(self, body: bytes) -> None:
        """More of its body was received."""
        exchange = self.requests.receiving
        if exchange is None or exchange.gone or exchange.refusal is not None:
            return
        exchange.add(body)
        self._woken = WAKE

    def end_request(self) -> None:
        """The request is complete."""
        self.requests.end()
        if not self.blocked:  # else the client has to read first
            self.deadline = NEVER
        self._woken = WAKE

    # Responses.

    def keeps(self, exchange: Exchange) -> bool:
        """Whether the connection stays open after the response."""
        return exchange.keep_alive and exchange.complete and not self._service.stopping

    def wait_for_reader(self, now: float) -> None:
        """A response waits for its client to read, within the time limit of a body."""
        self.deadline = now + self._limits.body_s

    def write_part(self, now: float) -> None:
        """A part of a response was written."""
        receiving = self.requests.receiving
        self.deadline = NEVER if receiving is None else now + self._limits.body_s

    def finish_response(self, now: float) -> int:
        """The response to the current request was written."""
        requests = self.requests
        exchange = requests.finish_current()
        if self.closing:
            return 0
        if not exchange.complete:
            return self._linger()
        is_last = self.ended and not requests.waiting
        if is_last or not exchange.keep_alive or self._service.stopping:
            return self._close(now)
        if requests.receiving is None and not requests.waiting:
            self.deadline = now + self._limits.idle_s
        return self._advance(now) if requests.waiting or self._rest or self.paused else 0

    def fail_response(self) -> int:
        """The handler failed or was cancelled, or the client has disconnected."""
        if self.requests.current is not None:
            self.requests.current.finish()
        return 0 if self.closing else self.abort()

    # Closing.

    def time_out(self, now: float) -> int:
        """The deadline has passed: the client was too slow or idle for too long."""
        requests = self.requests
        if self.closing:
            return self.abort()
        if requests.current is None and requests.receiving is None and not self._parser.head_bytes:
            return self._close(now)  # an idle connection: no response is due
        if not requests.can_refuse_now:
            return self.abort()
        limits = self._limits
        return self.refuse(
            respond_problem(
                HTTPStatus.REQUEST_TIMEOUT,
                "The request took too long to arrive.",
                f"A head may take {limits.header_s:g} s, a body {limits.body_s:g} s.",
            )
        )

    def stop_when_idle(self, now: float) -> int:
        """Closes unless a request is being received or handled, or is about to arrive."""
        if self.held:
            return self.release(now)
        is_new = not self.has_asked and now < self.begun + FIRST_S
        is_idle = self.requests.is_idle and not self._parser.head_bytes and not is_new
        return self._close(now) if is_idle else 0

    def evict(self) -> int:
        """Drops its unfinished requests, to make room for another."""
        refused = self.requests.can_refuse_now
        actions = self.refuse(respond_error(too_many_bytes())) if refused else self.abort()
        self._rest = EMPTY
        self._parser.release_head()
        self.requests.drop_unfinished()
        return actions

    def refuse(self, response: Response) -> int:
        """Sends an error and closes; the request being handled is dropped."""
        self.last_response = response
        self.requests.drop_unstarted()
        return CANCEL | TELL | self._linger()

    def abort(self) -> int:
        """Closes immediately."""
        self.closing = True
        return ABORT

    def lose(self) -> int:
        """The connection is closed: its requests are dropped."""
        self.closing = True
        self._rest = EMPTY
        self._parser.close()
        self.requests.lose()
        return WAKE | CANCEL

    def _refuse_in_turn(self, response: Response) -> int:
        """Sends an error and closes, after the responses to earlier requests."""
        requests = self.requests
        receiving = requests.receiving
        if receiving is not None and receiving is requests.current:
            return self.abort() if receiving.begun else self.refuse(response)
        self.broken = True
        self.deadline = NEVER
        if receiving is None:
            receiving = Exchange(self._service.budget, keep_alive=False, is_old=False)
            requests.waiting.append(receiving)
        receiving.refusal = response
        return 0

    def _linger(self) -> int:
        """Closes after a response that came before the request was complete.

        Closing at once would reset the connection, and the client would never read the response.
        """
        self.closing = True
        resume = RESUME if self.paused else 0
        self.paused = False
        return LINGER | resume

    def _close(self, now: float) -> int:
        """Closes when the client has read the response, within the time limit of a body."""
        self.closing = True
        self.deadline = now + self._limits.body_s
        return CLOSE
