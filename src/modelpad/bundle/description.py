"""What the page shows of a bundle: its fields, samples and card, as JSON.

The same for a model on a server and one that runs in the page.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from modelpad.bundle.reader import CARD, Bundle
from modelpad.foreign_json import Json, text_at


def describe_bundle(
    bundle: Bundle, name: str, version: int, card: Json, files_url: str
) -> dict[str, object]:
    """The model's entry in `GET /models`; `files_url` comes before the path of each file."""
    manifest = bundle.manifest
    return {
        "name": name,
        "version": version,
        "task": manifest.task,
        "title": manifest.title,
        "summary": manifest.summary,
        "author": manifest.author,
        "licence": manifest.licence,
        "backend": manifest.backend,
        "runs_in": manifest.runs_in,
        **manifest.signature.to_dict(),
        "samples": [
            {
                "inputs": {
                    key: _describe_value(value, files_url) for key, value in sample.inputs.items()
                },
                "expected": sample.expected,
            }
            for sample in manifest.samples
            if not sample.generated
        ],
        "metrics": manifest.metrics,
        "card": card,
    }


def is_public(bundle: Bundle, path: str) -> bool:
    """Whether anyone who sees the page may read a file: a sample, a figure or the card."""
    public = path.startswith(("samples/", "report/")) or path == CARD
    return public and path in bundle.manifest.files


def _describe_value(value: Mapping[str, Json], files_url: str) -> dict[str, object]:
    if "file" in value:
        return {"url": files_url + quote(text_at(value, "file"))}
    return {"value": value["value"]}  # nothing else: a bundle must not inject a URL
