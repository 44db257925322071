"""lm-evaluation-harness, unchanged, against a server: echo, log probabilities and generation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
lm_eval = pytest.importorskip("lm_eval")

from modelpad.engine.text import GenerationRequest, TextSession  # noqa: E402
from tests.conftest import Server  # noqa: E402
from tests.text_graphs import SENTENCES, write_writer  # noqa: E402

pytestmark = pytest.mark.slow

CHOICES = ["the ship sailed on.", "a waste of time.", "I've ever seen"]


def write_task(folder: Path, kind: str, **more: Any) -> dict[str, Any]:
    """A small task with documents of its own."""
    rows = [
        {"question": text[:20].strip(), "choices": CHOICES, "answer": 1} for text in SENTENCES[:3]
    ]
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return {
        "task": f"tiny_{kind}",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(file)}},
        "test_split": "test",
        "output_type": kind,
        "doc_to_text": "{{question}}",
        **more,
    }


def score(session: TextSession, question: str, choice: str) -> float:
    """The log probability of a choice, by the engine itself."""
    context = tuple(session.tokenizer.encode(question))
    whole = (*context, *session.tokenizer.encode(question + " " + choice)[len(context) :])
    request = GenerationRequest(whole, max_tokens=0, logprobs=0, echo=True)
    (found,) = session.run(lambda emit: session.make_writing(request, emit))
    return float(sum(each.logprob or 0.0 for each in found.tokens[len(context) :]))  # type: ignore[union-attr]


def test_local_completions(
    tmp_path: Path, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    bundle = write_writer(tmp_path / "writer")
    running = serve(str(bundle.folder), store=tmp_path / "store")
    asked = {"doc_to_choice": "{{choices}}", "doc_to_target": "{{answer}}"}
    choose = write_task(tmp_path, "multiple_choice", **asked)
    write = write_task(
        tmp_path,
        "generate_until",
        doc_to_target="x",
        generation_kwargs={"until": ["\n"], "max_gen_toks": 8, "do_sample": False},
    )
    found = lm_eval.simple_evaluate(
        model="local-completions",
        model_args={
            "model": "writer",
            "base_url": f"{running.url}/v1/completions",
            "tokenizer_backend": "remote",
            "num_concurrent": 2,
            "max_length": 512,
        },
        tasks=[choose, write],
        bootstrap_iters=0,
        log_samples=True,
    )
    session = TextSession(bundle)
    for sample in found["samples"]["tiny_multiple_choice"]:
        theirs = [each[0][0] for each in sample["resps"]]
        ours = [score(session, sample["doc"]["question"], choice) for choice in CHOICES]
        assert np.allclose(theirs, ours, atol=1e-4)
    assert all(sample["resps"][0][0] for sample in found["samples"]["tiny_generate_until"])
