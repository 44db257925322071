"""Hugging Face models: a folder with `config.json` and safetensors, through `transformers`.

The folder's architecture must be a class of `transformers`; nothing is downloaded, and no code of
the folder is run without trust.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from modelpad.convert.exporter_log import exporter_log
from modelpad.convert.huggingface_image import read_image_spec
from modelpad.convert.huggingface_text import Tokens, make_token_samples, read_tokens
from modelpad.convert.pytorch import TorchSource
from modelpad.convert.source import ImportRequest, Shape, TensorSpec
from modelpad.convert.specs import InputSpec, OutputSpec
from modelpad.convert.torch_export import load_torch
from modelpad.errors import ConversionFailed, MissingExtra, NotTrusted, first_line
from modelpad.fields import Tokenizer
from modelpad.fields.arrays import Arrays
from modelpad.foreign_json import Json, load_json

if TYPE_CHECKING:
    from onnx import ModelProto

TASKS = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForImageClassification": "image-classification",
    "ForMaskedLM": "fill-mask",
}
ARCHITECTURE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY")
SAFE = ("model.safetensors", "model.safetensors.index.json")
PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")
POOLER = "pooler."
MAX_LISTED = 3  # names of missing weights in an error


def open_folder(path: Path, request: ImportRequest) -> HuggingFaceSource:
    """The model in a folder that `save_pretrained` wrote, with its tokenizer or image processor.

    Raises:
        MissingExtra: torch or transformers is not installed.
        NotTrusted: it has pickled weights or code of its own, and `request.trust` is not set.
        ConversionFailed: it is not a model of a supported task, or cannot be read.
    """
    config = _read_config(path)
    name = _read_architecture(config, path)
    task = find_task(name)
    load_torch()
    with offline_transformers() as transformers:
        architecture = _find_class(transformers, config, name, request.trust)
        model = _load_model(architecture, path, request.trust)
        if model.main_input_name == "pixel_values":
            return _open_image_model(model, path, name, task, request)
        tokens = read_tokens(transformers, path, model, trust=request.trust)
    inputs = _list_text_inputs(model, tokens)
    return HuggingFaceSource(model, inputs, name, task, request, tokens=tokens)


def find_task(architecture: str) -> str:
    """The task of a class of transformers, by its name. Raises `ConversionFailed`."""
    for part, task in TASKS.items():
        if part in architecture:
            return task
    if architecture.endswith("Model") and not architecture.endswith("LMHeadModel"):
        return "feature-extraction"
    raise ConversionFailed(
        f"{architecture} is not supported.",
        hint="Supported are models for text, token and image classification (ForSequence-,"
        " ForToken- and ForImageClassification), fill-mask (ForMaskedLM) and feature extraction"
        " (...Model).",
    )


class HuggingFaceSource:
    """A model of `transformers`, with the arguments that its tokenizer or processor gives it."""

    framework = "huggingface"

    def __init__(
        self,
        model: Any,
        inputs: Sequence[TensorSpec],
        name: str,
        task: str,
        request: ImportRequest,
        *,
        tokens: Tokens | None = None,
        image: InputSpec | None = None,
    ) -> None:
        """`tokens` and `image` say how inputs are prepared. Raises like `TorchSource`."""
        import transformers

        self._torch = TorchSource(
            model, inputs, name, framework=self.framework, request=request, by_name=True
        )
        self.task, self._tokens, self._image = task, tokens, image
        self._config = model.config
        self._graph: ModelProto | None = None
        self.inputs, self.outputs = self._torch.inputs, self._torch.outputs
        self.classes = _list_classes(model.config) if "classification" in task else ()
        self.facts: Mapping[str, Json] = {
            **self._torch.facts,
            "task": task,
            "transformers": str(transformers.__version__),
        }

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer, if the folder has one."""
        return self._tokens.tokenizer if self._tokens else None

    def run(self, batch: Arrays) -> Arrays:
        """The outputs of the model's own `forward`."""
        return self._torch.run(batch)

    def export(self) -> ModelProto:
        """The graph, with a dynamic batch, and dynamic sequences."""
        graph, self._graph = self._graph, None
        return graph or self._torch.export()

    def export_early(self) -> None:
        """Exports the graph now, for the next call of `export`. Raises `ConversionFailed`."""
        self._graph = self._torch.export()

    def hard_samples(self) -> Sequence[Arrays]:
        """Sequences of several lengths, padding, special and unknown tokens; or hard pictures."""
        if self.inputs[0].name == "pixel_values":
            return self._torch.hard_samples()
        return make_token_samples(self.inputs, self._config, self._tokens)

    def files(self) -> Mapping[str, bytes | Path]:
        """The tokenizer, if there is one."""
        tokens = self._tokens
        return {tokens.tokenizer.file: tokens.body} if tokens and tokens.tokenizer else {}

    def input_specs(self) -> Sequence[InputSpec]:
        """Text where there is a tokenizer, images as the model's own processor prepares them."""
        if self._image is not None:
            return (self._image,)
        return (InputSpec("text"),) if self.tokenizer else ()

    def output_specs(self) -> Sequence[OutputSpec]:
        """Labels for classification of texts and images."""
        if self.task not in ("text-classification", "image-classification"):
            return ()
        if len(self.classes) < 2:
            return ()
        multiple = getattr(self._config, "problem_type", None) == "multi_label_classification"
        origin = "multi-label" if multiple else "logits"
        return (OutputSpec("labels", None, self.classes, {"from": origin}),)


