"""Every fuzz target survives its corpus and a short run, and every decoder has a target."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from itertools import islice
from pathlib import Path
from types import ModuleType

import pytest

import modelpad
from fuzz.mutate import mutate_forever
from fuzz.targets import CORPUS, NAMES, load_target, read_corpus, run_input

PACKAGE = Path(modelpad.__file__).parent
INPUTS = 150  # of a short run
SEED = 2024
OPTIONAL = {
    "signature_file": "cryptography",
    "grpc_inference": "google.protobuf",
    "grpc_tensorflow": "google.protobuf",
    "onnx_file": "onnx",
    "parquet_file": "pyarrow",
}
# Functions with such names turn bytes or text from outside into something else.
DECODES = re.compile(
    r"_?(decode|parse|unpack|read)(_\w+)?|from_json|buffer_updated|check_(zip|hdf5|external)"
)
# Modules with such functions that need no target, and why.
EXEMPT = {
    "api": "the user's own program; bundles are opened by bundle.reader",
    "cli": "the command line of the user's own",
    "cluster": "what the user's own command and cluster send each other",
    "collection": "gives files back as they came; the server decodes them by a field",
    "comparison": "bundles that bundle.reader has checked",
    "confine": "what our own child process reports",
    "client": "reads what the server says that the caller chose",
    "convert.card": "a text file of the user's own",
    "convert.catboost": "what CatBoost has loaded",
    "convert.catboost_trees": "what CatBoost itself has written",
    "convert.constants": "graphs that onnx has checked",
    "convert.folders.listing": "names of files",
    "convert.folders.mlflow": "what folders.yaml_subset has parsed",
    "convert.folders.search": "what the other modules of folders find",
    "convert.folders.tfserving": "what folders.pbtxt has parsed",
    "convert.folders.triton": "what folders.pbtxt has parsed",
    "convert.folders.triton_tensors": "what folders.pbtxt has parsed",
    "convert.huggingface": "what transformers has loaded",
    "convert.huggingface_image": "what transformers has loaded",
    "convert.huggingface_text": "what transformers has loaded",
    "convert.input_plan": "the command line of the user's own",
    "convert.keras": "what keras_config checks, after archives' checks",
    "convert.lightgbm_trees": "what LightGBM itself has written",
    "convert.objects": "objects of the user's own program",
    "convert.pytorch": "the command line; files are read by PyTorch after archives' checks",
    "convert.saved_model": "what TensorFlow's protocol buffers have parsed",
    "convert.signature_conversion": "the command line of the user's own",
    "convert.sklearn_nested": "estimators in memory",
    "convert.sklearn_patterns": "estimators in memory",
    "convert.sklearn_trees": "estimators in memory",
    "convert.samples": "samples of the user's own",
    "convert.specs": "the command line of the user's own",
    "convert.table_plan": "the command line of the user's own",
    "convert.torch_program": "programs that PyTorch has loaded from a checked copy",
    "convert.torch_weights": "files are read by PyTorch, weights only",
    "convert.xgboost": "what XGBoost has loaded, after a check of its nesting",
    "convert.xgboost_trees": "what XGBoost itself has written",
    "datasets.inputs": "asks datasets.pictures",
    "engine.packed_graph": "files of our own cache, with checksums",
    "feedback.corrections": "asks the feedback store",
    "datasets.split": "asks the inputs",
    "jobs.changes": "a number that SQLite counts",
    "jobs.settings": "the command line of our own process",
    "prediction": "what the caller's server or model says",
    "tuning": "files of the user's own run folder, and the command line",
    "promotion": "the command line and files of the user's own",
    "python_values": "the user's own program; the fields decode what it gives",
    "datasets.wikitext": "text files of the user's own",
    "engine.typed": "asks the fields",
    "server.protocols.jobs": "gives a result of our own jobs as it is",
    "video.joining": "what FFmpeg has opened, in a process of its own",
    "video.source": "what FFmpeg has opened, in a process of its own",
    "convert.sequences": "what the graph itself has computed",
    "datasets.text_folder": "text files of the user's own",
    "deploy.locked": "a file of the package",
    "deploy.web.runtime": "an npm package whose files are verified by their SHA-256",
    "recipes.images.data": "asks the splits of datasets",
    "recipes.reviews": "asks recipes.text",
    "recipes.text": "what datasets, bundles and its own graphs hold",
    "recipes.images.tuning": "its own files",
    "training": "its own files",
    "recipes.style.data": "asks datasets.pictures",
    "recipes.style.exact": "the command line and files of the user's own",
    "recipes.style.fitting": "what data has read",
    "recipes.style.losses": "tensors in memory",
    "recipes.style.pretrained": "graphs of bundles that bundle.reader has checked",
    "recipes.style.vgg": "files of weights, read by NumPy and h5py without pickles",
    "server.child": "messages of our own processes",
    "server.lifecycle.catalogue": "asks the store",
    "server.grpc.calls": "reads what the target of its protocol gives it; zlib and a length",
    "server.grpc.listener": "asks the call for its messages",
    "server.protocols.collections": "two strings of what msgspec has parsed",
    "server.studio": "the queue of our own jobs",
    "server.security.auth": "compares hashes of header fields",
    "server.protocols.openinference.routes": "asks openinference.requests",
    "server.models": "looks a path up in the manifest",
    "server.page": "files of the package",
    "signing.keys": "keys and certificates of the user's own",
    "store.memory": "its own file",
    "store.notes": "its own files",
    "store.objects": "gives bytes as they came; store.remote decodes them",
    "store.store": "asks the kinds of stores",
    "zoo.example_files": "files of the package",
    "server.workers": "messages of our own processes, and tables of the system",
}


def load(name: str) -> ModuleType:
    if name in OPTIONAL:
        pytest.importorskip(OPTIONAL[name])
    return load_target(name)


def find_decoders() -> set[str]:
    """The modules that define a decoding function, without the package's name."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        nodes = ast.walk(ast.parse(path.read_text("utf-8")))
        functions = [n for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
        if any(DECODES.fullmatch(function.name) for function in functions):
            parts = path.relative_to(PACKAGE).with_suffix("").parts
            found.add(".".join(part for part in parts if part != "__init__"))
    return found


def list_covered() -> set[str]:
    covered = set()
    for name in NAMES:
        source = (CORPUS.parent / "targets" / f"{name}.py").read_text("utf-8")
        covered |= set(re.findall(r'"modelpad\.([\w.]+)"', source))
    return covered


def test_every_decoder_has_a_target() -> None:
    exempt = tuple(EXEMPT)
    wanted = {m for m in find_decoders() if not any(f"{m}.".startswith(f"{e}.") for e in exempt)}
    assert wanted - list_covered() == set(), "write a fuzz target, or say why none is needed"


def test_every_exemption_is_needed() -> None:
    decoders = find_decoders()
    for name in EXEMPT:
        assert any(f"{module}.".startswith(f"{name}.") for module in decoders), name


@pytest.mark.parametrize("name", NAMES)
def test_a_target_names_what_it_covers(name: str) -> None:
    target = load(name)
    for module in target.DECODERS:
        import_module(module)
    assert target.__doc__


@pytest.mark.parametrize("name", NAMES)
def test_the_corpus_raises_nothing_unexpected(name: str) -> None:
    fuzz = load(name).fuzz
    corpus = read_corpus(name)
    assert corpus
    for file, data in corpus.items():
        error = run_input(fuzz, data)
        assert error is None, f"{file}: {error!r}"


@pytest.mark.parametrize("name", NAMES)
def test_a_short_run_raises_nothing_unexpected(name: str) -> None:
    fuzz = load(name).fuzz
    corpus = list(read_corpus(name).values())
    for data in islice(mutate_forever(corpus, SEED), INPUTS):
        error = run_input(fuzz, data)
        assert error is None, f"{data!r}: {error!r}"


def test_the_corpus_is_small() -> None:
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert {path.parent.name for path in files} == set(NAMES)
    assert max(path.stat().st_size for path in files) <= 1 << 14
    assert sum(path.stat().st_size for path in files) <= 1 << 19


def test_mutations_repeat() -> None:
    corpus = [b"abc", b'{"x": 1}']
    first, second = (list(islice(mutate_forever(corpus, 3), 50)) for _ in range(2))
    assert first == second
