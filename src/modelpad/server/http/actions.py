"""What a connection may have to do next, as bits of a mask: a mask costs no allocation."""

from __future__ import annotations

from typing import Final

START: Final = 1  # call the handler for the current request
REFUSE: Final = 2  # write the refusal of the current request, then call `finish_response`
WAKE: Final = 4  # the handler, if it waits for more of the body
PAUSE: Final = 8  # reading
RESUME: Final = 16  # reading
CANCEL: Final = 32  # the handler
TELL: Final = 64  # write `last_response`
LINGER: Final = 128  # send the end of file, and abort a little later
CLOSE: Final = 256  # when everything written has been sent
ABORT: Final = 512  # at once
HOLD: Final = 1024  # back the refusal of a client that retries: call `release` at `held_until`
