"""`--to cloud-run`: a service on Google Cloud Run that scales to zero, built by Cloud Build.

Two images: the base with Python and modelpad, which is reused while its requirements stay the same,
and the app with the models on top. The service is Knative's `serving.knative.dev/v1`.
"""

from __future__ import annotations

from modelpad.deploy.deployment import HTTP_PORT, Deployment, Plan, refuse_memory
from modelpad.deploy.image import Image, build_context
from modelpad.deploy.yaml import Yaml, write_yaml

REGISTRY = "REGION-docker.pkg.dev/PROJECT/modelpad"
MAX_INSTANCES = 10
MAX_CONCURRENCY = 1000  # of Cloud Run
MEMORY_MB = {4096: 1, 8192: 2, 16384: 4, 24576: 6, 32768: 8}  # up to which CPUs are enough
SERVICE = """A service that scales to zero. An instance takes {concurrency} requests at once: {why}.
Deploy: gcloud run services replace service.yaml --region REGION"""
BUILD = """Builds the base image, unless the last one still fits, then the app on top of it.
Build: gcloud builds submit --config cloudbuild.yaml ."""


def plan(deployment: Deployment) -> Plan:
    """The image's files, cloudbuild.yaml and service.yaml.

    Raises `Unsupported` for models that need more memory than an instance can have.
    """
    image = deployment.reference(REGISTRY)
    sizing = deployment.sizing
    batches = ", ".join(f"{name} {size}" for name, size in sizing.batches.items())
    cpus = max(sizing.cpus, choose_cpus(sizing.memory_mb))
    why = f"two of the best batches measured ({batches})"
    files = build_context(deployment, Image(variables={"MODELPAD_WORKERS": str(sizing.cpus)})) | {
        "cloudbuild.yaml": write_yaml(write_build(image), comment=BUILD),
        "service.yaml": write_yaml(
            write_service(deployment, image, cpus),
            comment=SERVICE.format(concurrency=sizing.concurrency, why=why),
        ),
    }
    return Plan(
        files=files,
        commands=(
            "gcloud builds submit --config cloudbuild.yaml .",
            "gcloud run services replace service.yaml --region REGION",
        ),
        rollback=f"gcloud run services update-traffic {deployment.name} --region REGION"
        " --to-revisions REVISION=100",
        notes=(
            *note_placeholders(deployment),
            f"To open it to everyone: gcloud run services add-iam-policy-binding {deployment.name}"
            " --region REGION --member allUsers --role roles/run.invoker",
        ),
        cpus=cpus,
    )


def note_placeholders(deployment: Deployment) -> tuple[str, ...]:
    """What to replace, unless `--image` named the image."""
    if deployment.image:
        return ()
    return (f"Replace REGION and PROJECT in the files, or give --image ({REGISTRY}/...).",)


def choose_cpus(memory_mb: int) -> int:
    """The fewest CPUs that Cloud Run gives with so much memory. Raises `Unsupported`."""
    for limit_mb, cpus in MEMORY_MB.items():
        if memory_mb <= limit_mb:
            return cpus
    raise refuse_memory("An instance of Cloud Run", max(MEMORY_MB), memory_mb)


def write_service(deployment: Deployment, image: str, cpus: int) -> Yaml:
    """The service, with a startup probe that waits for the models."""
    sizing = deployment.sizing
    container: Yaml = {
        "image": image,
        "ports": [{"name": "http1", "containerPort": HTTP_PORT}],
        "resources": {"limits": {"cpu": str(cpus), "memory": f"{sizing.memory_mb}Mi"}},
        "startupProbe": {
            "httpGet": {"path": "/readyz", "port": HTTP_PORT},
            "periodSeconds": 1,
            "timeoutSeconds": 1,
            "failureThreshold": 60,
        },
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": HTTP_PORT}, "periodSeconds": 30},
    }
    template: Yaml = {
        "metadata": {
            "annotations": {
                "autoscaling.knative.dev/minScale": "0",
                "autoscaling.knative.dev/maxScale": str(MAX_INSTANCES),
                "run.googleapis.com/startup-cpu-boost": "true",
            }
        },
        "spec": {
            "containerConcurrency": min(MAX_CONCURRENCY, sizing.concurrency),
            "timeoutSeconds": 60,
            "containers": [container],
        },
    }
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {
            "name": deployment.name,
            "annotations": {"run.googleapis.com/ingress": "all"},
        },
        "spec": {"template": template, "traffic": [{"percent": 100, "latestRevision": True}]},
    }


def split_tag(image: str) -> str:
    """An image's name without tag and digest; the registry may have a port."""
    registry, slash, name = image.partition("@")[0].rpartition("/")
    return f"{registry}{slash}{name.partition(':')[0]}"


def write_build(image: str) -> Yaml:
    """Two builds of one Dockerfile; the first may take its layers from the last base image."""
    base = f"{split_tag(image)}-base:latest"
    docker = "gcr.io/cloud-builders/docker"
    build = ["build", "--cache-from", base, "--build-arg", "BUILDKIT_INLINE_CACHE=1"]
    settings: list[Yaml] = ["DOCKER_BUILDKIT=1"]
    return {
        "steps": [
            {
                "id": "last-base",
                "name": docker,
                "entrypoint": "bash",
                "args": ["-c", f"docker pull {base} || true"],
            },
            {
                "id": "base",
                "name": docker,
                "env": settings,
                "args": [*build, "--target", "runtime", "-t", base, "."],
            },
            {
                "id": "app",
                "name": docker,
                "env": settings,
                "args": [*build, "-t", image, "."],
            },
        ],
        "images": [base, image],
        "timeout": "1200s",
    }
