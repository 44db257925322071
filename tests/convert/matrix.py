"""The matrix of `docs/import.md`: what is imported, how it runs, what is lost; from the tests.

Each kind is a test, or a key of a table that a test is parametrised with: none is claimed without a
test.
The modules are only parsed: their frameworks need not be installed.
`python -m tests.convert.matrix` prints the table.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
ONNX = "ONNX graph"
NATIVE = "its framework, in a process of its own"


@dataclass(frozen=True)
class Table:
    """A dictionary of kinds in a test module, and what is true of all of them."""

    framework: str
    module: str
    name: str
    runs: str = ONNX
    lost: str = ""


TABLES = (
    Table("Keras", "test_keras_families", "FAMILIES"),
    Table("Keras", "test_keras_families", "MASKED"),
    Table(
        "Keras",
        "test_keras_families",
        "APPLICATIONS",
        lost="a free size that PyTorch's exporters cannot keep: that of `--input` is fixed",
    ),
    Table("Keras, scaling found", "test_scaling", "PREPARED"),
    Table("PyTorch `.pt2`", "test_torch_families", "TEXT_MODELS"),
    Table("PyTorch `.pt2`", "test_torch_families", "PICTURE_MODELS"),
    Table(
        "TensorFlow Lite",
        "test_tflite",
        "KINDS",
        lost="dynamic-range models run in float32, and differ by up to a few percent",
    ),
    Table("TensorFlow Lite", "test_tflite", "REASONS", "refused", "the operator is named"),
    Table(
        "scikit-learn",
        "test_sklearn_families",
        "KINDS",
        lost="KNN and LOF may break exact ties differently; strings cannot be missing",
    ),
    Table("scikit-learn, text", "test_sklearn_families", "VECTORIZERS"),
    Table("XGBoost", "test_boosters", "XGBOOST", lost="sums in float32: 1e-5 relative"),
    Table("LightGBM", "test_boosters", "LIGHTGBM"),
    Table("CatBoost", "test_boosters", "CATBOOST"),
    Table(
        "Hugging Face folder",
        "tiny_huggingface",
        "CASES",
        lost="token classes, masks and features are plain tensors in the typed API",
    ),
    Table("ONNX", "raw_graphs", "CASES"),
    Table(
        "`--backend native`",
        "test_native",
        "MAKERS",
        NATIVE,
        "a small install, a fast start, quantization, export to ONNX",
    ),
)


@dataclass(frozen=True)
class Single:
    """Tests of one kind each, by their functions' names."""

    framework: str
    module: str
    kinds: Mapping[str, str]
    runs: str = ONNX
    lost: str = ""


SINGLES = (
    Single(
        "Keras 2 and 3",
        "test_keras",
        {
            "test_keras_archive": "`.keras`",
            "test_legacy_whole_model": "`.h5`",
            "test_architecture_and_weights": "JSON with `.weights.h5`",
            "test_legacy_weights_alone": "JSON with `.h5` of Keras 2",
            "test_several_inputs_and_outputs": "several inputs and outputs",
            "test_recurrence": "recurrent, of free length",
            "test_a_live_model_is_saved": "model in memory",
        },
    ),
    Single(
        "PyTorch",
        "test_pytorch",
        {
            "test_exported_program": "`.pt2`",
            "test_exported_program_with_a_fixed_batch": "`.pt2` of fixed batch",
            "test_torchscript": "TorchScript, with `--trust`",
            "test_weights_of_a_module": "weights, with `--module`",
            "test_a_live_module_is_saved": "module in memory",
            "test_a_live_module_with_several_inputs_and_a_dictionary": "dictionary of outputs",
        },
    ),
    Single("fastai", "test_fastai", {"test_an_exported_learner": "learner, with `--trust`"}),
    Single(
        "TensorFlow SavedModel",
        "test_tensorflow",
        {
            "test_saved_model": "one signature",
            "test_saved_model_with_a_signature_of_several": "several signatures",
            "test_a_signature_is_served_under_its_own_names": "scalars, strings, any names",
            "test_keras_on_tensorflow": "model of Keras on TensorFlow",
        },
    ),
    Single(
        "TensorFlow SavedModel",
        "test_tensorflow",
        {
            "test_models_that_still_augment_are_refused": "random augmentation",
            "test_saved_models_that_run_python_are_refused": "Python functions",
            "test_saved_models_that_touch_files_are_refused": "file operations",
        },
        "refused",
        "the operations are named",
    ),
    Single(
        "folder",
        "../cli/test_serve_folders",
        {
            "test_a_triton_repository_answers_over_every_protocol": "Triton repository",
            "test_a_base_path_of_tensorflow_serving": "TensorFlow Serving's base path",
            "test_a_folder_of_files_serves_each": "model files",
        },
        "as its models do",
        "ensembles, Python backends and sequence batching of Triton are left out",
    ),
)


def check_tests(single: Single) -> list[str]:
    """The kinds of tests that exist. Raises `LookupError` for one that does not."""
    tree = ast.parse((FOLDER / f"{single.module}.py").read_text("utf-8"))
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    missing = single.kinds.keys() - names
    if missing:
        raise LookupError(f"{single.module}.py has no {', '.join(sorted(missing))}")
    return [*single.kinds.values()]


def find_kinds(module: str, name: str) -> list[str]:
    """The keys of a dictionary in a module of this folder; of functions, their names."""
    tree = ast.parse((FOLDER / f"{module}.py").read_text("utf-8"))
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id == name:
            value = getattr(node, "value", None)
            return list(_read_keys(value))
    raise LookupError(f"{module}.py has no {name}")


def _read_keys(value: ast.AST | None) -> list[str]:
    if isinstance(value, ast.Dict):
        keys = [key.value for key in value.keys if isinstance(key, ast.Constant)]
        nested = [each for key, each in zip(value.keys, value.values, strict=True) if key is None]
        return [*map(str, keys), *(key for each in nested for key in _read_keys(each))]
    if isinstance(value, ast.DictComp):
        found = [each.id for each in ast.walk(value) if isinstance(each, ast.Name)]
        return [name.replace("_", " ") for name in found if name != "each"]
    return []


def write_matrix() -> str:
    """The table in Markdown: a row for each framework, way of running and loss."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for single in SINGLES:
        key = single.framework, single.runs, single.lost
        rows.setdefault(key, []).extend(check_tests(single))
    for table in TABLES:
        kinds = find_kinds(table.module, table.name)
        rows.setdefault((table.framework, table.runs, table.lost), []).extend(kinds)
    lines = ["| framework | kind | runs as | what is lost |", "| --- | --- | --- | --- |"]
    for (framework, runs, lost), kinds in rows.items():
        lines.append(f"| {framework} | {', '.join(kinds)} | {runs} | {lost or 'nothing'} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(write_matrix())
