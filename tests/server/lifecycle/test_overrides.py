"""What admins loaded and unloaded: the last word on a name counts."""

from __future__ import annotations

from modelpad.server.lifecycle.overrides import LOAD, UNLOAD, Overrides


def test_a_name_is_either_loaded_or_unloaded() -> None:
    overrides = Overrides()
    overrides.note(UNLOAD, "digits")
    assert (overrides.loaded, overrides.unloaded) == (set(), {"digits"})
    overrides.note(LOAD, "digits")
    assert (overrides.loaded, overrides.unloaded) == ({"digits"}, set())
    overrides.note(UNLOAD, "digits")
    assert (overrides.loaded, overrides.unloaded) == (set(), {"digits"})


def test_names_do_not_affect_each_other() -> None:
    overrides = Overrides()
    overrides.note(LOAD, "a")
    overrides.note(UNLOAD, "b")
    overrides.note(UNLOAD, "b")
    assert (overrides.loaded, overrides.unloaded) == ({"a"}, {"b"})


def test_overrides_share_nothing() -> None:
    first, second = Overrides(), Overrides()
    first.note(LOAD, "a")
    first.versions["a"] = 1
    assert second == Overrides()
