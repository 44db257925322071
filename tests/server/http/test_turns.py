"""Workers that share a listening socket accept in turns."""

from __future__ import annotations

from modelpad.server.http.turns import MAX_WORKERS, AcceptTurns


def join(turns: AcceptTurns, connections: int) -> int:
    """Another worker with so many connections; its place."""
    place = turns.reserve()
    turns.report(connections)
    return place


def test_the_worker_with_the_fewest_connections_is_next() -> None:
    turns = AcceptTurns()
    assert turns.is_next(7)  # there is no other
    join(turns, 1)
    assert join(turns, 0) == 1
    assert turns.is_next(0)
    assert not turns.is_next(1)


def test_among_many_connections_a_few_more_do_not_matter() -> None:
    turns = AcceptTurns()
    join(turns, 64)
    assert turns.is_next(68)
    assert not turns.is_next(69)


def test_workers_that_left_or_died_are_not_waited_for() -> None:
    turns = AcceptTurns()
    dead, leaving = join(turns, 0), join(turns, 0)
    turns.leave()
    assert join(turns, 5) > leaving > dead
    assert not turns.is_next(5)
    turns.release(dead)
    assert turns.is_next(5)
    assert turns.reserve() == dead


def test_more_workers_than_places_share_the_last() -> None:
    turns = AcceptTurns()
    places = [turns.reserve() for _ in range(MAX_WORKERS + 2)]
    assert places[-3:] == [MAX_WORKERS - 1] * 3
