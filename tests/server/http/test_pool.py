"""Which connections are closed when there are too many, or too many bytes; no sockets."""

from __future__ import annotations

from modelpad.server.budget import ByteBudget
from modelpad.server.http.exchange import Exchange
from modelpad.server.http.messages import Request, Response, ServerLimits
from modelpad.server.http.pool import ConnectionPool
from modelpad.server.http.service import Service
from modelpad.server.http.state import ConnectionState

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
BUDGET = 1 << 20


async def handle(request: Request) -> Response:
    raise AssertionError("no handler runs")


async def read(exchange: Exchange) -> tuple[bytes, bool]:
    raise AssertionError("no body is read")


class Member:
    """A connection that notes what the pool does with it."""

    def __init__(self, service: Service, now: float = 0.0) -> None:
        self.state = ConnectionState(service, read, now)
        self.unsent_bytes = 0
        self.calls: list[str] = []

    def send(self, data: bytes, now: float = 0.0) -> None:
        self.state.receive(memoryview(data), now)

    def evict(self) -> None:
        self.calls.append("evict")
        self.state.evict()

    def abort(self) -> None:
        self.calls.append("abort")
        self.state.abort()

    def time_out(self, now: float) -> None:
        self.calls.append("time out")
        self.state.time_out(now)


def make_pool(count: int) -> tuple[ConnectionPool[Member], list[Member]]:
    """Members that connected one second after the other."""
    budget = ByteBudget(BUDGET)
    service = Service(handle, ServerLimits(), budget)
    pool: ConnectionPool[Member] = ConnectionPool(budget)
    members = [Member(service, now) for now in range(count)]
    pool.open.update(members)
    return pool, members


def test_lingering_then_silent_then_idle_connections_make_room() -> None:
    pool, (idle, silent, late, busy, lingering) = make_pool(5)
    idle.send(GET)
    idle.state.finish_response(0)
    busy.send(GET)
    lingering.state.abort()
    pool.linger(lingering)
    order = []
    while pool.evict_idlest():
        order.append(next(each for each in (idle, silent, late, lingering) if each.calls))
        order[-1].calls.clear()
    assert order == [lingering, silent, late, idle]
    assert pool.open == {busy}
    assert len(pool) == 1


def test_the_connection_silent_for_longest_makes_room() -> None:
    pool, (first, second) = make_pool(2)
    first.send(GET[:5], now=10)
    assert pool.evict_idlest()
    assert (first.calls, second.calls) == ([], ["abort"])


def test_the_largest_unfinished_request_makes_room() -> None:
    pool, (large, small, busy) = make_pool(3)
    post = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
    large.send(post % 900_000 + bytes(500_000))
    small.send(post % 100_000 + bytes(50_000))
    busy.send(post % 200_000 + bytes(200_000))  # complete: its handler runs
    small.send(bytes(49_000))
    assert (large.calls, small.calls, busy.calls) == ([], [], [])
    new = Member(large.state._service)
    pool.open.add(new)
    new.send(post % 400_000 + bytes(300_000))
    assert (large.calls, small.calls, busy.calls) == (["evict"], [], [])
    assert not new.state.broken


def test_unsent_responses_count_as_evictable() -> None:
    pool, (slow,) = make_pool(1)
    slow.send(GET)
    assert slow.state.requests.current is not None
    slow.state.requests.current.begun = True
    slow.unsent_bytes = 500_000
    pool.evict_bytes(1, 1000)
    assert slow.calls == []
    slow.state.blocked = True
    pool.evict_bytes(1, 1000)
    assert slow.calls == ["evict"]


def test_each_sweep_times_out_what_is_due() -> None:
    pool, (first, second) = make_pool(2)
    limit = ServerLimits().header_s
    pool.discard(Member(first.state._service))
    assert pool.time_out(limit + 0.5) == 1
    assert (first.calls, second.calls) == (["time out"], [])
    assert pool.time_out(limit + 1.5) == 0
    assert second.calls == ["time out"]
