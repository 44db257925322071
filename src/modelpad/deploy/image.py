"""The container image: its Dockerfile, and the files that the build needs.

Two stages: the first installs pinned packages and compiles them, the second gets the result. Then
come the models, in a layer of their own, so that a new version of a model uploads nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from modelpad import __version__
from modelpad.bundle.reader import SIGNATURE_FILE, read_signature_file
from modelpad.deploy.deployment import GRPC_PORT, HTTP_PORT, Content, Deployment
from modelpad.deploy.locked import select_requirements
from modelpad.deploy.wheel import NAME, build_wheel

PYTHON = "docker.io/library/python:3.13-slim"
USER = 65532  # as "nonroot" of the distroless images
SCRIPTS = Path(__file__).parent / "scripts"
IGNORED = """# Only what the Dockerfile copies is sent to the builder.
*
!requirements.txt
!*.whl
!assemble.py
!health.py
!models
"""
DOCKERFILE = """\
# {title}. Written by modelpad deploy.
# Pin the base image by its digest for builds that never change:
#   docker build --build-arg PYTHON=python:3.13-slim@sha256:... .
ARG PYTHON={python}

FROM ${{PYTHON}} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /build
COPY requirements.txt {wheel} assemble.py health.py ./
RUN python -m venv --without-pip /opt/modelpad \\
 && python -m pip --python /opt/modelpad/bin/python install --require-hashes --no-deps \\
      --no-compile --only-binary :all: --requirement requirements.txt \\
 && /opt/modelpad/bin/python assemble.py /rootfs{option} && cp health.py /opt/modelpad/

# The base image of the models: docker build --target runtime .
FROM {base} AS runtime
{labels}
COPY --from=build /rootfs/ /
COPY --from=build /opt/modelpad /opt/modelpad
{variables}
WORKDIR /tmp
USER {user}:{user}
EXPOSE {ports}
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \\
  CMD ["/opt/modelpad/bin/python", "-IS", "/opt/modelpad/health.py"]
ENTRYPOINT ["/opt/modelpad/bin/modelpad"]
CMD ["serve"]

FROM runtime AS app
LABEL org.opencontainers.image.version={tag}
{adapter}COPY models/ /models/
"""


@dataclass(frozen=True, slots=True)
class Image:
    """What a target needs of the image: its port, gRPC, its user, more variables.

    `adapter` is a line of the Dockerfile, for the last stage.
    """

    port: int = HTTP_PORT
    grpc: bool = False
    user: int = USER
    variables: Mapping[str, str] = field(default_factory=dict)
    adapter: str = ""


def build_context(deployment: Deployment, image: Image) -> dict[str, Content]:
    """The files of the folder that the image is built from."""
    return {
        "Dockerfile": write_dockerfile(deployment, image).encode("utf-8"),
        ".dockerignore": IGNORED.encode("utf-8"),
        **list_packages(find_extras(deployment, grpc=image.grpc)),
        "assemble.py": SCRIPTS / "assemble.py",
        "health.py": SCRIPTS / "health.py",
        **list_models(deployment),
    }


def list_packages(extras: Collection[str]) -> dict[str, Content]:
    """The wheel of modelpad, and the requirements file that pins it and all others."""
    wheel = build_wheel()
    return {"requirements.txt": select_requirements(extras, NAME, wheel), NAME: wheel}


def list_models(deployment: Deployment) -> dict[str, Content]:
    """The models, as a store: `models/NAME/VERSION/`."""
    files: dict[str, Content] = {}
    for model in deployment.models:
        bundle, folder = model.bundle, f"models/{model.name}/{model.version}"
        files[f"{folder}/manifest.json"] = bundle.folder / "manifest.json"
        files |= {f"{folder}/{name}": bundle.path(name) for name in bundle.manifest.files}
        signature = read_signature_file(bundle.folder)
        if signature is not None:
            files[f"{folder}/{SIGNATURE_FILE}"] = signature
    return files


def find_extras(deployment: Deployment, *, grpc: bool) -> frozenset[str]:
    """The extras of modelpad that the image needs: what the user chose, and what models use."""
    files = (name for model in deployment.models for name in model.bundle.manifest.files)
    text = any(Path(name).name == "tokenizer.json" for name in files)
    return deployment.extras | ({"grpc"} if grpc else set()) | ({"text"} if text else set())


def list_variables(image: Image) -> dict[str, str]:
    """The server's settings in the container."""
    return {
        "PATH": "/opt/modelpad/bin:/usr/local/bin:/usr/bin:/bin",
        "HOME": "/tmp",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "MODELPAD_CACHE": "/tmp/modelpad",
        "MODELPAD_STORE": "/models",
        "MODELPAD_POLL_INTERVAL": "0",
        "MODELPAD_HOST": "0.0.0.0",
        "PORT": str(image.port),
        **({"MODELPAD_GRPC_PORT": str(GRPC_PORT)} if image.grpc else {}),
        **image.variables,
    }


def write_dockerfile(deployment: Deployment, image: Image) -> str:
    """The Dockerfile."""
    labels = {"title": deployment.name, "description": deployment.title}
    written = [f"org.opencontainers.image.{k}={json.dumps(v)}" for k, v in labels.items()]
    written.append(f'modelpad.version="{__version__}"')
    variables = [f"{name}={json.dumps(value)}" for name, value in list_variables(image).items()]
    return DOCKERFILE.format(
        title=deployment.title,
        python=PYTHON,
        wheel=NAME,
        option=" --slim" if deployment.slim else "",
        base="scratch" if deployment.slim else "${PYTHON}",
        labels="LABEL " + " \\\n      ".join(written),
        variables="ENV " + " \\\n    ".join(variables),
        user=image.user,
        ports=f"{image.port} {GRPC_PORT}" if image.grpc else str(image.port),
        tag=json.dumps(deployment.tag),
        adapter=f"{image.adapter}\n" if image.adapter else "",
    )
