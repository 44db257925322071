"""`--to sagemaker`: an Amazon SageMaker endpoint; serverless, so that it scales to zero.

SageMaker starts the container as `IMAGE serve` and asks `/ping` and `/invocations` on port 8080.
"""

from __future__ import annotations

import json

from modelpad.deploy.deployment import Deployment, Plan, refuse_memory
from modelpad.deploy.image import Image, build_context
from modelpad.errors import Unsupported

REGISTRY = "ACCOUNT.dkr.ecr.REGION.amazonaws.com"
ROLE = "arn:aws:iam::ACCOUNT:role/SageMakerExecutionRole"
MEMORY_MB = (1024, 2048, 3072, 4096, 5120, 6144)  # what serverless endpoints offer
MAX_CONCURRENCY = 20


def plan(deployment: Deployment) -> Plan:
    """The image's files, and the requests that create model, configuration and endpoint.

    Raises `Unsupported` for several models, as `/invocations` does not say which one is meant, and
    for one that needs more memory than these endpoints have.
    """
    if len(deployment.models) > 1:
        raise Unsupported(
            f"A SageMaker endpoint serves one model, and {len(deployment.models)} are given.",
            hint="Deploy each into a folder of its own.",
        )
    image = deployment.reference(REGISTRY)
    name = deployment.name
    version = f"{name}-{deployment.tag.replace('.', '-')}"
    requests = {
        "model.json": write_model(version, image),
        "endpoint-config.json": write_config(version, deployment),
        "endpoint.json": {"EndpointName": name, "EndpointConfigName": version},
    }
    files = build_context(deployment, Image(variables={"MODELPAD_WORKERS": "1"}))
    files |= {
        file: (json.dumps(body, indent=2) + "\n").encode("utf-8") for file, body in requests.items()
    }
    create = " && ".join(
        f"aws sagemaker create-{kind} --cli-input-json file://{kind}.json"
        for kind in ("model", "endpoint-config", "endpoint")
    )
    return Plan(
        files=files,
        commands=(f"docker build -t {image} . && docker push {image}", create),
        rollback=f"aws sagemaker update-endpoint --endpoint-name {name}"
        " --endpoint-config-name PREVIOUS",
        notes=(
            "Replace ACCOUNT and REGION in the files and commands, or give --image; model.json"
            " needs your execution role.",
            f"A later version: aws sagemaker update-endpoint --endpoint-name {name}"
            f" --endpoint-config-name {version}",
        ),
    )


def write_model(version: str, image: str) -> dict[str, object]:
    """The request of CreateModel."""
    return {
        "ModelName": version,
        "ExecutionRoleArn": ROLE,
        "EnableNetworkIsolation": True,
        "PrimaryContainer": {"Image": image, "Mode": "SingleModel"},
    }


def write_config(version: str, deployment: Deployment) -> dict[str, object]:
    """The request of CreateEndpointConfig. Raises `Unsupported` for too large a model."""
    needed_mb = deployment.sizing.memory_mb
    memory_mb = next((size for size in MEMORY_MB if size >= needed_mb), None)
    if memory_mb is None:
        raise refuse_memory("A serverless endpoint", MEMORY_MB[-1], needed_mb)
    serverless = {"MemorySizeInMB": memory_mb, "MaxConcurrency": MAX_CONCURRENCY}
    variant = {
        "VariantName": "all",
        "ModelName": version,
        "ServerlessConfig": serverless,
    }
    return {"EndpointConfigName": version, "ProductionVariants": [variant]}
