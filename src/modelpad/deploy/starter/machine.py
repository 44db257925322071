"""SkyPilot's tasks of a project: the machine to train on, and a training on it."""

from __future__ import annotations

from modelpad.deploy.sky import VENV, write_setup
from modelpad.deploy.wheel import NAME as WHEEL
from modelpad.deploy.yaml import write_yaml

MACHINE = """The machine that `make vm` starts. Choose another GPU, cloud or region here:
https://docs.skypilot.co/en/latest/reference/yaml-spec.html"""
TRAINING = """What `make train` runs on the machine: it trains into a store of its own, `trained`,
which is then brought home."""


def write_machine(name: str) -> bytes:
    """A machine with a GPU, modelpad and JupyterLab."""
    packages = f"'./vm/{WHEEL}[train]' jupyterlab -r requirements.txt"
    task = {
        "name": f"{name.lower()}-machine",
        "resources": {"accelerators": "T4:1"},
        "workdir": ".",
        "setup": write_setup(packages),
    }
    return write_yaml(task, comment=MACHINE)


def write_training(name: str) -> bytes:
    """A training on that machine, with the files of the project as they are now."""
    task = {
        "name": f"train-{name.lower()}",
        "workdir": ".",
        "envs": {"EPOCHS": ""},
        "run": f"rm -rf trained\nmake train-here PYTHON={VENV}/bin/python STORE=trained\n",
    }
    return write_yaml(task, comment=TRAINING)
