"""The platforms that models can be deployed to, by name."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

from modelpad.deploy.deployment import Deployment, Plan

TARGETS = {
    "docker": "an image for Docker or Podman, and a Compose file",
    "cloud-run": "a service on Google Cloud Run that scales to zero",
    "app-engine": "an app on Google App Engine",
    "kubernetes": "manifests for any Kubernetes cluster",
    "kserve": "a serving runtime and inference services for KServe",
    "sagemaker": "a serverless endpoint on Amazon SageMaker",
    "lambda": "a function on AWS Lambda with a URL",
    "spaces": "a Docker Space on Hugging Face",
    "sky": "SkyPilot tasks that serve and train on any cloud",
    "ray": "an application of Ray Serve, on a cluster that exists",
}
MODULES = {"lambda": "aws_lambda"}  # a keyword


def make_plan(target: str, deployment: Deployment) -> Plan:
    """The files and commands of a target, with a README.

    Raises `Unsupported` for models that the target cannot run.
    """
    module = import_module(f"modelpad.deploy.{MODULES.get(target, target.replace('-', '_'))}")
    plan: Plan = module.plan(deployment)
    files = dict(plan.files)
    if "README.md" not in files:
        files["README.md"] = write_readme(target, deployment, plan).encode("utf-8")
    return replace(plan, files=files)


def write_readme(target: str, deployment: Deployment, plan: Plan) -> str:
    """What is in the folder, what to type, and how to go back."""
    commands = "\n".join(plan.commands)
    notes = "".join(f"\n{note}\n" for note in plan.notes)
    cpus = plan.cpus or deployment.sizing.cpus
    size = f"{cpus} CPU{'s' * (cpus > 1)} and {deployment.sizing.memory_mb} MB"
    return f"""\
# {deployment.title}

{TARGETS[target][0].upper()}{TARGETS[target][1:]}, written by `modelpad deploy`. In this folder:

```sh
{commands}
```
{notes}
One instance has {size} of memory. Roll back: {plan.rollback}

| file | what |
| --- | --- |
{_list_files(plan)}
"""


FILES = {
    "Dockerfile": "the image: two stages, then the models in a layer of their own",
    "requirements.txt": "every package, pinned by its hashes",
    "assemble.py": "run in the build: drops unused files, compiles, writes the bill of materials",
    "health.py": "the image's health check",
    "models": "the models, as a store: NAME/VERSION",
    "compose.yaml": "for Compose",
    "Makefile": "the same commands as targets",
    "cloudbuild.yaml": "builds base and app image with Cloud Build",
    "service.yaml": "the service",
    "app.yaml": "the app",
    "deployment.yaml": "two pods or more, without privileges, with probes and limits",
    "autoscaler.yaml": "more pods when their CPUs are busy",
    "disruption-budget.yaml": "keeps a pod while nodes are drained",
    "network-policy.yaml": "requests in, nothing out",
    "kustomization.yaml": "all manifests together",
    "serving-runtime.yaml": "modelpad as a runtime of KServe",
    "inference-service.yaml": "a service for each model",
    "model.json": "creates the model",
    "endpoint-config.json": "creates the configuration of the endpoint",
    "endpoint.json": "creates the endpoint",
    "template.yaml": "the function, for AWS SAM",
    "serve.yaml": "serves the models on spot machines",
    "train.yaml": "trains the next version on a spot GPU",
    "config.yaml": "the application: where it is, what it needs, how many replicas",
    "app.py": "what Ray imports: the models as an application of Ray Serve",
    ".github": "a workflow that builds and publishes the image",
}


def _list_files(plan: Plan) -> str:
    first = dict.fromkeys(name.split("/")[0] for name in plan.files)
    rows = [f"| `{name}` | {FILES[name]} |" for name in first if name in FILES]
    wheels = [name for name in first if name.endswith(".whl")]
    return "\n".join([*rows, *(f"| `{name}` | modelpad itself |" for name in wheels)])
