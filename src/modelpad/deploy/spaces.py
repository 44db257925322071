"""`--to spaces`: a Docker Space on Hugging Face, with the page embedded in theirs."""

from __future__ import annotations

from modelpad.deploy.deployment import Deployment, Plan
from modelpad.deploy.image import Image, build_context
from modelpad.deploy.yaml import write_yaml

PORT = 7860
USER = 1000  # Spaces run every image as this user
LARGE_FILES = (
    "*.onnx filter=lfs diff=lfs merge=lfs -text\n*.whl filter=lfs diff=lfs merge=lfs -text\n"
)
CARD = """---
{front}---

# {title}

{summary}

Served by modelpad: the page above, and an API at `/docs`.
"""


def plan(deployment: Deployment) -> Plan:
    """The image's files and the card of the Space."""
    variables = {"MODELPAD_WORKERS": "1", "MODELPAD_FRAME_ANCESTORS": "https://huggingface.co"}
    image = Image(port=PORT, user=USER, variables=variables)
    files = build_context(deployment, image) | {
        "README.md": write_card(deployment).encode("utf-8"),
        ".gitattributes": LARGE_FILES.encode("utf-8"),
    }
    space = f"USER/{deployment.name}"
    return Plan(
        files=files,
        commands=(
            f"hf repo create {space} --repo-type space --space_sdk docker",
            f"hf upload {space} . . --repo-type space",
        ),
        rollback="revert the last commit of the Space's repository; the Space builds again.",
        notes=("Replace USER by your name on the hub.",),
    )


def write_card(deployment: Deployment) -> str:
    """README.md with the front matter that Spaces reads."""
    manifest = deployment.models[0].bundle.manifest
    summary = manifest.summary or f"The models {deployment.title}."
    front = write_yaml(
        {
            "title": manifest.title or deployment.name,
            "emoji": "🖍️",
            "colorFrom": "blue",
            "colorTo": "green",
            "sdk": "docker",
            "app_port": PORT,
            "pinned": False,
            "short_description": summary[:60],
        }
    )
    return CARD.format(
        front=front.decode("utf-8"), title=manifest.title or deployment.name, summary=summary
    )
