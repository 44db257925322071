"""`modelpad import SOURCE [WEIGHTS]`: imports a trained model from any framework."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelpad.cli.main import DONE, add_common_options, add_store_option
from modelpad.cli.settings import Settings
from modelpad.confine import DEFAULT_TIMEOUT_S, run_confined
from modelpad.errors import ConversionFailed, ModelpadError, UsageError

if TYPE_CHECKING:
    from modelpad.convert import Conversion, GraphFacts, SourceModel
    from modelpad.convert.folders import FolderModel
    from modelpad.store import Store

EXAMPLE = """example:
  modelpad import model.keras --name flowers --output labels:@names.txt
  modelpad import model.json model.h5 --input sketch:28x28,scale=0..1
  modelpad import net.pt2 --name net --input image:224x224x3,scale=imagenet
  modelpad import forest.skops --name forest --samples rows.csv
  modelpad import net.onnx --title "Leaf rust" --author "A. Muster" --card CARD.md

--input SPEC is [NAME=]KIND[:SHAPE][,KEY=VALUE...], once per input:
  image:224x224x3    scale=0..1, -1..1, imagenet, caffe, none or 1/255;
                     mean=, std=, order=bgr, layout=nchw,
                     fit=crop, resize=256, resample=bicubic;
                     scale only where the model does not say it itself
  sketch:28x28       a drawing pad; same keys as image
  audio:16000        sound as float32 -1..1, with 16,000 samples a second
  tensor:float32[4]  ? is a variable dimension; range=0..9999
                     bounds generated whole numbers
  text               for models that take strings; max=
  age=number         a table's column; unit=, min=, max=, whole, nullable
  port=choice:S,C,Q  a column with these categories; other allows more
  batch=1            with any kind: predict items one at a time
  batch=none         with any kind: the first axis is no batch axis

--output SPEC, once per output:
  labels:cat,dog     or labels:@names.txt, one class per line;
                     from=logits, from=multi-label, top=5
  image, tensor, score
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.epilog = EXAMPLE
    parser.add_argument(
        "source", metavar="SOURCE", help="the model's file or folder, or a folder of models"
    )
    parser.add_argument(
        "weights", metavar="WEIGHTS", nargs="?", help="its weights, if they are in a separate file"
    )
    parser.add_argument(
        "--name", help="the model's name in the store (default: from the folder or the file name)"
    )
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="SPEC",
        help="kind, shape and preprocessing of an input; see below",
    )
    parser.add_argument(
        "--output",
        action="append",
        default=[],
        metavar="SPEC",
        help="kind and labels of an output; see below",
    )
    parser.add_argument(
        "--samples",
        metavar="PATH",
        help="examples for the parity check and the page: a folder of images or .wav, .npz, .csv,"
        " .json, .jsonl or .txt",
    )
    add_author_options(parser)
    parser.add_argument(
        "--module",
        metavar="MODULE:FACTORY|FILE.py",
        help="function that builds the PyTorch module for a weights file; or the Python file with a"
        " Keras model's custom layers, which is run",
    )
    parser.add_argument(
        "--signature",
        metavar="NAME",
        help="signature of a TensorFlow model (default: serving_default)",
    )
    parser.add_argument(
        "--backend",
        choices=("onnx", "native"),
        default="onnx",
        help="onnx: convert the model to an ONNX graph (default, recommended); native: keep the"
        " framework's own file and run it in a process with that framework",
    )
    parser.add_argument(
        "--quantize",
        choices=("int8", "fp16"),
        help="make the graph smaller, calibrated on the samples",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        metavar="T",
        help="largest accepted relative difference (default: 0.001; fp16: 0.02, int8: 0.2)",
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
        metavar="SECONDS",
        help="time limit; 0: no limit (default: 3600)",
    )
    add_store_option(parser)
    add_common_options(parser)


def add_author_options(parser: argparse.ArgumentParser) -> None:
    """What the author says about the model, for the manifest and the page."""
    parser.add_argument("--title", default="", help="the page's headline (default: the name)")
    parser.add_argument(
        "--summary", default="", metavar="TEXT", help="one sentence below the title"
    )
    parser.add_argument("--author", default="", metavar="NAME", help="who trained the model")
    parser.add_argument(
        "--licence", default="", metavar="NAME", help="the model's licence, such as Apache-2.0"
    )
    parser.add_argument(
        "--card",
        metavar="FILE.md",
        help="a model card in Markdown, at most 256 KiB, shown without its HTML and images",
    )


def run(args: argparse.Namespace) -> int:
    """Converts the model, checks parity, saves the bundle, and prints the next command."""
    from modelpad.store import open_store

    if args.timeout < 0:
        raise UsageError("--timeout must be 0 or more.", hint="0 means no limit.")
    if args.tolerance is not None and not args.tolerance >= 0:
        raise UsageError("--tolerance must be 0 or more.", hint="For example: --tolerance 0.01")
    path = Path(args.source)
    location = Settings.from_environment(args).store

    def work() -> None:
        store = open_store(location)  # here, as connections to a bucket do not survive a fork
        store.check_writable()
        import_all(args, path, store)

    run_confined(work, f"Importing {path.name}", args.timeout)
    return DONE


