"""What a version must do before others use it: make test"""

from pathlib import Path

import modelpad

NAME = "@NAME@"


def test_it_recognises_most_of_the_data():
    files = sorted(Path("data").glob("*/*.png"))[::5]
    predictions = modelpad.load(NAME).predict_batch(files)
    right = [one.label == file.parent.name for one, file in zip(predictions, files, strict=True)]
    assert sum(right) >= 0.8 * len(right)
