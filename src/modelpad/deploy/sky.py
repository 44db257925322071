"""`--to sky`: SkyPilot tasks that serve the models, and train the next version, on any cloud.

SkyPilot finds the cheapest machine among the clouds that the user has access to; spot machines that
are taken away are replaced.
"""

from __future__ import annotations

import shlex

from modelpad.deploy.deployment import HTTP_PORT, Deployment, Plan
from modelpad.deploy.image import find_extras, list_models, list_packages
from modelpad.deploy.wheel import NAME
from modelpad.deploy.yaml import Yaml, write_yaml
from modelpad.store import ResolvedBundle

VENV = "~/modelpad"
PYTHON = "3.13"
REPLICAS, MAX_REPLICAS = 1, 5
SERVE = """Serve: sky serve up serve.yaml --service-name {name}"""
TRAIN = """Train the next version on a spot GPU: sky jobs launch train.yaml
Data and store are in buckets, so that a training survives the loss of its machine."""


def plan(deployment: Deployment) -> Plan:
    """serve.yaml, train.yaml for a model of a recipe, the packages and the models."""
    name = deployment.name
    files = {
        "serve.yaml": write_yaml(write_serve(deployment), comment=SERVE.format(name=name)),
        "train.yaml": write_yaml(write_train(deployment.models[0]), comment=TRAIN),
        **list_packages(find_extras(deployment, grpc=False)),
        **list_models(deployment),
    }
    return Plan(
        files=files,
        commands=(
            "pip install 'skypilot[gcp]'",
            f"sky serve up serve.yaml --service-name {name}",
        ),
        rollback=f"sky serve update {name} with the serve.yaml of the previous version.",
        notes=(
            "Any cloud: skypilot[aws], skypilot[azure], ...; sky check tells which are set up.",
            "Train the next version on a spot GPU: sky jobs launch train.yaml",
        ),
    )


def write_setup(requirements: str) -> str:
    """Commands that install modelpad on a new machine, whose own Python may be too old."""
    return (
        'export PATH="$HOME/.local/bin:$PATH"\n'
        "command -v uv || curl -LsSf https://astral.sh/uv/install.sh | sh\n"
        f"uv venv --allow-existing --seed --python {PYTHON} {VENV}\n"
        f"{VENV}/bin/pip install {requirements}\n"
    )


def write_serve(deployment: Deployment) -> Yaml:
    """A service of replicas on spot machines, each ready when its models are."""
    memory_gb = max(2, -(-deployment.sizing.memory_mb // 1024))
    return {
        "name": deployment.name,
        "service": {
            "readiness_probe": {"path": "/readyz", "initial_delay_seconds": 300},
            "replica_policy": {
                "min_replicas": REPLICAS,
                "max_replicas": MAX_REPLICAS,
                "target_qps_per_replica": 50,
            },
        },
        "resources": {
            "cpus": "2+",
            "memory": f"{memory_gb}+",
            "use_spot": True,
            "ports": HTTP_PORT,
        },
        "envs": {
            "MODELPAD_HOST": "0.0.0.0",
            "MODELPAD_PORT": str(HTTP_PORT),
            "MODELPAD_STORE": "models",
            "MODELPAD_POLL_INTERVAL": "0",
        },
        "workdir": ".",
        "setup": write_setup("--require-hashes -r requirements.txt"),
        "run": f"exec {VENV}/bin/modelpad serve\n",
    }


def write_train(model: ResolvedBundle) -> Yaml:
    """A managed job on a spot GPU: it resumes on another machine, and writes into the store."""
    # The bundle's author chose the recipe's name, and the user's machines run this.
    recipe = shlex.quote(str(model.bundle.manifest.training.get("recipe") or "RECIPE"))
    train = f"train {recipe} --name {shlex.quote(model.name)} --store /store --runs /store/.runs"
    return {
        "name": f"train-{model.name.lower()}",
        "resources": {
            "accelerators": "T4:1",
            "use_spot": True,
            "job_recovery": "EAGER_NEXT_REGION",
        },
        "workdir": ".",
        "file_mounts": {
            "/store": {"name": "BUCKET", "mode": "MOUNT_CACHED"},
        },
        "setup": write_setup(f"'./{NAME}[train]'"),
        "run": f"{VENV}/bin/modelpad {train} --resume || {VENV}/bin/modelpad {train}\n",
    }
