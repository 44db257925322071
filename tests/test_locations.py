"""Where a user's files are."""

from __future__ import annotations

import os
from pathlib import Path

from modelpad.locations import locate_cache, locate_data, locate_store


def test_a_store_that_is_given_comes_before_the_environment() -> None:
    variables = {"MODELPAD_STORE": "/store", "XDG_DATA_HOME": "/data"}
    assert locate_store("/given", variables) == Path("/given")
    assert locate_store(Path("/given"), variables) == Path("/given")
    assert locate_store(None, variables) == Path("/store")
    assert locate_store(None, {"XDG_DATA_HOME": "/data"}) == Path("/data/modelpad/store")
    assert locate_store(None, {}) == Path.home() / ".local" / "share" / "modelpad" / "store"


def test_the_cache_is_the_users() -> None:
    assert locate_cache({"MODELPAD_CACHE": "/cache", "XDG_CACHE_HOME": "/xdg"}) == Path("/cache")
    assert locate_cache({"XDG_CACHE_HOME": "/xdg"}) == Path("/xdg/modelpad")
    assert locate_cache({}) == Path.home() / ".cache" / "modelpad"


def test_folders_of_data_sets_are_separated_as_in_path() -> None:
    assert locate_data({}) == ()
    assert locate_data({"MODELPAD_DATA": f"/a{os.pathsep}/b{os.pathsep}"}) == (
        Path("/a"),
        Path("/b"),
    )
