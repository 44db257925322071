"""A tiny GPT-2 of `transformers` with random weights, as a bundle whose states are its cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from modelpad.bundle import Bundle, Manifest, SequenceModel, SequenceState, write_bundle
from modelpad.fields import Signature, Text
from tests.text_graphs import train_tokenizer

VOCABULARY, WIDTH, HEADS, LAYERS, CONTEXT = 320, 32, 4, 2, 96


def make_model(seed: int = 1) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=CONTEXT,
        n_embd=WIDTH,
        n_layer=LAYERS,
        n_head=HEADS,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = GPT2LMHeadModel(config).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model


class Cached(nn.Module):
    """GPT-2 with the tensors of a manifest: tokens, lengths, positions, offsets, keys, values.

    Written out layer by layer with the modules of `transformers`, as the padding of each row's
    cache needs a mask of its own.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        tokens: torch.Tensor,
        lengths: torch.Tensor,
        positions: torch.Tensor,
        offsets: torch.Tensor,
        *past: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        body, batch, time = self.model.transformer, tokens.shape[0], tokens.shape[1]
        places = count_up(tokens[0])  # `arange` would be a constant of the exported graph
        before = count_up(past[0][0, 0, :, 0].long())
        at = torch.minimum(offsets[:, None] + places[None], torch.tensor(CONTEXT - 1))
        x = body.wte(tokens) + body.wpe(at)
        old = before[None, None] < offsets[:, None, None]
        inside = places[None, None] < lengths[:, None, None]
        new = (places[None, None] <= places[None, :, None]) & (inside | (places == 0)[None, None])
        seen = torch.cat([old | (places < 0)[None, :, None], new], dim=2)
        mask = torch.where(seen[:, None], 0.0, -1e9)
        states: list[torch.Tensor] = []
        for number, block in enumerate(body.h):
            joined = block.attn.c_attn(block.ln_1(x)).reshape(batch, time, 3, HEADS, WIDTH // HEADS)
            query, key, value = joined.permute(2, 0, 3, 1, 4).unbind(0)
            key = torch.cat([past[2 * number], key], dim=2)
            value = torch.cat([past[2 * number + 1], value], dim=2)
            states += [key, value]
            scores = query @ key.transpose(2, 3) / (WIDTH // HEADS) ** 0.5 + mask
            mixed = (scores.softmax(-1) @ value).permute(0, 2, 1, 3).reshape(batch, time, WIDTH)
            x = x + block.attn.c_proj(mixed)
            x = x + block.mlp(block.ln_2(x))
        rows = body.ln_f(x).reshape(batch * time, WIDTH)[positions]
        return (self.model.lm_head(rows), *states)


def count_up(like: torch.Tensor) -> torch.Tensor:
    """0, 1, 2, ... for a vector of any length."""
    return torch.ones_like(like).cumsum(0) - 1


def write_gpt2(folder: Path, *, offsets: bool = True) -> tuple[Bundle, Any]:
    """The bundle and the model; without `offsets`, all rows have as many entries as the cache."""
    model = make_model()
    names = [f"{kind}_{layer}" for layer in range(LAYERS) for kind in ("key", "value")]
    past = [torch.zeros(2, HEADS, 3, WIDTH // HEADS) for _ in names]
    given = (torch.ones(2, 2, dtype=torch.long), torch.tensor([2, 2]), torch.tensor([1, 3, 0]))
    module: nn.Module = Cached(model)
    inputs = [*given, torch.tensor([3, 3])]
    input_names = ["tokens", "lengths", "positions", "offsets"]
    if not offsets:
        module = EqualLengths(module)
        inputs, input_names = [*given], input_names[:3]
    axes = {"tokens": {0: "batch", 1: "time"}, "lengths": {0: "batch"}, "positions": {0: "rows"}}
    axes |= {"offsets": {0: "batch"}} if offsets else {}
    axes |= {f"past_{name}": {0: "batch", 2: "past"} for name in names}
    path = folder.parent / f"{folder.name}.onnx"
    torch.onnx.export(
        module.eval(),  # else it would leave the model in training mode
        (*inputs, *past),
        str(path),
        input_names=[*input_names, *(f"past_{name}" for name in names)],
        output_names=["logits", *(f"present_{name}" for name in names)],
        dynamic_axes=axes,
        dynamo=False,
    )
    states = tuple(
        SequenceState(f"past_{name}", f"present_{name}", "float32", (HEADS, -1, WIDTH // HEADS))
        for name in names
    )
    sequence = SequenceModel(
        tokenizer="tokenizer.json",
        tokens="tokens",
        lengths="lengths",
        positions="positions",
        output="logits",
        states=states,
        start=0,
        end=(0,),
        context=CONTEXT,
        offsets="offsets" if offsets else None,
    )
    manifest = Manifest(
        name="gpt2",
        task="text-generation",
        signature=Signature((Text("prompt"),), (Text("text"),)),
        sequence=sequence,
    )
    files = {"model.onnx": path, "tokenizer.json": train_tokenizer(VOCABULARY)}
    return write_bundle(folder, manifest, {**files}), model


class EqualLengths(nn.Module):
    """The same without offsets: the cache has no padding."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, tokens: Any, lengths: Any, positions: Any, *past: Any) -> Any:
        offsets = torch.zeros_like(lengths) + past[0].shape[2]
        return self.inner(tokens, lengths, positions, offsets, *past)
