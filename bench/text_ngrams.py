"""Bits per byte of a 5-gram on the texts that the bundled writer was tested on.

Usage: MODELPAD_DATA=FOLDER python bench/text_ngrams.py [--limit N]

Same tokens, same training texts (Wikipedia's leads, then IMDB's) and same test texts as the writer;
each text is predicted on its own, with its end. Prints the writer's figure from its card beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from modelpad.bundle import open_bundle
from modelpad.recipes.text.ngrams import ORDER, measure_chances
from modelpad.recipes.text.splits import load_texts
from modelpad.recipes.text.tokens import encode, load_tokenizer
from modelpad.recipes.writer import WriterOptions
from modelpad.recipes.writer.data import load_general
from modelpad.training.run import Run, TrainRequest
from modelpad.zoo import zoo_bundles


def main() -> None:
    """Measures orders 1 to 5."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, help="use only so many texts of each split")
    parser.add_argument("--orders", type=int, nargs="+", default=[ORDER])
    args = parser.parse_args()
    bundle = open_bundle(zoo_bundles()["writer"])
    tokenizer = load_tokenizer(bundle.path("tokenizer.json").read_text("utf-8"))
    roots = tuple(map(Path, os.environ.get("MODELPAD_DATA", "").split(os.pathsep)))
    with tempfile.TemporaryDirectory() as folder:
        request = TrainRequest("writer", "imdb", Path(folder), limit=args.limit, roots=roots)
        run = Run(request, {}, sys.stderr)
        splits = load_texts(run, None)
        general, _ = load_general(WriterOptions(), run, splits)
    texts = [] if general is None else [str(text) for text in general.train.inputs.items]
    corpora = [encode(tokenizer, texts[: args.limit]), encode(tokenizer, splits.train)]
    test = encode(tokenizer, splits.test)
    tokens = sum(len(each.tokens) for each in corpora)
    print(f"{tokens:,} tokens to learn from, {test.bytes_of.sum():,} bytes to predict", flush=True)
    for order in args.orders:
        begun = time.process_time()
        chances = measure_chances(corpora, test, tokenizer.get_vocab_size(), order)
        bits = -np.log2(chances).sum() / test.bytes_of.sum()
        seconds = time.process_time() - begun
        print(f"{order}-gram: {bits:.4f} bits per byte, {seconds:.0f} s of processor", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"peak of memory: {peak:.1f} GB")
    figures = json.loads(bundle.path("card.json").read_bytes())["metrics"]
    print(f"writer: {figures['test_bits_per_byte']:.4f} bits per byte, by its card")


if __name__ == "__main__":
    main()
