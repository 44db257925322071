"""Text as it comes: stop strings never leak, and pieces add up to the whole."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from modelpad.engine.text.text_stream import TextStream


def feed(stream: TextStream, body: bytes, sizes: list[int]) -> list[str]:
    pieces, at = [], 0
    for size in sizes:
        if at < len(body) and not stream.stopped:
            pieces.append(stream.add(body[at : at + size]))
            at += size
    while at < len(body) and not stream.stopped:
        pieces.append(stream.add(body[at : at + 1]))
        at += 1
    return [*pieces, "" if stream.stopped else stream.finish()]


def cut(text: str, stops: list[str]) -> str:
    places = [text.find(stop) for stop in stops if stop in text]
    return text[: min(places)] if places else text


@settings(max_examples=500, deadline=None)
@given(
    text=st.text("abé🙂 \n", max_size=40),
    stops=st.lists(st.text("abé🙂 \n", min_size=1, max_size=5), max_size=3),
    sizes=st.lists(st.integers(1, 7), max_size=30),
)
def test_a_text_ends_before_the_first_stop_string(
    text: str, stops: list[str], sizes: list[int]
) -> None:
    """Whichever stop string is complete first ends the text, however its bytes arrive."""
    stream = TextStream(stops)
    pieces = feed(stream, text.encode(), sizes)
    whole = "".join(pieces)
    assert not any(stop in whole for stop in stops)
    assert text.startswith(whole)
    assert stream.released == len(whole)
    assert stream.found_stop == any(stop in text for stop in stops)
    if not stream.found_stop:
        assert whole == text
    else:
        assert whole.startswith(cut(text, stops))


@settings(max_examples=300, deadline=None)
@given(body=st.binary(max_size=30), sizes=st.lists(st.integers(1, 5), max_size=20))
def test_broken_utf8_is_replaced_as_in_a_whole(body: bytes, sizes: list[int]) -> None:
    assert "".join(feed(TextStream(), body, sizes)) == body.decode("utf-8", "replace")


def test_what_may_become_a_stop_string_is_held_back() -> None:
    stream = TextStream(["END", "E!"])
    assert stream.add(b"a E") == "a "
    assert stream.add(b"N") == ""
    assert stream.add(b"x") == "ENx"
    assert stream.add("é".encode()[:1]) == ""
    assert stream.add("é".encode()[1:] + b"EN") == "é"
    assert stream.length - stream.released == 2
    assert stream.finish() == "EN"


def test_early_stop_strings_do_not_count() -> None:
    stream = TextStream(["b"])
    assert stream.add(b"abab", may_stop=False) == "abab"
    assert stream.add(b"ab") == "a"
    assert stream.found_stop
    assert stream.add(b"more") == stream.finish() == ""


@settings(max_examples=300, deadline=None)
@given(
    text=st.text("ab \n", max_size=40),
    words=st.integers(1, 5),
    sizes=st.lists(st.integers(1, 5), max_size=20),
)
def test_a_text_ends_after_so_many_words(text: str, words: int, sizes: list[int]) -> None:
    stream = TextStream(max_words=words)
    whole = "".join(feed(stream, text.encode(), sizes))
    assert whole.split() == text.split()[:words]
    assert text.startswith(whole)
    assert not stream.found_stop
    assert not (stream.stopped and whole[-1:].isspace())
