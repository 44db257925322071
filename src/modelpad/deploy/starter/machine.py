"""SkyPilot's task of a project: the machine to train on, and what a training does there."""

from __future__ import annotations

from modelpad.deploy.sky import VENV, write_setup
from modelpad.deploy.wheel import NAME as WHEEL
from modelpad.deploy.yaml import Yaml, write_yaml

COMMENT = """The machine that `make vm` starts, and that `make train` then trains on.
Choose another GPU, cloud or region: https://docs.skypilot.co/en/latest/reference/yaml-spec.html"""
# A store of its own: the version is brought home from there.
TRAIN = f"make train-here PYTHON={VENV}/bin/python STORE=trained"


def write_machine(name: str) -> bytes:
    """A machine with a GPU, modelpad and JupyterLab; with `TRAIN` set, the task trains."""
    packages = f"'./vm/{WHEEL}[train]' jupyterlab -r requirements.txt"
    task: Yaml = {
        "name": name.lower(),
        "resources": {"accelerators": "T4:1"},
        "workdir": ".",
        "envs": {"TRAIN": "", "EPOCHS": ""},
        "setup": write_setup(packages),
        "run": f'test -n "$TRAIN" || exit 0\nrm -rf trained\n{TRAIN}\n',
    }
    return write_yaml(task, comment=COMMENT)
