"""Settings in folders of models: Triton's `config.pbtxt`, MLflow's `MLmodel`."""

from __future__ import annotations

from contextlib import suppress

from modelpad.convert.folders.pbtxt import (
    integers_at,
    message_at,
    messages_at,
    parse_pbtxt,
    text_at,
    texts_at,
)
from modelpad.convert.folders.yaml_subset import parse_yaml
from modelpad.errors import ModelpadError

DECODERS = ("modelpad.convert.folders.pbtxt", "modelpad.convert.folders.yaml_subset")


def fuzz(data: bytes) -> None:
    """The text is rejected, or its values can be read."""
    text = data.decode("utf-8", "replace")
    with suppress(ValueError, ModelpadError):
        parse_yaml(text)
    with suppress(ValueError, ModelpadError):
        message = parse_pbtxt(text)
        for key in message:
            for read in (texts_at, text_at, integers_at, messages_at, message_at):
                with suppress(ValueError, ModelpadError):
                    read(message, key)
