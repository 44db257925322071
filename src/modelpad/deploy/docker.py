"""`--to docker`: an image for Docker or Podman, run alone or with Compose."""

from __future__ import annotations

from modelpad.deploy.deployment import GRPC_PORT, HTTP_PORT, Deployment, Plan
from modelpad.deploy.image import Image, build_context
from modelpad.deploy.yaml import Yaml, write_yaml

RUN = (
    "docker run --rm --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges"
    " --memory {memory}m -p {http}:{http} -p {grpc}:{grpc} {image}"
)
WORKFLOW = """Builds the image and pushes it to this repository's registry. Copy the folder to the
root of a repository."""


def plan(deployment: Deployment) -> Plan:
    """An image with HTTP and gRPC, a Compose file, a Makefile, and a workflow that publishes."""
    image = deployment.reference()
    run = RUN.format(
        memory=deployment.sizing.memory_mb, http=HTTP_PORT, grpc=GRPC_PORT, image=image
    )
    files = build_context(deployment, Image(grpc=True)) | {
        "compose.yaml": write_yaml(write_compose(deployment)),
        "Makefile": write_makefile(image, run).encode("utf-8"),
        ".github/workflows/image.yaml": write_yaml(write_workflow(deployment), comment=WORKFLOW),
    }
    return Plan(
        files=files,
        commands=(f"docker build -t {image} .", run),
        rollback=f"Run the image of the previous versions: every one has its tag ({image}).",
        notes=("Or with Compose: docker compose up --build --detach --wait",),
    )


def write_compose(deployment: Deployment) -> Yaml:
    """The Compose file: one service, as confined as the command of `docker run`."""
    service: Yaml = {
        "image": deployment.reference(),
        "build": {"context": "."},
        "ports": [f"{HTTP_PORT}:{HTTP_PORT}", f"{GRPC_PORT}:{GRPC_PORT}"],
        "read_only": True,
        "tmpfs": ["/tmp"],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "mem_limit": f"{deployment.sizing.memory_mb}m",
        "cpus": deployment.sizing.cpus,
        "pids_limit": 256,
        "restart": "unless-stopped",
        "stop_grace_period": "15s",
    }
    return {"name": deployment.name, "services": {deployment.name: service}}


def write_makefile(image: str, run: str) -> str:
    """The Makefile; Podman's users run `make ENGINE=podman`."""
    run = run.replace("docker run", "$(ENGINE) run").replace(image, "$(IMAGE)")
    return f"""\
# make build | run | push | arm64; with Podman: make build ENGINE=podman
ENGINE ?= docker
IMAGE ?= {image}

.PHONY: build run push arm64
build:
\t$(ENGINE) build -t $(IMAGE) .

run:
\t{run}

push: build
\t$(ENGINE) push $(IMAGE)

arm64:
\t$(ENGINE) build --platform linux/arm64 -t $(IMAGE)-arm64 .
"""


def write_workflow(deployment: Deployment) -> Yaml:
    """A GitHub workflow that builds, tries and pushes the image."""
    # Names of images are in lower case; those of owners need not be.
    image = f"ghcr.io/${{GITHUB_REPOSITORY_OWNER,,}}/{deployment.name}:{deployment.tag}"
    check = "\n".join(
        [
            "docker run --detach --name check --read-only --tmpfs /tmp --cap-drop ALL $IMAGE",
            "for i in $(seq 30); do",
            "  docker exec check /opt/modelpad/bin/python -IS /opt/modelpad/health.py && exit 0",
            "  sleep 1",
            "done",
            "docker logs check",
            "exit 1",
            "",
        ]
    )
    steps: list[Yaml] = [
        {"name": "Name the image", "run": f'echo "IMAGE={image}" >> "$GITHUB_ENV"'},
        {"uses": "actions/checkout@v4"},
        {
            "name": "Log in",
            "run": "echo ${{ secrets.GITHUB_TOKEN }} |"
            " docker login ghcr.io -u ${{ github.actor }} --password-stdin",
        },
        {"name": "Build", "run": "docker build -t $IMAGE ."},
        {"name": "Check", "run": check},
        {"name": "Push", "run": "docker push $IMAGE"},
    ]
    return {
        "name": "image",
        "on": {"push": {"branches": ["main"]}, "workflow_dispatch": None},
        "permissions": {"contents": "read", "packages": "write"},
        "jobs": {"image": {"runs-on": "ubuntu-latest", "steps": steps}},
    }
