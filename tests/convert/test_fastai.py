"""A fastai learner, exported by fastai itself; `make test-frameworks` runs this."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastai")

PARTS = """
import torch

def get_row(item):
    return torch.full((4,), item / 64)

def get_kind(item):
    return "high" if item > 31 else "low"
"""


@pytest.fixture
def learner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    import importlib

    import torch
    from fastai.basics import Categorize, Datasets, Learner

    (tmp_path / "parts_of_learner.py").write_text(PARTS)
    monkeypatch.syspath_prepend(tmp_path)
    parts = importlib.import_module("parts_of_learner")
    sets = Datasets(list(range(64)), [[parts.get_row], [parts.get_kind, Categorize()]])
    n = torch.nn
    net = n.Sequential(n.Linear(4, 8), n.BatchNorm1d(8), n.ReLU(), n.Linear(8, 2)).eval()
    made = Learner(sets.dataloaders(bs=16), net, loss_func=n.CrossEntropyLoss(), path=tmp_path)
    made.export("learner.pkl", pickle_module=pickle)
    return made


def test_an_exported_learner(served: Any, run_modelpad: Any, learner: Any, tmp_path: Path) -> None:
    import torch

    path = str(tmp_path / "learner.pkl")
    refused = run_modelpad("import", path)
    assert refused.returncode == 1
    assert "--trust" in refused.stderr
    ask = served(path, "--trust", "--input", "row=tensor:float32[4]")
    row = np.array([0.1, -0.3, 0.9, 0.4], np.float32)
    with torch.no_grad():
        shares = learner.model.eval()(torch.from_numpy(row[None])).softmax(1)[0].numpy()
    answer = ask({"row": row.tolist()})
    assert list(learner.dls.vocab) == ["high", "low"]
    assert answer["scores"]["high"] == pytest.approx(shares[0], abs=1e-5)


def test_without_fastai_the_way_is_told(run_modelpad: Any, learner: Any, tmp_path: Path) -> None:
    done = run_modelpad("import", "learner.pkl", "--trust", PYTHONPATH="")
    assert done.returncode == 1
    assert "fastai is not installed" in done.stderr
    assert "torch.save(learn.model.state_dict()" in done.stderr
