"""What the signatures of a SavedModel compute, as digests, so that equal ones are converted once.

Keras writes one function as two signatures, `serve` and `serving_default`.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorflow.core.framework.function_pb2 import FunctionDef
    from tensorflow.core.framework.node_def_pb2 import NodeDef
    from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef

CALLS = ("PartitionedCall", "StatefulPartitionedCall")


def digest_signature(graph: MetaGraphDef, name: str) -> str:
    """A digest of what a signature computes; "" unless it is a single call of a function.

    Signatures have the same digest if they call equal functions with the same variables, and name
    their inputs and outputs alike.
    """
    definition = graph.signature_def[name]
    nodes: Mapping[str, NodeDef] = {node.name: node for node in graph.graph_def.node}
    functions = {each.signature.name: each for each in graph.graph_def.library.function}
    # No node's name has a space.
    inputs = {
        info.name.partition(":")[0]: f"input {key}" for key, info in definition.inputs.items()
    }
    outputs = {key: info.name.partition(":") for key, info in sorted(definition.outputs.items())}
    callers = {node for node, _, _ in outputs.values()}
    call = nodes.get(callers.pop()) if len(callers) == 1 else None
    if call is None or call.op not in CALLS:
        return ""
    parts = [
        repr([inputs.get(each, each) for each in call.input]),  # no node's name has a space
        repr([(key, index) for key, (_, _, index) in outputs.items()]),
        _describe(functions[call.attr["f"].func.name]),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _describe(function: FunctionDef) -> str:
    """A function without its own name. Those that it calls stand for themselves by theirs."""
    arguments = [(each.name, each.type) for each in function.signature.input_arg]
    nodes = [node.SerializeToString(deterministic=True) for node in function.node_def]
    return repr((arguments, nodes, sorted(function.ret.items())))
