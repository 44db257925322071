"""`modelpad.toml` is below variables and options; `modelpad config` shows what comes from where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelpad.cli.config_file import apply_config, list_serve_options, read_file
from modelpad.cli.main import build_parser
from modelpad.cli.settings import VARIABLES
from modelpad.cli.variables import name_variable
from modelpad.errors import UsageError

PROJECT = """store = "models"
data = ["a", "/b"]
feedback = "sqlite:said.db"
[serve]
port = 9000
max_queue = 5
models = ["digits", "writer"]
cors-origin = "https://example.org"
log-requests = true
api-keys = "keys.txt"
timeout = 2.5
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: Any) -> Path:
    """A working folder with a file, and a user's file."""
    project, user = tmp_path / "project", tmp_path / "user" / "modelpad"
    for each in (project, user):
        each.mkdir(parents=True)
    (project / "modelpad.toml").write_text(PROJECT)
    (user / "modelpad.toml").write_text('cache = "cache"\n[serve]\nport = 7000\nhost = "::1"\n')
    monkeypatch.chdir(project)
    return project


def test_a_project_comes_before_the_user_and_after_variables(folder: Path, tmp_path: Path) -> None:
    variables = {"XDG_CONFIG_HOME": str(tmp_path / "user"), "MODELPAD_TIMEOUT": "9"}
    files = apply_config(variables)
    assert {name: text for name, text in variables.items() if name in files} == {
        "MODELPAD_STORE": str(folder / "models"),
        "MODELPAD_DATA": f"{folder / 'a'}:/b",
        "MODELPAD_FEEDBACK": f"sqlite:{folder / 'said.db'}",
        "MODELPAD_PORT": "9000",
        "MODELPAD_MAX_QUEUE": "5",
        "MODELPAD_MODELS": "digits,writer",
        "MODELPAD_CORS_ORIGINS": "https://example.org",
        "MODELPAD_LOG_REQUESTS": "true",
        "MODELPAD_API_KEYS_FILE": str(folder / "keys.txt"),
        "MODELPAD_CACHE": str(tmp_path / "user/modelpad/cache"),
        "MODELPAD_HOST": "::1",
    }
    assert variables["MODELPAD_TIMEOUT"] == "9"
    assert files["MODELPAD_HOST"] == tmp_path / "user/modelpad/modelpad.toml"


def test_a_platforms_port_comes_before_a_file(folder: Path) -> None:
    variables = {"PORT": "80", "XDG_CONFIG_HOME": str(folder)}
    assert "MODELPAD_PORT" not in apply_config(variables)


def test_every_option_of_serve_is_a_setting() -> None:
    options = list_serve_options().values()
    assert {name_variable(action.dest) for action in options} <= {*VARIABLES}
    assert {"allowed-host", "otlp-endpoint", "workers"} <= {*list_serve_options()}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('stor = "x"', "Did you mean store?"),
        ("port = 1", "[serve]"),
        ("[serve]\nprot = 1", "Did you mean port?"),
        ("store = 5", "store in"),
        ('[serve]\nport = "1"', "a number, without quotes"),
        ("[serve]\nport = 99999", "0 to 65535"),
        ('[serve]\nstudio = "yes"', "true or false"),
        ("[serve]\nmodels = [1]", "in quotes"),
        ('[serve]\ndevice = "gpu"', "cuda"),
        ("serve = 1", "[serve]"),
        ('[serve]\nmodels = ["a,b"]', "commas"),
        ("[train.images]\nepoch = 3", "Did you mean epochs?"),
        ("[train.images]\nepochs = 2.5", "a whole number"),
        ('[train.images]\nepochs = "3"', "a number, without quotes"),
        ('[train.images]\narch = "big"', "transfer"),
        ('[train.images]\ndata = "pets"', "no setting 'data'"),
        ("[train.image]\nepochs = 3", "Did you mean images?"),
        ("[train]\nepochs = 3", "[train.digits]"),
        ("[train]\nimages = 3", "[train.images]"),
        ("store =", "cannot be read"),
    ],
)
def test_a_wrong_setting_is_explained(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "modelpad.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_file(path)
    assert words in caught.value.words
    assert str(path) in caught.value.message


def test_a_recipe_has_its_own_defaults(folder: Path) -> None:
    (folder / "modelpad.toml").write_text(
        '[train.images]\nepochs = 10\nruns = "out"\ntarget-column = ["kind"]\nno_unknown = true\n'
        '[train.reviews]\nfrom = "mine"\n'
    )
    variables = {"XDG_CONFIG_HOME": "", "MODELPAD_TRAIN_REVIEWS_EPOCHS": "2"}
    apply_config(variables)

    def train(*words: str) -> Any:
        return build_parser(["train"], variables).parse_args(["train", *words])

    args = train("images", "pets")
    assert (args.epochs, args.runs, args.no_unknown) == (10, str(folder / "out"), True)
    assert args.target_column == ["kind"]
    assert train("images", "--target-column", "a", "--target-column", "b").target_column == [*"ab"]
    assert train("images", "--epochs", "3").epochs == 3
    assert (train("digits").epochs, train("reviews").epochs) == (None, 2)
    assert train("reviews").from_ == "mine"
    variables["MODELPAD_TRAIN_DIGITS_EPOCHS"] = "few"
    with pytest.raises(UsageError, match="MODELPAD_TRAIN_DIGITS_EPOCHS is 'few'"):
        train("digits")


def test_config_shows_values_and_their_sources(run_modelpad: Any, tmp_path: Path) -> None:
    (tmp_path / "modelpad.toml").write_text(
        'store = "x"\n[serve]\nport = 9000\nhost = "::1"\n[train.images]\nepochs = 10\n'
    )
    done = run_modelpad("config", "--json", MODELPAD_HOST="0.0.0.0", MODELPAD_JOBS="")
    rows = {row["name"]: row for row in json.loads(done.stdout)["settings"]}
    assert rows["store"]["source"] == "variable MODELPAD_STORE"
    assert (rows["serve.port"]["value"], rows["serve.port"]["source"]) == ("9000", "modelpad.toml")
    assert rows["serve.host"]["value"] == "0.0.0.0"
    assert rows["serve.timeout"]["source"] == "default"
    assert (rows["train.images.epochs"]["value"], rows["train.images.epochs"]["source"]) == (
        "10",
        "modelpad.toml",
    )
    assert [name for name in rows if name.startswith("train.")] == ["train.images.epochs"]
    (tmp_path / "modelpad.toml").write_text('stor = "x"\n')
    done = run_modelpad("config")
    assert (done.returncode, "Did you mean store?" in done.stderr) == (2, True)
