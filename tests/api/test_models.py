"""`modelpad.load`: the bundled models, and models of several inputs, with all kinds of values."""

from __future__ import annotations

import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import pytest
from PIL import Image

import modelpad
from modelpad.api.cards import write_card
from modelpad.bundle import Bundle, Manifest, write_bundle
from modelpad.errors import InvalidInput, ModelNotFound
from modelpad.fields import Label, Number, Signature
from modelpad.fields.signature import Binding


@pytest.fixture(scope="module")
def digits_model() -> modelpad.Model:
    return modelpad.load("digits", threads=1)


@pytest.fixture(scope="module")
def sizes(tmp_path_factory: pytest.TempPathFactory) -> modelpad.Model:
    """A table of two columns, one of which has a default, and a colour that it ignores."""
    from onnx import TensorProto, helper

    shapes = [
        helper.make_tensor_value_info("row", TensorProto.DOUBLE, ["batch", 2]),
        helper.make_tensor_value_info("kind", TensorProto.DOUBLE, ["batch", 2]),
    ]
    nodes = [helper.make_node("Softmax", ["row"], ["kind"], axis=-1)]
    graph = helper.make_graph(nodes, "sizes", shapes[:1], shapes[1:])
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    signature = Signature(
        (Number("width"), Number("height", default=1.0)),
        (Label("kind", ("wide", "<high>")),),
        input_bindings=(Binding("row", column=0), Binding("row", column=1)),
        output_bindings=(Binding("kind"),),
    )
    manifest = Manifest(name="sizes", task="test", title="<b>Sizes</b>", signature=signature)
    folder = tmp_path_factory.mktemp("sizes") / "sizes"
    write_bundle(folder, manifest, {"model.onnx": model.SerializeToString()})
    return modelpad.load(folder)


def test_a_picture_in_any_form(digits_model: modelpad.Model, digits: Bundle) -> None:
    path = digits.path("samples/7.png")
    picture = Image.open(path)
    grey = np.asarray(picture.convert("L"))
    forms: list[Any] = [path, str(path), path.read_bytes(), picture, grey, grey[..., None]]
    assert {digits_model(form).label for form in forms} == {"7"}
    prediction = digits_model(image=path)
    assert_type(prediction, modelpad.Prediction)
    assert prediction.labels == ["7"]
    assert prediction.scores["7"] == prediction.confidence > 0.9
    assert (prediction.model, prediction.version) == ("digits", 1)


def test_a_batch_gives_what_single_predictions_give(
    digits_model: modelpad.Model, digits: Bundle
) -> None:
    paths = [digits.path(f"samples/{number % 10}.png") for number in range(40)]
    single = [digits_model(path) for path in paths[:10]]
    batch = digits_model.predict_batch(iter(paths))
    assert [one.label for one in batch] == list("0123456789" * 4)
    for one, other in zip(batch[:10], single, strict=True):
        assert one.confidence == pytest.approx(other.confidence, abs=1e-5)


def test_the_number_of_a_wrong_item_is_in_the_error(
    digits_model: modelpad.Model, digits: Bundle
) -> None:
    good = digits.path("samples/1.png")
    for wrong in ("gone.png", b"no picture"):
        with pytest.raises(
            InvalidInput, match=r"Item 33: .*(No such file|not a picture)"
        ) as caught:
            digits_model.predict_batch([*[good] * 33, wrong])
        assert caught.value.details["item"] == 33


def test_tables_take_rows_of_data_frames(sizes: modelpad.Model) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"width": [3.0, 0.0], "height": [1.0, 2.0]})
    assert [one.label for one in sizes.predict_batch(frame)] == ["wide", "<high>"]
    assert sizes(frame.iloc[0]).label == sizes(frame.head(1)).label == "wide"
    assert sizes({"width": 0.0, "height": 2.0}).label == sizes(0.0).label == "<high>"
    assert sizes(3.0, height=np.float32(2)).label == "wide"
    with pytest.raises(InvalidInput, match="2 rows is not one item"):
        sizes(frame)
    with pytest.raises(InvalidInput, match="no field 'depth'"):
        sizes.predict_batch(frame.assign(depth=1))


def test_text_and_tensors(bundles: Path) -> None:
    assert modelpad.load(bundles / "echo")("words").value == "words"
    mix = modelpad.load(bundles / "mix")
    first = np.array([1, 2, 3, 4])
    total = mix(first=first, second=[1, 1, 1, 1]).outputs["total"]
    assert isinstance(total, np.ndarray)
    np.testing.assert_array_equal(total, first + 1)
    with pytest.raises(InvalidInput, match="several inputs"):
        mix(first)
    writer = modelpad.load("writer")
    text = writer("The film", words=3, temperature=0).value
    assert (
        text
        == writer.predict_batch([{"prompt": "The film", "words": 3, "temperature": 0}])[0].value
    )


def test_pictures_come_out_as_pictures(styles: str) -> None:
    painted = modelpad.load(styles)(np.zeros((48, 64, 3), np.uint8)).value
    assert isinstance(painted, Image.Image)
    assert painted.size == (64, 48)


def test_threads_share_a_model(digits_model: modelpad.Model, digits: Bundle) -> None:
    paths = [digits.path(f"samples/{number}.png") for number in range(10)]
    labels: list[str] = [""] * 10

    def predict(number: int) -> None:
        labels[number] = digits_model(paths[number]).label

    threads = [threading.Thread(target=predict, args=[number]) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert labels == list("0123456789")


def test_errors_are_those_of_the_command_line() -> None:
    with pytest.raises(modelpad.ModelpadError, match="no model 'digts'") as caught:
        modelpad.load("digts")
    assert isinstance(caught.value, ModelNotFound)
    assert "Did you mean digits?" in "".join(traceback.format_exception(caught.value))


def test_representations(
    digits_model: modelpad.Model, digits: Bundle, sizes: modelpad.Model
) -> None:
    assert repr(digits_model) == "<Model digits version 1: (image: sketch) -> (label: label)>"
    assert "Test accuracy" in digits_model._repr_html_()
    assert "Known limits" in write_card("digits", 1, digits)
    prediction = sizes(width=0.0, height=0.0)
    assert repr(prediction) == "<Prediction of sizes version 1: wide, 50.0 %>"
    html = prediction._repr_html_() + sizes._repr_html_()
    assert "&lt;high&gt;" in html
    assert "&lt;b&gt;Sizes" in html
    assert "<high>" not in html
    assert "<b>Sizes" not in html


def test_the_package_lists_its_names_and_loads_none() -> None:
    code = "import sys, modelpad; print(*dir(modelpad)); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names, modules = (line.split() for line in done.stdout.splitlines())
    assert {*modelpad.__all__} <= {*names}
    assert [name for name in modules if name.startswith("modelpad")] == ["modelpad"]
    assert all(getattr(modelpad, name) for name in modelpad.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        modelpad.nothing  # type: ignore[attr-defined]  # noqa: B018
