"""Small Hugging Face models with random weights, saved as folders with their own tokenizers."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TEXTS = (
    "a good film with great actors",
    "the plot was thin and the end too long",
    "not worth the money at all, and the popcorn was cold",
    "what a wonderful evening it was",
)
MAX_TOKENS = 24
SPECIAL = {
    "unk_token": "[UNK]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
MOODS = {0: "bad", 1: "mixed", 2: "good"}


@dataclass(frozen=True)
class Tiny:
    """How a folder is made: its model's class and config, and what prepares its inputs."""

    architecture: str
    config: Callable[[Any], Any]
    prepare: str = "wordpiece"
    task: str = "text-classification"


def bert(transformers: Any, **more: Any) -> Any:
    return transformers.BertConfig(**text_sizes(), **more)


def roberta(transformers: Any, **more: Any) -> Any:
    sizes = text_sizes() | {"max_position_embeddings": MAX_TOKENS + 2}
    return transformers.RobertaConfig(**sizes, pad_token_id=1, type_vocab_size=1, **more)


def text_sizes() -> dict[str, int]:
    return {
        "vocab_size": 120,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "max_position_embeddings": MAX_TOKENS,
    }


def distilbert(transformers: Any) -> Any:
    sizes = {"vocab_size": 120, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48}
    return transformers.DistilBertConfig(
        **sizes,
        max_position_embeddings=MAX_TOKENS,
        id2label=MOODS,
        problem_type="multi_label_classification",
    )


def vit(transformers: Any) -> Any:
    sizes = {key: text_sizes()[key] for key in ("hidden_size", "num_hidden_layers")}
    return transformers.ViTConfig(
        **sizes,
        num_attention_heads=4,
        intermediate_size=48,
        image_size=32,
        patch_size=8,
        id2label={0: "crane", 1: "crane", 2: "owl"},
    )


def resnet(transformers: Any) -> Any:
    return transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", id2label=MOODS
    )


def convnext(transformers: Any) -> Any:
    return transformers.ConvNextConfig(
        hidden_sizes=[8, 12, 16, 24], depths=[1, 1, 1, 1], image_size=64, id2label=MOODS
    )


CASES = {
    "bert": Tiny("BertForSequenceClassification", lambda t: bert(t, id2label=MOODS)),
    "distilbert": Tiny("DistilBertForSequenceClassification", distilbert),
    "roberta": Tiny(
        "RobertaForSequenceClassification", lambda t: roberta(t, id2label=MOODS), "bpe"
    ),
    "names": Tiny(
        "BertForTokenClassification",
        lambda t: bert(t, id2label={0: "O", 1: "B-PER"}),
        task="token-classification",
    ),
    "mask": Tiny("BertForMaskedLM", bert, task="fill-mask"),
    "features": Tiny("MPNetModel", lambda t: mpnet(t), task="feature-extraction"),
    "vit": Tiny("ViTForImageClassification", vit, "vit", "image-classification"),
    "resnet": Tiny("ResNetForImageClassification", resnet, "resnet", "image-classification"),
    "convnext": Tiny(
        "ConvNextForImageClassification", convnext, "convnext", "image-classification"
    ),
}


def mpnet(transformers: Any) -> Any:
    return transformers.MPNetConfig(
        **(text_sizes() | {"max_position_embeddings": MAX_TOKENS + 2}), pad_token_id=1
    )


def make_tokenizer(kind: str) -> Any:
    """A tokenizer trained on `TEXTS`: `wordpiece` as BERT's, or `bpe` as RoBERTa's."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = [*SPECIAL.values()]
    trainer: Any
    if kind == "bpe":
        made = Tokenizer(models.BPE(unk_token="[UNK]"))
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(vocab_size=110, special_tokens=special, show_progress=False)
    else:
        made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        made.normalizer = normalizers.BertNormalizer()
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(
            vocab_size=110, special_tokens=special, show_progress=False
        )
    made.train_from_iterator(TEXTS, trainer)
    cls, sep = (made.token_to_id(token) for token in ("[CLS]", "[SEP]"))
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", cls), ("[SEP]", sep)],
    )
    names = ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        model_max_length=512,  # more than the model has positions
        model_input_names=names if kind == "bpe" else [*names, "token_type_ids"],
        **SPECIAL,
    )


def make_processor(kind: str) -> Any:
    import transformers

    common = {"image_mean": MEAN, "image_std": STD}
    if kind == "vit":
        return transformers.ViTImageProcessorPil(size={"height": 32, "width": 32}, resample=2)
    if kind == "resnet":
        return transformers.BitImageProcessorPil(
            size={"shortest_edge": 72}, crop_size={"height": 64, "width": 64}, **common
        )
    return transformers.ConvNextImageProcessorPil(
        size={"shortest_edge": 64}, crop_pct=0.875, resample=3, **common
    )


def save_folder(case: Tiny, folder: Path) -> None:
    """Writes a folder as `save_pretrained` does."""
    import torch
    import transformers

    torch.manual_seed(5)
    config = case.config(transformers)
    config.initializer_range = 0.3  # so that outputs differ
    model = getattr(transformers, case.architecture)(config)
    model.save_pretrained(folder)
    if case.prepare in ("wordpiece", "bpe"):
        make_tokenizer(case.prepare).save_pretrained(folder)
    else:
        make_processor(case.prepare).save_pretrained(folder)
    assert (folder / "model.safetensors").is_file()
    assert json.loads((folder / "config.json").read_text())["architectures"] == [case.architecture]


if __name__ == "__main__":
    save_folder(CASES[sys.argv[1]], Path(sys.argv[2]))
