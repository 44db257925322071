"""Opens a bundle with the kind of session that its model needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelpad.engine.session import Session

if TYPE_CHECKING:
    from modelpad.bundle import Bundle
    from modelpad.engine.graph import SessionSettings
    from modelpad.engine.text import TextSession


def open_session(bundle: Bundle, settings: SessionSettings | None = None) -> Session | TextSession:
    """The session of a model, without an engine. Raises `BundleInvalid`, `MissingExtra`."""
    if bundle.manifest.sequence is None:
        return Session(bundle, settings)
    from modelpad.engine.text import TextSession  # not for other models' cold start

    return TextSession(bundle, settings)
