"""Families of PyTorch models: each is exported and compared with PyTorch on raw inputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelpad.convert.source import ImportRequest, TensorSpec
from modelpad.errors import ConversionFailed
from tests.convert.raw_parity import check_raw_parity

torch = pytest.importorskip("torch")
nn = torch.nn
FREE = torch.export.Dim.DYNAMIC


def save_program(path: Path, module: Any, keywords: dict[str, Any], shapes: Any) -> Path:
    program = torch.export.export(module.eval(), (), keywords, dynamic_shapes=shapes, strict=False)
    torch.export.save(program, path)
    return path


def open_program(path: Path, *inputs: str) -> Any:
    from modelpad.convert.torch_program import open_exported

    return open_exported(path, ImportRequest(inputs=inputs))


def import_transformers() -> Any:
    return pytest.importorskip("transformers")


SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 20,
    "vocab_size": 99,
    "max_position_embeddings": 64,
}
TEXT_MODELS: dict[str, Callable[[Any], Any]] = {
    "bert": lambda t: t.BertForSequenceClassification(t.BertConfig(**SMALL)),
    "roberta": lambda t: t.RobertaForTokenClassification(t.RobertaConfig(**SMALL)),
    "electra": lambda t: t.ElectraModel(t.ElectraConfig(**SMALL, embedding_size=8)),
    "distilbert": lambda t: t.DistilBertForMaskedLM(
        t.DistilBertConfig(
            dim=16, n_layers=1, n_heads=2, hidden_dim=20, vocab_size=99, max_position_embeddings=64
        )
    ),
    "t5": lambda t: t.T5EncoderModel(
        t.T5Config(vocab_size=99, d_model=16, d_kv=8, d_ff=20, num_layers=1, num_heads=2)
    ),
    "gpt2": lambda t: t.GPT2LMHeadModel(
        t.GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=99, n_positions=64, use_cache=False)
    ),
    "llama": lambda t: t.LlamaForCausalLM(
        t.LlamaConfig(**SMALL, num_key_value_heads=2, use_cache=False)
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name == "bert" else pytest.mark.long) for name in TEXT_MODELS],
)
def test_a_program_of_hugging_face_reads_text(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    ids = {
        "input_ids": torch.randint(1, 99, (2, 11)),
        "attention_mask": torch.ones(2, 11, dtype=torch.int64),
    }
    shapes = {key: {0: FREE, 1: FREE} for key in ids}
    path = save_program(tmp_path / "net.pt2", TEXT_MODELS[name](import_transformers()), ids, shapes)
    source = open_program(path)
    assert [(s.name, s.shape, s.batch_axis) for s in source.inputs] == [
        ("input_ids", (None, None), 0),
        ("attention_mask", (None, None), 0),
    ]
    assert source.inputs[0].limit == 99
    assert source.outputs[0].name in ("logits", "last_hidden_state")
    check_raw_parity(source, {"input_ids": (9,), "attention_mask": (9,)})


PICTURE_MODELS: dict[str, Callable[[Any], Any]] = {
    "vit": lambda t: t.ViTForImageClassification(
        t.ViTConfig(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=20,
            image_size=32,
            patch_size=8,
        )
    ),
    "resnet": lambda t: t.ResNetForImageClassification(
        t.ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic")
    ),
}


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("name", PICTURE_MODELS)
def test_a_program_of_hugging_face_sees_pictures(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    pixels = {"pixel_values": torch.rand(2, 3, 32, 32)}
    module = PICTURE_MODELS[name](import_transformers())
    path = save_program(tmp_path / "net.pt2", module, pixels, {"pixel_values": {0: FREE}})
    check_raw_parity(open_program(path))


def test_a_module_of_hugging_face_takes_keywords() -> None:
    from modelpad.convert.objects import open_object

    module = TEXT_MODELS["bert"](import_transformers())
    ids = torch.randint(1, 99, (2, 7))
    example = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    source = open_object(module, ImportRequest(), example)
    assert [spec.name for spec in source.inputs] == ["input_ids", "attention_mask"]
    assert [spec.name for spec in source.outputs] == ["logits"]
    check_raw_parity(source)


class TimeFirst(nn.Module):  # type: ignore[name-defined, misc]
    """Steps (time, batch, 3) and a state (2, batch, 4), as recurrent layers take them."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRU(3, 4, num_layers=2)

    def forward(self, steps: Any, state: Any) -> dict[str, Any]:
        outputs, state = self.cell(steps, state)
        return {"outputs": outputs, "next": state}


def test_the_batch_axis_of_a_program_is_found(tmp_path: Path) -> None:
    batch = torch.export.Dim("batch", min=1, max=64)
    example = {"steps": torch.rand(5, 2, 3), "state": torch.rand(2, 2, 4)}
    shapes = {"steps": {1: batch}, "state": {1: batch}}
    source = open_program(save_program(tmp_path / "net.pt2", TimeFirst(), example, shapes))
    assert [(s.shape, s.batch_axis) for s in (*source.inputs, *source.outputs)] == [
        ((5, None, 3), 1),
        ((2, None, 4), 1),
        ((5, None, 4), 1),
        ((2, None, 4), 1),
    ]
    check_raw_parity(source)


