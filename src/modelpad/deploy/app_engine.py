"""`--to app-engine`: Google App Engine, the standard environment where it takes the models.

The standard environment installs requirements.txt itself and scales to zero. It takes no file
above 32 MB: larger models run in the flexible environment, from the image, on one instance or more.
"""

from __future__ import annotations

from modelpad.deploy.deployment import Content, Deployment, Plan
from modelpad.deploy.folder import measure_content
from modelpad.deploy.image import Image, build_context, find_extras, list_models, list_packages
from modelpad.deploy.yaml import Yaml, write_yaml

MAX_FILE_BYTES = 32 * 1000 * 1000
# Memory of the instance classes, in MB, smallest first.
CLASSES = {"F2": 768, "F4": 1536, "F4_1G": 3072}
IGNORED = "README.md\n.git\n"
MAX_INSTANCES = 5


def plan(deployment: Deployment) -> Plan:
    """app.yaml with what its environment needs."""
    models = list_models(deployment)
    largest = max(measure_content(content) for content in models.values())
    memory_mb = deployment.sizing.memory_mb
    if largest > MAX_FILE_BYTES or memory_mb > max(CLASSES.values()):
        return plan_flexible(deployment)
    files: dict[str, Content] = {
        "app.yaml": write_yaml(write_standard(deployment)),
        ".gcloudignore": IGNORED.encode("utf-8"),
        **list_packages(find_extras(deployment, grpc=False)),
        **models,
    }
    return Plan(files, list_commands(), list_rollback())


def plan_flexible(deployment: Deployment) -> Plan:
    """The flexible environment, which builds the Dockerfile."""
    files = build_context(deployment, Image(variables={"MODELPAD_WORKERS": "1"})) | {
        "app.yaml": write_yaml(write_flexible(deployment)),
        ".gcloudignore": IGNORED.encode("utf-8"),
    }
    note = "The flexible environment always runs at least one instance: it does not scale to zero."
    return Plan(files, list_commands(), list_rollback(), (note,))


def list_commands() -> tuple[str, ...]:
    """What to type."""
    return "gcloud app create --region REGION", "gcloud app deploy app.yaml"


def list_rollback() -> str:
    """How to go back."""
    return "gcloud app services set-traffic default --splits VERSION=1"


def write_standard(deployment: Deployment) -> Yaml:
    """app.yaml of the standard environment; only /tmp can be written."""
    memory_mb = deployment.sizing.memory_mb
    instance = next(name for name, size in CLASSES.items() if size >= memory_mb)
    return {
        "runtime": "python313",
        "instance_class": instance,
        "entrypoint": "modelpad serve",
        "env_variables": {
            "MODELPAD_HOST": "0.0.0.0",
            "MODELPAD_STORE": "models",
            "MODELPAD_CACHE": "/tmp/modelpad",
            "MODELPAD_WORKERS": "1",
            "MODELPAD_POLL_INTERVAL": "0",
        },
        "automatic_scaling": {
            "min_instances": 0,
            "max_instances": MAX_INSTANCES,
            "max_concurrent_requests": min(80, max(10, deployment.sizing.concurrency)),
        },
        "handlers": [{"url": "/.*", "script": "auto", "secure": "always"}],
    }


def write_flexible(deployment: Deployment) -> Yaml:
    """app.yaml of the flexible environment."""
    sizing = deployment.sizing
    return {
        "runtime": "custom",
        "env": "flex",
        "resources": {
            "cpu": sizing.cpus,
            "memory_gb": round(sizing.memory_mb / 1024, 1),
            "disk_size_gb": 10,
        },
        "automatic_scaling": {
            "min_num_instances": 1,
            "max_num_instances": MAX_INSTANCES,
            "cpu_utilization": {"target_utilization": 0.7},
        },
        "liveness_check": {"path": "/healthz"},
        "readiness_check": {"path": "/readyz"},
    }
