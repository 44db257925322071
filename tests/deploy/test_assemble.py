"""The script that finishes an image's environment; the image itself is tested elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from modelpad.deploy.scripts.assemble import (
    LIBRARY,
    UNUSED_STANDARD,
    compile_module,
    drop_sources,
    follow_links,
    list_components,
    remove_unused,
)

SITE = Path(sysconfig.get_path("purelib"))


def test_unused_files_are_removed(tmp_path: Path) -> None:
    unused = [
        "onnxruntime/capi/libonnxruntime.so.1.32.0",
        "onnxruntime/transformers/models/x.py",
        "numpy/linalg/tests/test_x.py",
        "numpy/__init__.pyi",
        "modelpad/zoo/writer/model.onnx",
    ]
    kept = ["onnxruntime/capi/onnxruntime_pybind11_state.so", "numpy/linalg/_linalg.py"]
    for name in (*unused, *kept):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    remove_unused(tmp_path)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {*kept}


def test_a_compiled_module_is_used_whatever_its_time(tmp_path: Path) -> None:
    """`--timestamp` and `COPY` change times: Python would compile again at every start."""
    source = tmp_path / "compiled.py"
    source.write_text("print('compiled')")
    compile_module(source)
    source.write_text("print('read from source')")
    os.utime(source, (0, 0))
    done = subprocess.run(
        [sys.executable, "-c", "import compiled"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout == "compiled\n"


def test_a_module_is_compiled_below_another_root(tmp_path: Path) -> None:
    source = tmp_path / "one.py"
    source.write_text("x = 1")
    compile_module(source, tmp_path / "root")
    (pyc,) = (tmp_path / "root").rglob("*.pyc")
    assert pyc.parent == tmp_path / "root" / tmp_path.relative_to("/") / "__pycache__"


def test_a_module_without_its_source_is_imported(tmp_path: Path) -> None:
    source = tmp_path / "package" / "module.py"
    source.parent.mkdir()
    source.write_text("print(__file__)")
    compile_module(source)
    drop_sources(tmp_path)
    assert not source.exists()
    done = subprocess.run(
        [sys.executable, "-c", "import package.module"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip().endswith("package/module.pyc")


def test_the_bill_of_materials_is_valid_cyclonedx() -> None:
    bill = json.dumps(list_components(SITE))
    names = {component["name"] for component in json.loads(bill)["components"]}
    assert {"python", "numpy", "onnxruntime"} <= names
    validation = pytest.importorskip("cyclonedx.validation.json")
    schema = pytest.importorskip("cyclonedx.schema").SchemaVersion.V1_5
    assert validation.JsonStrictValidator(schema).validate_str(bill) is None


@pytest.mark.parametrize(
    "name",
    [
        "test/test_os.py",
        "tkinter",
        "lib-dynload/_testcapi.so",
        "turtle.py",
        "lib-dynload/readline.cpython-313.so",
    ],
)
def test_parts_of_the_standard_library_that_are_left_out(name: str) -> None:
    assert UNUSED_STANDARD.match(name)


@pytest.mark.parametrize(
    "name", ["os.py", "unittest/case.py", "lib-dynload/_ssl.so", "asyncio/tasks.py"]
)
def test_parts_that_are_kept(name: str) -> None:
    assert not UNUSED_STANDARD.match(name)


def test_libraries_are_read_from_the_output_of_ldd() -> None:
    text = (
        "\tlinux-vdso.so.1 (0x00007ffc)\n"
        "\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f12)\n"
        "\tlibmissing.so => not found\n"
        "\t/lib64/ld-linux-x86-64.so.2 (0x00007f13)\n"
    )
    assert LIBRARY.findall(text) == [
        "/lib/x86_64-linux-gnu/libm.so.6",
        "/lib64/ld-linux-x86-64.so.2",
    ]


def test_every_link_to_python_is_followed(tmp_path: Path) -> None:
    (tmp_path / "python3.13").touch()
    (tmp_path / "python3").symlink_to("python3.13")
    (tmp_path / "python").symlink_to(tmp_path / "python3")
    names = [path.name for path in follow_links(tmp_path / "python")]
    assert names == ["python", "python3", "python3.13"]
    assert follow_links(tmp_path / "missing") == []
