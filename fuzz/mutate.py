"""Byte mutations, for machines without Atheris; the same seed gives the same inputs."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

MAX_BYTES = 1 << 14
# Classic parser trouble: boundary numbers, brackets, line ends, encodings.
TOKENS = [
    *(str(number).encode() for number in (0, -1, 1, 2**31, 2**32, 2**63, -(2**63), 2**64, 2**70)),
    *(b"1e400", b"-1e400", b"1e-400", b"NaN", b"Infinity", b"-0", b"0.5", b"9" * 400),
    *(b"null", b"true", b"false", b"[]", b"{}", b'""', b"[[[[", b"]]]]", b'{"b64":', b'"b64"'),
    *(b"\r\n", b"\r\n\r\n", b"\n", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\\ud800"),
    *(b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\x01", b"\xff" * 10),
    *(b"data:image/png;base64,", b"base64,", b"../", b"/etc/passwd", b"%00", b"%2e%2e", b":", b";"),
    *(b"transfer-encoding: chunked\r\n", b"content-length: 5\r\n", b"expect: 100-continue\r\n"),
    *(b"connection: close\r\n", b"upgrade: h2c\r\n", b"0\r\n\r\n", b"ffffffffffffffff\r\n"),
    *(b"FP16", b"BYTES", b"BOOL", b"INT8", b"UINT64", b"binary_data_size", b"classification"),
]


def mutate(data: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    """`data` after a few random edits, some of which splice in parts of `others`."""
    body = bytearray(data)
    for _ in range(1 << chance.randrange(5)):
        step = chance.randrange(9)
        at = chance.randrange(len(body) + 1)
        end = min(len(body), at + (1 << chance.randrange(8)))
        if step == 0 and body:
            body[at % len(body)] ^= 1 << chance.randrange(8)
        elif step == 1 and body:
            body[at % len(body)] = chance.randrange(256)
        elif step == 2:
            del body[at:end]
        elif step == 3:
            body[at:at] = body[at:end] * chance.randrange(1, 4)
        elif step == 4:
            body[at:at] = chance.choice(TOKENS)
        elif step == 5:
            token = chance.choice(TOKENS)
            body[at : at + len(token)] = token
        elif step == 6:
            other = chance.choice(others)
            start = chance.randrange(len(other) + 1)
            body[at:end] = other[start : start + (1 << chance.randrange(8))]
        elif step == 7:
            _replace_number(body, chance)
        else:
            body[at:at] = chance.randbytes(1 << chance.randrange(5))
    return bytes(body[:MAX_BYTES])


def _replace_number(body: bytearray, chance: random.Random) -> None:
    """Replaces a random number in the body with another one."""
    digits = b"0123456789"
    starts = [place for place, byte in enumerate(body) if byte in digits]
    if not starts:
        return
    start = end = chance.choice(starts)
    while end < len(body) and body[end] in digits:
        end += 1
    body[start:end] = chance.choice(TOKENS[:17])


def mutate_forever(corpus: Sequence[bytes], seed: int) -> Iterator[bytes]:
    """An endless stream of mutations of a corpus."""
    chance = random.Random(seed)
    while True:
        yield mutate(chance.choice(corpus), corpus, chance)