def _open_image_model(
    model: Any, path: Path, name: str, task: str, request: ImportRequest
) -> HuggingFaceSource:
    """Where the model takes pictures of any size, so does the graph, if it can be exported."""
    import transformers

    image = read_image_spec(transformers, path)
    task = f"image-{task}" if task == "feature-extraction" else task
    channels, sides = getattr(model.config, "num_channels", 3), _find_sides(model.config, image)
    sized = request
    if not request.inputs and sides[0] and sides[1]:
        sized = replace(request, inputs=(f"image:{sides[0]}x{sides[1]}x{channels}",))
    for shape in ((None, channels, None, None), (None, channels, *sides)):
        inputs = [TensorSpec("pixel_values", "float32", shape)]
        source = HuggingFaceSource(model, inputs, name, task, sized, image=image)
        if None in shape[1:] and not _accepts_other_size(source, channels, sides):
            continue
        return source
    return source


def _accepts_other_size(source: HuggingFaceSource, channels: int, sides: Shape) -> bool:
    """Whether the model and its graph take pictures of another size."""
    import numpy as np

    height, width = (64 if side is None else side for side in sides)
    picture = np.zeros((1, channels, height + 32, width + 64), np.float32)
    try:
        source.run({"pixel_values": picture})
        source.export_early()
    except Exception:  # whatever the model's code raises for a size
        return False
    return True


def _find_sides(config: Any, image: InputSpec | None) -> Shape:
    """The height and width of a model's pictures; None if nothing says."""
    size = getattr(config, "image_size", None)
    if isinstance(size, int):
        return (size, size)
    if isinstance(size, Sequence) and len(size) == 2:
        return (int(size[0]), int(size[1]))
    return image.sides[:2] if image and image.sides else (None, None)


def _list_text_inputs(model: Any, tokens: Tokens | None) -> list[TensorSpec]:
    """What the tokenizer gives and `forward` takes: int64 (batch, sequence) each."""
    names = tokens.names if tokens else _usual_inputs(model)
    return [TensorSpec(name, "int64", (None, None)) for name in names]


def _usual_inputs(model: Any) -> list[str]:
    """What a tokenizer would give a model."""
    parameters = inspect.signature(model.forward).parameters
    names = ["input_ids", "attention_mask"]
    if getattr(model.config, "type_vocab_size", 0) > 1:
        names.append("token_type_ids")
    return [name for name in names if name in parameters]


def _list_classes(config: Any) -> tuple[str, ...]:
    """The class names in order. Those that repeat have their index appended."""
    names = [str(config.id2label[index]) for index in sorted(config.id2label)]
    return tuple(
        f"{name} ({index})" if names.count(name) > 1 else name for index, name in enumerate(names)
    )


def _read_config(path: Path) -> dict[str, Json]:
    try:
        config = load_json((path / "config.json").read_bytes())
    except (OSError, ValueError) as error:
        raise ConversionFailed(
            f"{path.name}/config.json cannot be read: {first_line(error)}.",
            hint="Save the model again with save_pretrained.",
        ) from error
    if not isinstance(config, dict) or not ("model_type" in config or "architectures" in config):
        raise ConversionFailed(
            f"{path.name}/config.json does not describe a Hugging Face model.",
            hint="Import a folder that save_pretrained of transformers wrote.",
        )
    return config


