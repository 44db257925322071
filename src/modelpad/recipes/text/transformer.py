"""Trains a classifier of texts from a transformer in a Hugging Face folder, such as BERT's.

Devlin et al. 2019: the whole network learns, with a new last layer, at a low rate. It depends on
torch and `transformers`, and never on the network: the folder must have everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from modelpad.convert.huggingface import has_safe_weights, offline_transformers
from modelpad.convert.huggingface_text import find_longest
from modelpad.errors import UsageError, first_line
from modelpad.recipes.text.classifying import Logits
from modelpad.recipes.text.labelled import Labels, order_batches
from modelpad.recipes.text.language import CLIP, STATE, WEIGHTS, Keeper, Recent, Report
from modelpad.recipes.text.schedule import make_optimizer, one_cycle, set_rates
from modelpad.training.device import Device
from modelpad.training.options import OptimizerOptions
from modelpad.training.seeding import derive_seed

RATE, DECAY, BATCH = 3e-5, 0.01, 16
LONGEST = {"cpu": 256, "cuda": 512}  # tokens of a text that is learnt from
READ_AT_ONCE = 16  # texts
KEEP_EVERY = 200  # steps

Encoded = list[list[int]]


@dataclass(frozen=True, slots=True)
class Transformer:
    """A network for sequence classification and its tokenizer; `longest` counts tokens."""

    net: Any
    tokenizer: Any
    longest: int

    def encode(self, texts: Sequence[str], longest: int | None = None) -> Encoded:
        """The tokens of texts, special ones included, at most `longest` of each."""
        most = min(self.longest, longest or self.longest)
        found: Encoded = self.tokenizer([*texts], truncation=True, max_length=most)["input_ids"]
        return found

    def read(self, tokens: Encoded, device: Device) -> Tensor:
        """Logits (B, C) of texts."""
        lengths = [len(text) for text in tokens]
        ids = torch.full((len(tokens), max(lengths)), self.tokenizer.pad_token_id)
        mask = torch.zeros_like(ids)
        for row, text in enumerate(tokens):
            ids[row, : len(text)] = torch.tensor(text)
            mask[row, : len(text)] = 1
        with device.products():
            found = self.net(input_ids=ids.to(device.name), attention_mask=mask.to(device.name))
        logits: Tensor = found.logits.float()
        return logits

    @torch.no_grad()
    def predict(self, tokens: Encoded, device: Device) -> Logits:
        """Logits (N, C) of any number of texts."""
        self.net.eval().to(device.name)
        order = np.argsort([len(text) for text in tokens], kind="stable")
        found: Logits = np.empty((len(tokens), self.net.config.num_labels), np.float32)
        for start in range(0, len(order), READ_AT_ONCE):
            chosen = order[start : start + READ_AT_ONCE]
            part = self.read([tokens[index] for index in chosen.tolist()], device)
            found[chosen] = part.cpu().numpy()
        return found

    def divide_logits(self, temperature: float) -> None:
        """Divides all logits by a temperature, in the last layer."""
        classes = self.net.config.num_labels
        layers = [each for each in self.net.modules() if isinstance(each, nn.Linear)]
        last = [each for each in layers if each.out_features == classes][-1]
        with torch.no_grad():
            for each in last.parameters():
                each.div_(temperature)

    def save(self, folder: Path) -> None:
        """Writes network and tokenizer as `save_pretrained` does."""
        self.net.cpu().save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def load_transformer(path: Path, classes: Sequence[str]) -> Transformer:
    """The network of a folder with a new last layer for `classes`.

    Raises:
        MissingExtra: transformers is not installed.
        NotTrusted: the folder has pickled weights.
        UsageError: it is not a model of texts that can become a classifier.
    """
    with offline_transformers() as transformers:
        has_safe_weights(path)
        names = dict(enumerate(classes))
        try:
            net = transformers.AutoModelForSequenceClassification.from_pretrained(
                str(path),
                num_labels=len(classes),
                id2label=names,
                label2id={name: number for number, name in names.items()},
                problem_type="single_label_classification",
                local_files_only=True,
                use_safetensors=True,
                dtype=torch.float32,
                attn_implementation="eager",
                ignore_mismatched_sizes=True,
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(str(path), local_files_only=True)
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise UsageError(
                f"--from {path}: transformers cannot start a classifier of texts from it:"
                f" {first_line(error, 200)}",
                hint="Give a folder with a model such as BERT's, its tokenizer, and safetensors.",
            ) from error
    if tokenizer.pad_token_id is None:
        raise UsageError(
            f"--from {path}: its tokenizer has no padding token, as those of models that write.",
            hint="Give a model that reads, such as BERT's.",
        )
    return Transformer(net, tokenizer, find_longest(net, tokenizer.model_max_length))


class TransformerTrainer:
    """A transformer in training; a checkpoint within an epoch resumes exactly."""

    def __init__(
        self,
        model: Transformer,
        tokens: Encoded,
        labels: Labels,
        epochs: int,
        device: Device,
        seed: int,
        chosen: OptimizerOptions = OptimizerOptions(),
    ) -> None:
        self.model, self.tokens, self.labels = model, tokens, labels
        self.epochs, self.device, self.seed = epochs, device, seed
        self.lengths = np.array([len(text) for text in tokens], np.int64)
        self.batch, self.peak = chosen.batch_size or BATCH, chosen.learning_rate or RATE
        self.steps = -(-len(labels) // self.batch)
        model.net.to(device.name)
        self.decay = DECAY if chosen.weight_decay is None else chosen.weight_decay
        self.optimizer = make_optimizer([(self.peak, model.net.parameters())], self.decay)
        self.done, self.epoch, self.rate = 0, 0, 0.0

    def train_epoch(self, epoch: int, report: Report, keeper: Keeper | None = None) -> float:
        """Trains on all texts once, or on what is left of them; the mean loss of the last steps."""
        self.epoch, recent = epoch, Recent()
        self.model.net.train()
        batches = order_batches(self.lengths, self.batch, derive_seed(self.seed, epoch))
        for chosen in batches[self.done :]:
            recent.add(self._step(chosen))
            self.done += 1
            report(self.done, self.steps, recent.mean())
            if keeper and self.done % KEEP_EVERY == 0 and self.done < self.steps:
                keeper.save_midway(self.write)
        self.done = 0
        return recent.mean()

    def write(self, folder: Path) -> None:
        """Writes all that a training needs to go on."""
        state = {
            "net": self.model.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "done": self.done,
        }
        torch.save(state, folder / STATE)

    def read(self, folder: Path) -> None:
        """Reads what `write` wrote."""
        state = torch.load(folder / STATE, map_location=self.device.name, weights_only=True)
        self.model.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.done = state["done"]

    def write_best(self, folder: Path) -> None:
        """Writes the weights alone."""
        torch.save(self.model.net.state_dict(), folder / WEIGHTS)

    def read_best(self, folder: Path) -> None:
        """Puts the weights that `write_best` wrote into the network."""
        weights = torch.load(folder / WEIGHTS, map_location=self.device.name, weights_only=True)
        self.model.net.load_state_dict(weights)

    def _step(self, chosen: Labels) -> Tensor:
        torch.manual_seed(derive_seed(self.seed, self.epoch, self.done))
        share = one_cycle(self.epoch * self.steps + self.done, self.epochs * self.steps)
        self.rate = share * self.peak
        set_rates(self.optimizer, share)
        logits = self.model.read([self.tokens[index] for index in chosen.tolist()], self.device)
        loss = cross_entropy(logits, torch.from_numpy(self.labels[chosen]).to(self.device.name))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.net.parameters(), CLIP)
        self.optimizer.step()
        return loss.detach()
