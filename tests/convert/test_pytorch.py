"""PyTorch models of every form, from the file to an answer over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(1)
MODULE = """
import torch

def make_net():
    n = torch.nn
    return n.Sequential(
        n.Conv2d(3, 6, 3), n.BatchNorm2d(6), n.ReLU(), n.Dropout(),
        n.AdaptiveAvgPool2d(2), n.Flatten(), n.Linear(24, 4),
    )
"""
PICTURE = ("--input", "image:20x20x3,scale=imagenet", "--output", "labels:a,b,c,d,from=logits")


@pytest.fixture
def net(tmp_path: Path) -> Any:
    (tmp_path / "mynet.py").write_text(MODULE)
    made: dict[str, Any] = {}
    exec(MODULE, made)
    torch.manual_seed(5)
    module = made["make_net"]()
    module[1].running_mean.uniform_(-0.5, 0.5)
    module[1].running_var.uniform_(0.5, 1.5)
    return module.eval()


def check_pictures(ask: Any, net: Any, assert_close: Any) -> None:
    """Pixels 0..255 over HTTP answer as the module does on what torchvision prepares."""
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    for _ in range(3):
        pixels = RNG.integers(0, 256, (20, 20, 3))
        prepared = ((pixels / 255 - mean) / deviation).transpose(2, 0, 1)[None]
        with torch.no_grad():
            expected = net(torch.from_numpy(prepared.astype(np.float32))).softmax(1)[0]
        assert_close(ask({"image": pixels.tolist()}), expected.numpy())


@pytest.mark.slow
@pytest.mark.long
def test_exported_program(served: Any, net: Any, tmp_path: Path, assert_close: Any) -> None:
    example = (torch.rand(2, 3, 20, 20),)
    batch = torch.export.Dim("batch")
    torch.export.save(
        torch.export.export(net, example, dynamic_shapes=({0: batch},)), tmp_path / "net.pt2"
    )
    check_pictures(served(str(tmp_path / "net.pt2"), *PICTURE), net, assert_close)


@pytest.mark.slow
@pytest.mark.long
def test_exported_program_with_a_fixed_batch(
    served: Any, net: Any, tmp_path: Path, assert_close: Any
) -> None:
    torch.export.save(torch.export.export(net, (torch.rand(1, 3, 20, 20),)), tmp_path / "net.pt2")
    check_pictures(served(str(tmp_path / "net.pt2"), *PICTURE), net, assert_close)


@pytest.mark.parametrize("way", ["script", "trace"])
@pytest.mark.slow
@pytest.mark.long
def test_torchscript(served: Any, net: Any, tmp_path: Path, assert_close: Any, way: str) -> None:
    made = (
        torch.jit.script(net) if way == "script" else torch.jit.trace(net, torch.rand(1, 3, 20, 20))
    )
    made.save(str(tmp_path / "net.pt"))
    check_pictures(served(str(tmp_path / "net.pt"), "--trust", *PICTURE), net, assert_close)


@pytest.mark.parametrize("form", ["state", "checkpoint", "safetensors"])
@pytest.mark.slow
@pytest.mark.long
def test_weights_of_a_module(
    served: Any, net: Any, tmp_path: Path, assert_close: Any, form: str
) -> None:
    from safetensors.torch import save_file

    path = tmp_path / ("weights.safetensors" if form == "safetensors" else "weights.pt")
    if form == "safetensors":
        save_file(net.state_dict(), path)
    else:
        state = net.state_dict()
        torch.save({"epoch": 3, "state_dict": state} if form == "checkpoint" else state, path)
    ask = served(str(path), "--module", "mynet:make_net", *PICTURE)
    check_pictures(ask, net, assert_close)


def test_a_live_module_is_saved(served: Any, net: Any, tmp_path: Path, assert_close: Any) -> None:
    import modelpad

    modelpad.save(
        net,
        "model",
        example=torch.rand(2, 3, 20, 20),
        inputs=PICTURE[1],
        outputs=PICTURE[3],
        store=tmp_path / "store",
    )
    check_pictures(served(saved="model"), net, assert_close)


class TwoHeads(torch.nn.Module):  # type: ignore[name-defined, misc]
    """Tokens and numbers in, a dictionary out."""

    def __init__(self) -> None:
        super().__init__()
        self.words = torch.nn.Embedding(30, 8)
        layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = torch.nn.Linear(11, 3)

    def forward(self, tokens: Any, numbers: Any) -> dict[str, Any]:
        seen = self.encoder(self.words(tokens)).mean(dim=1)
        scores = self.head(torch.cat([seen, numbers], dim=1))
        return {"scores": scores, "best": scores.max(dim=1).values}


def test_a_live_module_with_several_inputs_and_a_dictionary(
    served: Any, tmp_path: Path, assert_close: Any
) -> None:
    import modelpad

    module = TwoHeads().eval()
    modelpad.save(
        module,
        "model",
        example=(torch.randint(0, 30, (2, 6)), torch.rand(2, 3)),
        inputs=["tokens=tensor:int64[6],range=0..29"],
        store=tmp_path / "store",
    )
    tokens, numbers = RNG.integers(0, 30, 6), RNG.normal(size=3).round(3)
    answer = served(saved="model")({"tokens": tokens.tolist(), "numbers": numbers.tolist()})
    with torch.no_grad():
        expected = module(
            torch.from_numpy(tokens[None]), torch.from_numpy(numbers[None].astype(np.float32))
        )
    assert_close(answer["outputs"]["scores"], expected["scores"][0].numpy())
    assert_close(answer["outputs"]["best"], float(expected["best"][0]))


def test_a_module_without_an_example_says_what_to_give(tmp_path: Path, net: Any) -> None:
    import modelpad
    from modelpad.errors import UsageError

    with pytest.raises(UsageError, match="does not declare its input shapes") as caught:
        modelpad.save(net, "net", store=tmp_path / "store")
    assert "example" in caught.value.hint


def test_weights_of_another_module_are_refused(run_import: Any, net: Any, tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(3, 3).state_dict(), tmp_path / "other.pt")
    done = run_import("other.pt", "--module", "mynet:make_net", *PICTURE)
    assert done.returncode == 1
    assert "do not fit the module" in done.stderr
    done = run_import("other.pt", *PICTURE)
    assert done.returncode == 2
    assert "--module" in done.stderr
