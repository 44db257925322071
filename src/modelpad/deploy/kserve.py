"""`--to kserve`: modelpad as a ServingRuntime of KServe, and an InferenceService for each model.

The image holds no models: KServe's storage initializer downloads each bundle into its pod.
"""

from __future__ import annotations

from collections.abc import Sequence

from modelpad.deploy.deployment import HTTP_PORT, REGISTRY, Deployment, Plan, choose_name
from modelpad.deploy.image import USER, Image, build_context
from modelpad.deploy.yaml import Yaml, write_yaml
from modelpad.errors import UsageError
from modelpad.store import ResolvedBundle

BUCKET = "gs://BUCKET/models"
RUNTIME = "modelpad"
FORMAT = "modelpad"
MOUNT = "/mnt/models"


def plan(deployment: Deployment) -> Plan:
    """The runtime's image, its manifest, and a service for each model.

    Raises `UsageError` for models whose services would have the same name.
    """
    check_names(deployment.models)
    image = deployment.reference(REGISTRY)
    services = [write_service(model) for model in deployment.models]
    files = build_context(deployment, Image()) | {
        "serving-runtime.yaml": write_yaml(write_runtime(deployment, image)),
        "inference-service.yaml": write_yaml(*services),
    }
    return Plan(
        files=files,
        commands=(
            f"docker build --target runtime -t {image} . && docker push {image}"
            f" && gcloud storage cp --recursive models {BUCKET.removesuffix('/models')}",
            "kubectl apply -f serving-runtime.yaml -f inference-service.yaml",
        ),
        rollback="apply inference-service.yaml again with the storageUri of the previous version.",
        notes=(
            f"Replace {REGISTRY} and BUCKET in the files; s3:// and pvc:// work, too.",
            "With Knative it scales to zero; in raw deployments set minReplicas to 1.",
        ),
    )


def check_names(models: Sequence[ResolvedBundle]) -> None:
    """Raises `UsageError` if two services would have the same name."""
    known: dict[str, str] = {}
    for model in models:
        name = choose_name((model,))
        if name in known:
            raise UsageError(
                f"The services of {known[name]} and {model.name} would both be called {name}.",
                hint=f"Give one of them another name: NAME={model.name}",
            )
        known[name] = model.name


def write_runtime(deployment: Deployment, image: str) -> Yaml:
    """The runtime: any bundle, served under its InferenceService's name."""
    sizing = deployment.sizing
    resources: Yaml = {"cpu": str(sizing.cpus), "memory": f"{sizing.memory_mb}Mi"}
    container: Yaml = {
        "name": "kserve-container",
        "image": image,
        "args": ["serve", "{{.Name}}=" + MOUNT],
        "env": [
            {"name": "MODELPAD_WORKERS", "value": str(sizing.cpus)},
            {"name": "MODELPAD_STORE", "value": "/tmp/store"},
        ],
        "ports": [{"name": "http1", "containerPort": HTTP_PORT, "protocol": "TCP"}],
        "resources": {"requests": resources, "limits": resources},
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": HTTP_PORT}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "runAsUser": USER,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": {"name": RUNTIME},
        "spec": {
            "supportedModelFormats": [{"name": FORMAT, "version": "2", "autoSelect": True}],
            "protocolVersions": ["v1", "v2"],
            "multiModel": False,
            "containers": [container],
            "volumes": [{"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}}],
        },
    }


def write_service(model: ResolvedBundle) -> Yaml:
    """The service of one version of a model."""
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": choose_name((model,))},
        "spec": {
            "predictor": {
                "minReplicas": 0,
                "maxReplicas": 5,
                "model": {
                    "modelFormat": {"name": FORMAT, "version": "2"},
                    "runtime": RUNTIME,
                    "protocolVersion": "v2",
                    "storageUri": f"{BUCKET}/{model.name}/{model.version}",
                },
            }
        },
    }