def test_a_length_is_not_taken_for_the_batch(tmp_path: Path) -> None:
    class Mean(nn.Module):  # type: ignore[name-defined, misc]
        def forward(self, rows: Any) -> Any:
            return rows - rows.mean(dim=0, keepdim=True)

    example = {"rows": torch.rand(4, 3)}
    source = open_program(save_program(tmp_path / "net.pt2", Mean(), example, {"rows": {0: FREE}}))
    assert (source.inputs[0].shape, source.inputs[0].batch_axis) == ((None, 3), None)
    assert (source.outputs[0].shape, source.outputs[0].batch_axis) == ((None, 3), None)


def test_a_fixed_batch_is_kept(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten())
    program = torch.export.export(net.eval(), (torch.rand(1, 3, 8, 8),))
    torch.export.save(program, tmp_path / "net.pt2")
    source = open_program(tmp_path / "net.pt2")
    assert (source.inputs[0].shape, source.inputs[0].batch_axis) == ((1, 3, 8, 8), 0)
    assert source.outputs[0].shape == (1, 72)
    check_raw_parity(source)


@pytest.mark.parametrize("layer", ["dropout", "batch_norm"])
def test_training_mode_is_named(tmp_path: Path, layer: str) -> None:
    inner = nn.Dropout(0.5) if layer == "dropout" else nn.BatchNorm1d(3, track_running_stats=False)
    program = torch.export.export(
        nn.Sequential(nn.Linear(3, 3), inner).train(), (torch.rand(4, 3),)
    )
    torch.export.save(program, tmp_path / "net.pt2")
    with pytest.raises(ConversionFailed, match=f"training mode: {layer}") as caught:
        open_program(tmp_path / "net.pt2")
    assert "model.eval()" in caught.value.hint


def test_a_traced_module_in_training_mode_is_named(tmp_path: Path) -> None:
    from modelpad.convert.pytorch import open_script

    net = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)).train()
    torch.jit.trace(net, torch.rand(2, 3), check_trace=False).save(str(tmp_path / "net.pt"))
    request = ImportRequest(inputs=("tensor:float32[3]",), trust=True)
    with pytest.raises(ConversionFailed, match="training mode: dropout"):
        open_script(tmp_path / "net.pt", request)


def test_a_program_that_keeps_state_is_refused(tmp_path: Path) -> None:
    class Counter(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.zeros(1))

        def forward(self, x: Any) -> Any:
            self.seen.add_(1)
            return x + self.seen

    torch.export.save(torch.export.export(Counter(), (torch.rand(2, 3),)), tmp_path / "net.pt2")
    with pytest.raises(ConversionFailed, match="changes seen on each call"):
        open_program(tmp_path / "net.pt2")


def open_module(module: Any, *shape: int | None, **options: Any) -> Any:
    from modelpad.convert.pytorch import TorchSource

    spec = TensorSpec("x", options.pop("dtype", "float32"), (None, *shape))
    return TorchSource(module.eval(), [spec], "Module", **options)


def test_free_sides_of_a_module_stay_free() -> None:
    net = nn.Sequential(nn.Conv1d(3, 4, 3, padding=1), nn.ReLU())
    source = open_module(net, 3, None)
    assert source.outputs[0].shape == (None, 4, None)
    check_raw_parity(source, {"x": (3, 21)})


def test_the_limit_of_an_embedding_is_found() -> None:
    source = open_module(nn.Sequential(nn.Embedding(37, 4), nn.Linear(4, 2)), 6, dtype="int64")
    assert source.inputs[0].limit == 37
    assert max(int(sample["x"].max()) for sample in source.hard_samples()) == 36
    check_raw_parity(source)


def test_a_branch_on_the_batch_size_is_not_baked_in() -> None:
    class Branch(nn.Module):  # type: ignore[name-defined, misc]
        def forward(self, x: Any) -> Any:
            return x * 2 if x.shape[0] == 2 else x * 3

    with pytest.raises(ConversionFailed, match="cannot export the model"):
        open_module(Branch(), 3).export()


def test_random_outputs_are_the_reason_given() -> None:
    class Noise(nn.Module):  # type: ignore[name-defined, misc]
        def forward(self, x: Any) -> Any:
            return x + torch.rand_like(x)

    with pytest.raises(ConversionFailed, match="different outputs each time"):
        open_module(Noise(), 3).export()


def test_nested_results_have_names() -> None:
    class Nested(nn.Module):  # type: ignore[name-defined, misc]
        def forward(self, x: Any) -> Any:
            return {"scores": x, "cache": [(x + 1, x + 2)], "nothing": None}

    source = open_module(Nested(), 3)
    assert [spec.name for spec in source.outputs] == ["scores", "cache.0.0", "cache.0.1"]
    check_raw_parity(source)


def test_weights_of_a_factory_in_a_file(tmp_path: Path) -> None:
    from modelpad.convert.torch_weights import open_weights

    (tmp_path / "nets.py").write_text("import torch\ndef make():\n return torch.nn.Linear(3, 2)\n")
    torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "weights.pt")
    request = ImportRequest(inputs=("tensor:float32[3]",), factory=f"{tmp_path / 'nets.py'}:make")
    check_raw_parity(open_weights(tmp_path / "weights.pt", request))
