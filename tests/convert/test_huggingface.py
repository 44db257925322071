"""Hugging Face folders: imported without a network, served, compared with transformers itself."""

from __future__ import annotations

import inspect
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
pytest.importorskip("torch")
pytest.importorskip("onnxscript")
pytest.importorskip("transformers")

from modelpad.convert.huggingface import find_task, open_folder
from modelpad.convert.source import ImportRequest
from modelpad.errors import ConversionFailed, NotTrusted
from modelpad.fields import Tokenizer
from tests.conftest import Server
from tests.convert.tiny_huggingface import CASES, MAX_TOKENS, TEXTS, save_folder

TEXT_CASES = [name for name, case in CASES.items() if case.prepare in ("wordpiece", "bpe")]
IMAGE_CASES = [name for name in CASES if name not in TEXT_CASES]
QUICK = ("bert",)
ASKED = (*TEXTS[:2], "an UNSEEN wörd, 12.5 %", "long " * 400)

# An import needs no network: each attempt is recorded, since libraries may hide its failure.
WITHOUT_NETWORK = """
import os, socket, sys

def refuse(*arguments, **keywords):
    with open(os.environ["ATTEMPTS"], "a") as file:
        file.write(repr(arguments) + chr(10))
    raise OSError("no network")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
from modelpad.cli.main import main
sys.exit(main())
"""


def mark_long(names: Sequence[str]) -> list[Any]:
    """All but one model of each kind take part only in `make test-long`."""
    long = (pytest.mark.slow, pytest.mark.long)
    return [pytest.param(name, marks=() if name in QUICK else long) for name in names]