def _read_architecture(config: Mapping[str, Json], path: Path) -> str:
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names else None
    if not isinstance(name, str) or not ARCHITECTURE.fullmatch(name):
        raise ConversionFailed(
            f"{path.name}/config.json names no architecture.",
            hint='Add it, for example: "architectures": ["BertForSequenceClassification"]',
        )
    return name


@contextmanager
def offline_transformers() -> Iterator[ModuleType]:
    """The `transformers` package, which does not use the network meanwhile.

    Raises `MissingExtra`.
    """
    before = {name: os.environ.get(name) for name in OFFLINE}
    os.environ |= dict.fromkeys(OFFLINE, "1")
    try:
        with ExitStack() as stack:
            try:
                import transformers
                from huggingface_hub import constants
            except ImportError as error:
                raise MissingExtra("transformers", extra="transformers") from error
            offline = constants.HF_HUB_OFFLINE
            constants.HF_HUB_OFFLINE = True
            stack.callback(setattr, constants, "HF_HUB_OFFLINE", offline)
            yield transformers
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _find_class(
    transformers: ModuleType, config: Mapping[str, Json], name: str, trust: bool
) -> Any:
    """The class of an architecture: one of transformers, or with trust one of the folder's."""
    found = getattr(transformers, name, None)
    if inspect.isclass(found) and issubclass(found, transformers.PreTrainedModel):
        return found
    own = config.get("auto_map")
    if not isinstance(own, dict):
        raise ConversionFailed(
            f"transformers {transformers.__version__} has no {name}.",
            hint="Install a version that has it.",
        )
    if not trust:
        raise NotTrusted(
            f"{name} is defined by Python code in the folder.",
            hint="If you trust its author, import it with --trust.",
            found=["Python code"],
        )
    for kind, reference in own.items():
        if isinstance(reference, str) and reference.rpartition(".")[2] == name:
            return getattr(transformers, kind)
    raise ConversionFailed(
        f"config.json does not say where {name} is defined.", hint="Add it to its auto_map."
    )


def has_safe_weights(path: Path, trust: bool = False) -> bool:
    """Whether a folder has safetensors. Raises `NotTrusted` for pickled weights without trust."""
    safe = any((path / name).is_file() for name in SAFE)
    if not safe and any((path / name).is_file() for name in PICKLED) and not trust:
        raise NotTrusted(
            f"{path.name} has pickled weights, which could run code.",
            hint="Save it again with save_pretrained, which writes safetensors; or, if you trust"
            " its author, import it with --trust.",
            found=[name for name in PICKLED if (path / name).is_file()],
        )
    return safe


def _load_model(architecture: Any, path: Path, trust: bool) -> Any:
    """The model in float32 and evaluation mode, with all of its weights from the folder."""
    import torch

    safe = has_safe_weights(path, trust)
    options: dict[str, Any] = {
        "local_files_only": True,
        "use_safetensors": safe,
        "dtype": torch.float32,
        "attn_implementation": "eager",
        "output_loading_info": True,
        "trust_remote_code": trust,
    }
    with exporter_log("transformers"):
        try:
            model, info = architecture.from_pretrained(str(path), **options)
            missing = sorted(info["missing_keys"])
            if missing and all(name.startswith(POOLER) for name in missing):
                options["add_pooling_layer"] = False
                model, info = architecture.from_pretrained(str(path), **options)
                missing = sorted(info["missing_keys"])
        except Exception as error:
            raise ConversionFailed(
                f"transformers cannot load {path.name}: {first_line(error, 300)}",
                hint="Check that the folder is complete.",
            ) from error
    if missing:
        listed = ", ".join(missing[:MAX_LISTED]) + (" ..." if len(missing) > MAX_LISTED else "")
        raise ConversionFailed(
            f"The weights in {path.name} lack {len(missing)} that {type(model).__name__} needs:"
            f" {listed}.",
            hint="transformers would make them up. Train the model for this task first, or correct"
            " `architectures` in config.json.",
        )
    model.config.return_dict = True
    model.config.output_hidden_states = model.config.output_attentions = False
    model.config.use_cache = False
    return model.eval()