def import_all(args: argparse.Namespace, path: Path, store: Store) -> None:
    """Imports the model at `path`, or every model of a folder, and prints the results.

    Raises `ConversionFailed` after the last one if some of several failed, and `UsageError` if
    options for one model are given for several.
    """
    from modelpad.convert.folders import Found, find_models, name_file

    report = _discard if args.json else _print_progress
    found = Found((name_file(path),)) if args.weights else find_models(path)
    names = {model.name for model in found.models}
    if len(names) > 1 and (args.name or args.input or args.output):
        raise UsageError(
            f"{path} contains {len(names)} models: {', '.join(sorted(names))[:200]}.",
            hint="Without --name, --input and --output all are imported; or give one's path.",
        )
    for part in found.left_out:
        report(f"Left out {part.name}: {part.reason.words}")
    failed = 0
    for model in found.models:
        try:
            import_model(args, model, store)
        except ModelpadError as error:
            if len(found.models) == 1:
                raise
            failed += 1
            _print_progress(f"Left out {model.name} version {model.version}: {error.words}")
    if failed:
        raise ConversionFailed(f"{failed} of {len(found.models)} models were not imported.")


def import_model(args: argparse.Namespace, model: FolderModel, store: Store) -> None:
    """Imports one model and prints the result."""
    from modelpad.api.saving import push_conversion
    from modelpad.convert import ImportRequest, convert_model
    from modelpad.convert.card import read_card
    from modelpad.convert.folders import build_request, open_model

    request = ImportRequest(
        inputs=tuple(args.input),
        outputs=tuple(args.output),
        weights=Path(args.weights) if args.weights else None,
        samples=Path(args.samples) if args.samples else None,
        factory=args.module,
        trust=args.trust,
        tolerance=args.tolerance,
        quantize=args.quantize,
        signature=args.signature,
        backend=args.backend,
        title=args.title,
        summary=args.summary,
        author=args.author,
        licence=args.licence,
        card=read_card(Path(args.card)) if args.card else "",
    )
    report = _discard if args.json else _print_progress
    report(f"Reading {model.path.name} ...")
    with tempfile.TemporaryDirectory(prefix="modelpad-") as scratch:
        request = build_request(model, request, Path(scratch))
        source = open_model(model, request)
        report(f"{model.path.name}: {describe_source(source)}")
        report("Converting and comparing ...")
        conversion = convert_model(source, args.name or model.name, request, model.path)
    entry = push_conversion(store, conversion, model.version)
    if args.json:
        print(json.dumps({"name": entry.name, "version": entry.version} | list_facts(conversion)))
        return
    for line in [*(f"  note {note}" for note in model.notes), *describe_conversion(conversion)]:
        print(line)
    print(f"Saved as {entry.name} version {entry.version}.")
    print(f"Next: modelpad serve {entry.name}")


def describe_source(source: SourceModel) -> str:
    """For example: `keras Sequential, 1,199,882 parameters, keras 3.15.0`."""
    facts = dict(source.facts)
    words = [f"{source.framework} {facts.pop('model', 'model')}"]
    parameters = facts.pop("parameters", 0)
    if parameters:
        words.append(f"{parameters:,} parameters")
    plain = {key: value for key, value in facts.items() if value and not isinstance(value, dict)}
    words += [f"{key} {value}" for key, value in plain.items()]
    return ", ".join(words)


def describe_conversion(conversion: Conversion) -> list[str]:
    """The result of an import, as lines of text."""
    signature = conversion.manifest.signature
    lines = [f"  in   {field.name}: {describe_field(field)}" for field in signature.inputs]
    lines += [f"  out  {field.name}: {describe_field(field)}" for field in signature.outputs]
    lines += [f"  note {note}" for note in conversion.notes]
    parity = conversion.parity
    agreement = (
        ""
        if parity.label_agreement is None
        else f", labels agree {100 * parity.label_agreement:.1f} %"
    )
    lines.append(
        f"Parity on {parity.samples} samples at batch sizes 1 and 7: largest difference"
        f" {parity.largest_difference:.1e}{agreement}."
    )
    if conversion.before:
        facts, before = conversion.before
        lines.append(
            f"Before: {_describe_graph(facts)}, largest difference {before.largest_difference:.1e}."
        )
    native = conversion.manifest.native
    what = "After" if conversion.before else native.file if native else "model.onnx"
    lines.append(f"{what}: {_describe_graph(conversion.facts)}.")
    if native:
        lines.append(f"It runs in {native.framework} itself: serve it where that is installed.")
    return lines


def describe_field(field: Any) -> str:
    """For example: `image 224 x 224 x 3`, `labels cat, dog`."""
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
    if field.kind == "number":
        return f"number, in {record['unit']}" if record["unit"] else "number"
    if field.kind == "choice":
        choices = [str(choice) for choice in record["choices"]]
        more = f", ... ({len(choices)})" if len(choices) > 10 else ""
        return f"one of {', '.join(choices[:10])}{more}"
    return str(field.kind)


def list_facts(conversion: Conversion) -> dict[str, Any]:
    """The result of an import, for `--json`."""
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


def _describe_graph(facts: GraphFacts) -> str:
    return f"{facts.bytes / 1e6:.2f} MB, {facts.latency_ms:.2f} ms per prediction on one thread"


def _print_progress(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _discard(words: str) -> None:
    pass
