"""The painter that ships with modelpad."""

from __future__ import annotations

import io
import itertools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from modelpad.bundle import open_bundle
from modelpad.engine import Session
from modelpad.fields.blend import Blend
from modelpad.zoo import zoo_bundles
from modelpad.zoo.example_files import draw_photo

STYLES = ("the_scream", "the_shipwreck_of_the_minotaur", "udnie", "wave")


@pytest.fixture(scope="module")
def session() -> Session:
    return Session(open_bundle(zoo_bundles()["styles"]))


def paint(session: Session, **settings: Any) -> NDArray[np.float32]:
    photo = Image.open(io.BytesIO(draw_photo())).resize((131, 97))
    file = io.BytesIO()
    photo.save(file, "PNG")
    values = {"image": file.getvalue(), **settings}
    found = session.predict(session.typed.decode(values))["picture"]
    return np.asarray(found, np.float32)


def test_each_style_looks_different(session: Session) -> None:
    (style,) = (field for field in session.signature.inputs if isinstance(field, Blend))
    assert style.choices == STYLES
    painted = {name: paint(session, style=name) for name in STYLES}
    assert {each.shape for each in painted.values()} == {(97, 131, 3)}
    for one, other in itertools.combinations(STYLES, 2):
        assert np.abs(painted[one] - painted[other]).mean() > 10, (one, other)


def test_strength_0_is_the_photograph(session: Session) -> None:
    photo = np.asarray(Image.open(io.BytesIO(draw_photo())).resize((131, 97)), np.float32)
    assert np.abs(paint(session, strength=0) - photo).max() < 1
    assert np.abs(paint(session, strength=1) - photo).mean() > 10


def test_it_is_small_and_shows_its_paintings(session: Session) -> None:
    folder = session.bundle.folder
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 1_000_000
    (style,) = (field for field in session.signature.inputs if isinstance(field, Blend))
    pictures = [Image.open(session.bundle.path(name)) for name in style.pictures]
    assert [picture.size for picture in pictures] == [(96, 96)] * len(STYLES)