@dataclass(frozen=True)
class Served:
    """A model that is served, and the same one in transformers."""

    name: str
    folder: Path
    server: Server
    grpc: str
    manifest: dict[str, Any]
    model: Any

    def choose(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Those of a tokenizer's or processor's results that the model takes."""
        taken = inspect.signature(self.model.forward).parameters
        return {key: np.asarray(value) for key, value in inputs.items() if key in taken}

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """What transformers predicts."""
        import torch

        with torch.no_grad():
            outputs = self.model(**{key: torch.from_numpy(each) for key, each in inputs.items()})
        return {key: value.numpy() for key, value in outputs.items()}

    def predict(self, **inputs: Any) -> dict[str, Any]:
        response = httpx.post(f"{self.server.url}/predict/{self.name}", json=inputs, timeout=60)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = json.loads(response.text)
        return answer


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root = tmp_path_factory.mktemp("folders")

    def make(name: str) -> Path:
        folder = root / name
        if not folder.exists():
            save_folder(CASES[name], folder)
        return folder

    return make


@pytest.fixture
def open_served(
    folders: Callable[[str], Path],
    start_serving: Callable[..., AbstractContextManager[tuple[Server, str]]],
    tmp_path: Path,
) -> Iterator[Callable[[str], Served]]:
    """Imports a folder in a process without a network, and serves it in another."""
    from contextlib import ExitStack

    import transformers

    with ExitStack() as stack:

        def go(name: str) -> Served:
            folder, store = folders(name), tmp_path / "store"
            attempts = tmp_path / "attempts"
            environment = os.environ | {"MODELPAD_STORE": str(store), "ATTEMPTS": str(attempts)}
            environment.pop("HF_HUB_OFFLINE", None)
            command = [sys.executable, "-c", WITHOUT_NETWORK, "import", str(folder)]
            done = subprocess.run(
                [*command, "--name", name], env=environment, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
            assert not attempts.exists(), attempts.read_text()
            server, grpc = stack.enter_context(start_serving(name, "--workers", "1", store=store))
            found = next(store.rglob("manifest.json"))
            architecture = getattr(transformers, CASES[name].architecture)
            model = architecture.from_pretrained(folder).eval()
            return Served(name, folder, server, grpc, json.loads(found.read_text()), model)

        yield go


def check_raw(served: Served, inputs: dict[str, Any]) -> None:
    """The model's own tensors over Open Inference in JSON, and over gRPC."""
    import tritonclient.grpc as triton

    expected = served.run(inputs)
    kinds = {"int64": "INT64", "float32": "FP32"}
    tensors = [
        {
            "name": key,
            "datatype": kinds[str(value.dtype)],
            "shape": list(value.shape),
            "data": value.reshape(-1).tolist(),
        }
        for key, value in inputs.items()
    ]
    url = f"{served.server.url}/v2/models/{served.name}/infer"
    response = httpx.post(url, json={"inputs": tensors}, timeout=60)
    assert response.status_code == 200, response.text
    got = {
        each["name"]: np.reshape(each["data"], each["shape"]) for each in response.json()["outputs"]
    }
    assert got.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(got[key], value, rtol=1e-4, atol=1e-4)
    asked = []
    for key, value in inputs.items():
        asked.append(triton.InferInput(key, list(value.shape), kinds[str(value.dtype)]))
        asked[-1].set_data_from_numpy(value)
    with triton.InferenceServerClient(served.grpc) as client:
        result = client.infer(served.name, asked)
    for key, value in expected.items():
        np.testing.assert_allclose(result.as_numpy(key), value, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", mark_long(TEXT_CASES))
def test_text(open_served: Callable[[str], Served], name: str) -> None:
    import transformers

    served = open_served(name)
    assert served.manifest["task"] == CASES[name].task
    assert served.manifest["preparation"]["text"] == {
        "name": "tokenizer",
        "file": "tokenizer.json",
        "max_length": MAX_TOKENS,
    }
    tokenizer = transformers.AutoTokenizer.from_pretrained(served.folder)
    padded = tokenizer([*TEXTS], padding=True, return_tensors="np")
    check_raw(served, served.choose(padded))
    for text in ASKED:
        options = {"truncation": True, "max_length": MAX_TOKENS, "return_tensors": "np"}
        expected = served.run(served.choose(tokenizer([text], **options)))
        check_typed(served, served.predict(text=text), expected)


def check_typed(served: Served, answer: dict[str, Any], expected: dict[str, Any]) -> None:
    if CASES[served.name].task in ("text-classification", "image-classification"):
        logits = expected["logits"][0].astype(np.float64)
        scores = np.exp(logits) / np.exp(logits).sum()
        if served.model.config.problem_type == "multi_label_classification":
            scores = 1 / (1 + np.exp(-logits))
        got = sorted(answer["scores"].values())
        np.testing.assert_allclose(got, np.sort(scores), rtol=0, atol=1e-4)
        assert answer["label"].startswith(served.model.config.id2label[int(scores.argmax())])
        return
    assert answer["outputs"].keys() == expected.keys()
    for name, wanted in expected.items():
        np.testing.assert_allclose(answer["outputs"][name], wanted[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", mark_long(IMAGE_CASES))
def test_images(open_served: Callable[[str], Served], name: str, data_root: Path) -> None:
    import transformers
    from PIL import Image

    served = open_served(name)
    assert served.manifest["task"] == "image-classification"
    processor = transformers.AutoImageProcessor.from_pretrained(served.folder, backend="pil")
    photos = [Image.open(each) for each in sorted((data_root / "photos").glob("*.jpg"))[:3]]
    prepared = dict(processor(photos, return_tensors="np"))
    check_raw(served, prepared)
    for index, photo in enumerate(photos):
        file = io.BytesIO()
        photo.save(file, "PNG")
        body = file.getvalue()
        url = f"{served.server.url}/predict/{name}"
        response = httpx.post(url, content=body, headers={"content-type": "image/png"}, timeout=60)
        assert response.status_code == 200, response.text
        expected = {key: value[index : index + 1] for key, value in served.run(prepared).items()}
        check_typed(served, json.loads(response.text), expected)


@pytest.mark.parametrize("name", IMAGE_CASES)
def test_photos_are_prepared_as_the_processor_does(
    folders: Callable[[str], Path], name: str, data_root: Path
) -> None:
    import transformers
    from PIL import Image

    from modelpad.convert.huggingface_image import read_image_spec
    from modelpad.convert.input_plan import plan_inputs
    from modelpad.convert.plans import Evidence
    from modelpad.convert.source import TensorSpec
    from modelpad.engine.typed import TypedInputs

    processor = transformers.AutoImageProcessor.from_pretrained(folders(name), backend="pil")
    spec = read_image_spec(transformers, folders(name))
    assert spec is not None
    tensor = TensorSpec("pixel_values", "float32", (None, 3, None, None))
    plan = plan_inputs("huggingface", [tensor], [spec], Evidence({}))[0]
    typed = TypedInputs([plan.field], [plan.binding])
    for photo in sorted((data_root / "photos").glob("*.jpg"))[:8]:
        wanted = processor(Image.open(photo), return_tensors="np")["pixel_values"]
        got: Any = typed.decode({plan.field.name: photo.read_bytes()})["pixel_values"]
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5)


def test_pickled_weights_need_trust(folders: Callable[[str], Path], tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    folder = tmp_path / "pickled"
    shutil.copytree(folders("bert"), folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(NotTrusted, match="pickled weights"):
        open_folder(folder, ImportRequest())
    assert open_folder(folder, ImportRequest(trust=True)).task == "text-classification"


def test_code_in_the_folder_is_not_run(folders: Callable[[str], Path], tmp_path: Path) -> None:
    folder = tmp_path / "own"
    shutil.copytree(folders("bert"), folder)
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = ["OwnForSequenceClassification"]
    config["auto_map"] = {"AutoModelForSequenceClassification": "own.OwnForSequenceClassification"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(NotTrusted, match="Python code"):
        open_folder(folder, ImportRequest())
    del config["auto_map"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConversionFailed, match="has no OwnForSequenceClassification"):
        open_folder(folder, ImportRequest())
    assert not (tmp_path / "ran").exists()


def test_missing_weights_are_not_made_up(folders: Callable[[str], Path], tmp_path: Path) -> None:
    folder = tmp_path / "headless"
    shutil.copytree(folders("mask"), folder)
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = ["BertForSequenceClassification"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConversionFailed, match=r"lack .*classifier"):
        open_folder(folder, ImportRequest())


def test_a_missing_pooler_is_left_out(folders: Callable[[str], Path], tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(folders("mask"), folder)
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = ["BertModel"]
    (folder / "config.json").write_text(json.dumps(config))
    source = open_folder(folder, ImportRequest())
    assert [spec.name for spec in source.outputs] == ["last_hidden_state"]
    assert source.task == "feature-extraction"


def test_without_a_tokenizer_there_is_only_the_raw_contract(
    folders: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = tmp_path / "bare"
    shutil.copytree(
        folders("bert"), folder, ignore=lambda _, names: [n for n in names if "token" in n]
    )
    source = open_folder(folder, ImportRequest())
    names = [spec.name for spec in source.inputs]
    assert names == ["input_ids", "attention_mask", "token_type_ids"]
    assert source.tokenizer is None
    assert not source.input_specs()


def test_positions_of_roberta_start_after_padding(folders: Callable[[str], Path]) -> None:
    source = open_folder(folders("roberta"), ImportRequest())
    assert source.tokenizer is not None
    assert source.tokenizer.max_length == MAX_TOKENS
    lengths = {len(item["input_ids"]) for item in source.hard_samples()}
    assert {1, MAX_TOKENS} <= lengths
    assert any(0 in item["attention_mask"] for item in source.hard_samples())


def test_tasks_are_known_by_architecture() -> None:
    assert find_task("MPNetModel") == "feature-extraction"
    for name in ("GPT2LMHeadModel", "LlamaForCausalLM", "BertForMultipleChoice"):
        with pytest.raises(ConversionFailed, match="not supported"):
            find_task(name)


def test_a_folder_of_something_else_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"colour": 1}')
    with pytest.raises(ConversionFailed, match="does not describe a Hugging Face model"):
        open_folder(tmp_path, ImportRequest())


def test_a_tokenizer_in_a_manifest_keeps_its_parameters() -> None:
    tokenizer = Tokenizer("tokenizer.json", 512, "input_ids", "attention_mask")
    assert Tokenizer.from_dict(tokenizer.to_dict()) == tokenizer
    with pytest.raises(ValueError, match="max_length"):
        Tokenizer("tokenizer.json", 0, "input_ids")
