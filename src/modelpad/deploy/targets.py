"""The platforms that models can be deployed to, by name."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

from modelpad.deploy.deployment import Deployment, Plan

TARGETS = {
    "docker": "an image for Docker or Podman, and a Compose file",
}


def make_plan(target: str, deployment: Deployment) -> Plan:
    """The files and commands of a target, with a README.

    Raises `Unsupported` for models that the target cannot run.
    """
    module = import_module(f"modelpad.deploy.{target.replace('-', '_')}")
    plan: Plan = module.plan(deployment)
    files = dict(plan.files)
    if "README.md" not in files:
        files["README.md"] = write_readme(target, deployment, plan).encode("utf-8")
    return replace(plan, files=files)


def write_readme(target: str, deployment: Deployment, plan: Plan) -> str:
    """What is in the folder, what to type, and how to go back."""
    commands = "\n".join(plan.commands)
    notes = "".join(f"\n{note}\n" for note in plan.notes)
    sizing = deployment.sizing
    return f"""\
# {deployment.title}

{TARGETS[target][0].upper()}{TARGETS[target][1:]}, written by `modelpad deploy`. In this folder:

```sh
{commands}
```
{notes}
One instance has {sizing.cpus} CPU and {sizing.memory_mb} MB of memory. Roll back: {plan.rollback}

| file | what |
| --- | --- |
{_list_files(plan)}
"""


FILES = {
    "Dockerfile": "the image: two stages, then the models in a layer of their own",
    "requirements.txt": "every package of the image, pinned by its hashes",
    "assemble.py": "run in the build: drops unused files, compiles, writes the bill of materials",
    "health.py": "the image's health check",
    "models": "the models, as a store: NAME/VERSION",
    "compose.yaml": "for Compose",
    "Makefile": "the same commands as targets",
    ".github": "a workflow that builds and publishes the image",
}


def _list_files(plan: Plan) -> str:
    first = dict.fromkeys(name.split("/")[0] for name in plan.files)
    rows = [f"| `{name}` | {FILES[name]} |" for name in first if name in FILES]
    wheels = [name for name in first if name.endswith(".whl")]
    return "\n".join([*rows, *(f"| `{name}` | modelpad itself |" for name in wheels)])
