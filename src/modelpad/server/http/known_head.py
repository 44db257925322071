"""What a request's head says, and whether the next request may be compared with its bytes.

Clients that keep a connection mostly send the same head again and again, and comparing bytes takes
a fraction of the time of parsing them.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

HEAD_END = b"\r\n\r\n"
MAX_BYTES = 2048  # of a head that a connection keeps


class Head(msgspec.Struct, frozen=True):
    """A parsed head. Of its `fields`, repeated ones count each; `cost` is in bytes of memory.

    `body_bytes` is the length of the body that it declares, None if it does not say it plainly.
    """

    method: str
    path: str
    query: bytes
    headers: Mapping[str, str]
    fields: int
    cost: int
    keep_alive: bool
    is_old: bool
    expects: bool
    body_bytes: int | None

    @property
    def can_repeat(self) -> bool:
        """Whether a request with the same bytes begins and ends in the same way."""
        plain = self.keep_alive and not self.is_old and not self.expects
        return plain and self.body_bytes is not None


def find_head(data: bytes, fields: int) -> bytes:
    """The head at the start of `data`, if it plainly has so many fields; else b"".

    Nothing that might be read in more than one way is such a head: other line ends, folded lines,
    empty lines in front.
    """
    end = data.find(HEAD_END, 0, MAX_BYTES)
    if end < 0 or not data[:1].isalpha():
        return b""
    text = data[: end + len(HEAD_END)]
    counts = {text.count(b"\r\n"), text.count(b"\r"), text.count(b"\n")}
    return text if counts == {fields + 2} else b""
