"""The words are true: every command, option, variable, endpoint and error is documented."""

from __future__ import annotations

import ast
import inspect
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from modelpad import errors
from modelpad.cli.main import COMMANDS, build_parser
from modelpad.cli.settings import VARIABLES
from modelpad.server.routes import ROUTES
from tests.docs.option_tables import fill_tables, list_parsers

ROOT = Path(__file__).parents[2]
SERIES = ("bucket", "sum", "count")  # of a histogram
PAGES = [*sorted(ROOT.glob("docs/**/*.md")), ROOT / "README.md"]
# By their paths in `docs/`, and README.md.
DOCS = {
    path.relative_to(ROOT / "docs" if path.parent != ROOT else ROOT).as_posix(): path.read_text(
        "utf-8"
    )
    for path in PAGES
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_documented(command: str) -> None:
    assert f"modelpad {command}" in DOCS["command-line.md"]


def test_every_option_and_action_is_documented() -> None:
    for parser in list_parsers(build_parser(), "").values():
        assert parser.prog in DOCS["command-line.md"], parser.prog
        assert parser.format_help()  # no help text that argparse fails to format
        for action in parser._actions:
            for option in action.option_strings:
                if option.startswith("--") and not option.startswith("--no-"):
                    assert f"`{option}" in DOCS["command-line.md"], f"{parser.prog} {option}"


def test_the_tables_of_options_are_up_to_date() -> None:
    page = DOCS["command-line.md"]
    assert page == fill_tables(page), "run: python -m tests.docs.option_tables"


@pytest.mark.parametrize("variable", VARIABLES)
def test_every_variable_is_documented(variable: str) -> None:
    assert f"`{variable}`" in DOCS["command-line.md"]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.endpoint)
def test_every_endpoint_is_documented(route: Any) -> None:
    assert f"`{route.method} {route.endpoint}`" in DOCS["http.md"] + DOCS["protocols.md"]


def test_every_error_with_a_status_is_documented() -> None:
    from modelpad.server.errors import STATUSES

    for kind, status in STATUSES.items():
        if status != 500 or kind is errors.ModelFailed:  # the others are "any other"
            assert f"`{kind.__name__}`" in DOCS["http.md"]


def test_every_metric_is_documented() -> None:
    from modelpad.server.observability import metrics

    names = set(re.findall(r'"(modelpad_[a-z_]+)"', inspect.getsource(metrics)))
    assert names
    assert all(f"`{name}`" in DOCS["http.md"] for name in names)


def test_every_variable_that_the_code_reads_is_listed() -> None:
    source = "".join(path.read_text("utf-8") for path in (ROOT / "src").rglob("*.py"))
    assert set(re.findall(r'"(MODELPAD_[A-Z_]+)"', source)) <= set(VARIABLES)


@pytest.mark.parametrize("name", DOCS)
def test_links_lead_somewhere(name: str) -> None:
    folder = ROOT if name == "README.md" else (ROOT / "docs" / name).parent
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", DOCS[name]):
        assert (folder / target).exists(), target


def test_the_dashboard_names_metrics_that_exist() -> None:
    from modelpad.server.observability import metrics

    names = set(re.findall(r'"(modelpad_[a-z_]+)"', inspect.getsource(metrics)))
    dashboard = (ROOT / "docs" / "grafana.json").read_text("utf-8")
    shown = set(re.findall(r"modelpad_[a-z_]+", dashboard))
    histograms = {f"{name}_{part}" for name in metrics.HISTOGRAMS for part in SERIES}
    assert shown
    assert shown <= names - set(metrics.HISTOGRAMS) | histograms
    json.loads(dashboard)


@pytest.mark.parametrize("path", sorted((ROOT / "bench").glob("*.py")), ids=lambda path: path.stem)
def test_every_benchmark_says_how_it_is_run(path: Path) -> None:
    text = path.read_text("utf-8")
    if "__main__" in text:
        words = ast.get_docstring(ast.parse(text)) or ""
        assert f"python bench/{path.name}" in words


def test_the_commands_at_the_top_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^make (\w+)", DOCS["README.md"], re.MULTILINE))
    assert targets
    assert targets <= set(re.findall(r"^(\w+):", makefile, re.MULTILINE))


def list_commands(text: str) -> list[str]:
    """The arguments of `modelpad` in a page's blocks of code."""
    blocks = re.findall(r"^( *)```.*?\n(.*?)^\1```", text, re.MULTILINE | re.DOTALL)
    code = "\n".join(block for _, block in blocks).replace("\\\n", " ")
    return re.findall(r"^[ $]*modelpad (.+)$", code, re.MULTILINE)


@pytest.mark.parametrize("name", DOCS)
def test_modelpad_commands_in_the_docs_parse(name: str) -> None:
    lines = list_commands(DOCS[name])
    assert lines or name != "README.md"
    for line in lines:
        words = shlex.split(line, comments=True)
        assert words[0] in COMMANDS or words[0] == "--version", line
        if "--help" not in words and not {"|", "&&"} & set(words):
            assert build_parser(words).parse_args(words)
