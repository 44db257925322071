"""`modelpad import SOURCE [WEIGHTS]`: a trained model of any framework becomes a version."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelpad.cli.main import DONE, add_common_options, add_store_option
from modelpad.cli.settings import Settings
from modelpad.confine import DEFAULT_TIMEOUT_S, run_confined
from modelpad.errors import UsageError

if TYPE_CHECKING:
    from modelpad.convert import Conversion, GraphFacts, SourceModel
    from modelpad.store import LocalStore

EXAMPLE = """example:
  modelpad import model.keras --name flowers --output labels:@names.txt
  modelpad import model.json model.h5 --name digits2 --input sketch:28x28
  modelpad import net.pt2 --name net --input image:224x224x3,scale=imagenet
  modelpad import forest.skops --name forest --samples rows.csv

--input is KIND[:SHAPE][,KEY=VALUE...], once for each input, NAME=KIND... by name:
  image:224x224x3   scale=0..1|-1..1|imagenet|caffe|none|1/255  mean= std= order=bgr layout=nchw
  sketch:28x28      a drawing pad; takes the same
  tensor:float32[4] a side that is free is ?; range=0..9999 for whole numbers
  text              for models that take strings
--output is, once for each output:
  labels:cat,dog    or labels:@names.txt, a class a line; from=logits, top=5
  image, tensor, score
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.epilog = EXAMPLE
    parser.add_argument("source", metavar="SOURCE", help="the model's file or folder")
    parser.add_argument("weights", metavar="WEIGHTS", nargs="?", help="its weights, where apart")
    parser.add_argument("--name", help="the model's name in the store (the file's)")
    parser.add_argument("--input", action="append", default=[], metavar="SPEC", help="see below")
    parser.add_argument("--output", action="append", default=[], metavar="SPEC", help="see below")
    parser.add_argument(
        "--samples", metavar="PATH", help="examples to prove parity with: pictures, .npz, .csv, ..."
    )
    parser.add_argument(
        "--module", metavar="PACKAGE.MODULE:FACTORY", help="makes the PyTorch module of the weights"
    )
    parser.add_argument(
        "--quantize", choices=("int8", "fp16"), help="a smaller graph, calibrated on the samples"
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        metavar="T",
        help="largest difference, as a share (0.001; fp16: 0.02, int8: 0.2)",
    )
    parser.add_argument(
        "--trust",
        action="store_true",
        help="allow the file to run code (pickles, TorchScript, Lambda layers)",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=DEFAULT_TIMEOUT_S,
        metavar="S",
        help="stop after so many seconds (3600; 0: no limit)",
    )
    add_store_option(parser)
    add_common_options(parser)


def run(args: argparse.Namespace) -> int:
    """Opens, converts, proves, pushes, and says what to type next."""
    from modelpad.store import LocalStore

    if args.timeout < 0:
        raise UsageError("--timeout must not be below 0.", hint="0 means no limit.")
    if args.tolerance is not None and not args.tolerance >= 0:
        raise UsageError("--tolerance must not be below 0.", hint="For example: --tolerance 0.01")
    path = Path(args.source)
    store = LocalStore(Settings.from_environment(args).store)
    store.check_writable()
    run_confined(lambda: import_file(args, path, store), f"Importing {path.name}", args.timeout)
    return DONE


def import_file(args: argparse.Namespace, path: Path, store: LocalStore) -> None:
    """Imports one file, and prints what came of it."""
    from modelpad.api import push_conversion
    from modelpad.convert import ImportRequest, convert_model, open_source
    from modelpad.convert.cache import name_from_path

    request = ImportRequest(
        inputs=tuple(args.input),
        outputs=tuple(args.output),
        weights=Path(args.weights) if args.weights else None,
        samples=Path(args.samples) if args.samples else None,
        factory=args.module,
        trust=args.trust,
        tolerance=args.tolerance,
        quantize=args.quantize,
    )
    say = _keep_silent if args.json else _print_progress
    say(f"Reading {path.name} ...")
    source = open_source(path, request)
    say(f"{path.name}: {tell_source(source)}")
    say("Converting and comparing ...")
    conversion = convert_model(source, args.name or name_from_path(path), request)
    entry = push_conversion(store, conversion)
    if args.json:
        print(json.dumps({"name": entry.name, "version": entry.version} | tell_facts(conversion)))
        return
    for line in tell_conversion(conversion):
        print(line)
    print(f"Saved as {entry.name} version {entry.version}.")
    print(f"Next: modelpad serve {entry.name}")


def tell_source(source: SourceModel) -> str:
    """`keras Sequential, 1,199,882 parameters, keras 3.15.0`."""
    facts = dict(source.facts)
    words = [f"{source.framework} {facts.pop('model', 'model')}"]
    parameters = facts.pop("parameters", 0)
    if parameters:
        words.append(f"{parameters:,} parameters")
    return ", ".join([*words, *(f"{key} {value}" for key, value in facts.items() if value)])


def tell_conversion(conversion: Conversion) -> list[str]:
    """What came out, in lines for a person."""
    signature = conversion.manifest.signature
    lines = [f"  in   {field.name}: {tell_field(field)}" for field in signature.inputs]
    lines += [f"  out  {field.name}: {tell_field(field)}" for field in signature.outputs]
    lines += [f"  note {note}" for note in conversion.notes]
    parity = conversion.parity
    agreement = (
        ""
        if parity.label_agreement is None
        else f", labels agree on {100 * parity.label_agreement:.1f} %"
    )
    lines.append(
        f"Parity on {parity.samples} samples at batch 1 and 7: largest difference"
        f" {parity.largest_difference:.1e}{agreement}."
    )
    if conversion.before:
        facts, before = conversion.before
        lines.append(
            f"Before: {_tell_graph(facts)}, largest difference {before.largest_difference:.1e}."
        )
    lines.append(
        f"{'After' if conversion.before else 'model.onnx'}: {_tell_graph(conversion.facts)}."
    )
    return lines


def tell_field(field: Any) -> str:
    """`image 224 x 224 x 3`, `labels cat, dog`."""
    record = field.to_dict()
    if field.kind == "label":
        classes = record["classes"]
        more = f", ... ({len(classes)})" if len(classes) > 10 else ""
        return f"labels {', '.join(classes[:10])}{more}"
    if field.kind == "sketch":
        return f"sketch {record['size']} x {record['size']}"
    if field.kind == "image":
        sides = (record["height"] or "any", record["width"] or "any", record["channels"])
        return "image " + " x ".join(str(side) for side in sides)
    if field.kind == "tensor":
        shape = ", ".join("any" if side is None else str(side) for side in record["shape"])
        return f"{record['dtype']} [{shape}]"
    return str(field.kind)


def tell_facts(conversion: Conversion) -> dict[str, Any]:
    """The same for programs."""
    from dataclasses import asdict

    facts: dict[str, Any] = {
        "signature": conversion.manifest.signature.to_dict(),
        "parity": conversion.parity.to_dict(),
        "graph": asdict(conversion.facts),
        "notes": list(conversion.notes),
    }
    if conversion.before:
        facts["before"] = asdict(conversion.before[0]) | {"parity": conversion.before[1].to_dict()}
    return facts


def _tell_graph(facts: GraphFacts) -> str:
    return f"{facts.bytes / 1e6:.2f} MB, {facts.latency_ms:.2f} ms a prediction on one thread"


def _print_progress(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _keep_silent(words: str) -> None:
    pass
