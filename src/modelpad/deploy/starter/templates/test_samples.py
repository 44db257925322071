"""What a version must do before others use it: make test"""

import modelpad

NAME = "@NAME@"


def test_it_answers_its_samples():
    model = modelpad.load(NAME)
    for sample in model.bundle.manifest.samples:
        model.predict(model.bundle.sample_values(sample.inputs))
