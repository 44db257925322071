"""Which models can run in a page."""

from __future__ import annotations

from modelpad.deploy.web.texts import find_pattern_obstacle
from modelpad.errors import Unsupported
from modelpad.fields import Field, Signature
from modelpad.store import ResolvedBundle

INPUTS = ("sketch", "image", "tensor", "number", "choice", "blend", "score")
HINT = (
    "Models of drawings, pictures, arrays and tables can be exported, and of texts those with a"
    " byte-level tokenizer; serve others instead."
)


def check_exportable(found: ResolvedBundle, *, webgpu: bool = False) -> None:
    """Raises `Unsupported`, with the reason, for a model that cannot run in a page."""
    if webgpu and found.bundle.manifest.sequence is not None:
        raise Unsupported(
            f"{found.name} computes texts token by token, for which WebGPU is not offered.",
            hint="Leave --webgpu out: WebAssembly runs it.",
        )
    reason = find_obstacle(found)
    if reason:
        raise Unsupported(f"{found.name} cannot run in a web page: {reason}.", hint=HINT)


def find_obstacle(found: ResolvedBundle) -> str:
    """Why a model cannot run in a page; empty if it can."""
    manifest = found.bundle.manifest
    if manifest.native is not None:
        return f"it runs in {manifest.native.framework} and has no ONNX graph"
    if manifest.sequence is not None:
        return find_pattern_obstacle(found.bundle, manifest.sequence)
    for field in manifest.signature.inputs:
        if field.kind not in INPUTS:
            return f"its input {field.name!r} is of kind {field.kind}"
    if uses_float16(manifest.signature):
        return "its tensors have 16-bit floats"
    return ""


def uses_float16(signature: Signature) -> bool:
    """Whether a field or a step has a dtype that pages do not read."""
    fields: tuple[Field, ...] = (*signature.inputs, *signature.outputs)
    bindings = (*signature.input_bindings, *signature.output_bindings)
    dtypes = {getattr(each, "dtype", "") for each in fields}
    dtypes |= {getattr(step, "dtype", "") for binding in bindings for step in binding.steps}
    return "float16" in dtypes
