"""`modelpad train RECIPE --on ADDRESS`: what is sent to a Ray cluster, and what comes back."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelpad.cli.numbers import not_negative, positive
from modelpad.cli.settings import Settings
from modelpad.errors import TrainingFailed, UsageError
from modelpad.recipes import RECIPES, load_recipe
from modelpad.recipes.naming import choose_name, name_data
from modelpad.training.options import Flag, build_options, name_flag, read_flags
from modelpad.training.recipe import Recipe

if TYPE_CHECKING:
    from modelpad.cluster.inputs import Inputs
    from modelpad.cluster.order import Finished, Order

COMMON = ("epochs", "seed", "limit", "skip_unreadable", "debug")
TAKES_PATH = ("FILE", "FOLDER", "DIR", "PATH")  # in the metavar of an option
Facts = dict[str, Any]


def add_cluster_options(group: argparse._ArgumentGroup) -> None:
    """Whether to train on a Ray cluster, with how much of it."""
    group.add_argument(
        "--on",
        metavar="ADDRESS",
        help="train on a Ray cluster: the address of its head, such as ray://HOST:10001, or local"
        " for one on this machine; needs the extra ray (default: on this machine, without Ray)",
    )
    group.add_argument(
        "--train-workers",
        type=positive("--train-workers", int),
        default=1,
        metavar="N",
        help="--on: processes that train one model together, each on its part of every batch"
        " (default: %(default)s)",
    )
    group.add_argument(
        "--train-cpus",
        type=not_negative("--train-cpus", float),
        default=1.0,
        metavar="N",
        help="--on: CPUs for each worker, which uses as many threads (default: %(default)g)",
    )
    group.add_argument(
        "--train-gpus",
        type=not_negative("--train-gpus", float),
        default=0.0,
        metavar="N",
        help="--on: GPUs for each worker (default: %(default)g)",
    )
    group.add_argument(
        "--shared-files",
        action="store_true",
        help="--on: the cluster's machines find data and files under the same paths as this one"
        " (default: what options name is sent to them, up to 100 MB)",
    )


def run_on_cluster(args: argparse.Namespace, data: str) -> tuple[int, Facts]:
    """Trains there; the exit code, and what `--json` prints of a training that succeeded.

    The run comes back into `--runs`. A store in a bucket gets the version from the cluster, one in
    a folder from here.
    """
    from modelpad.cluster.order import Resources
    from modelpad.cluster.training import train_on_cluster

    if args.resume:
        raise UsageError(
            "--resume does not work with --on: the checkpoints are not on the cluster.",
            hint="Start a new run without --resume, or resume it on this machine.",
        )
    settings = Settings.from_environment(args)
    order = make_order(args, data, settings)
    resources = Resources(args.train_cpus, args.train_gpus, args.train_workers)
    with train_on_cluster(order, resources, args.on, sys.stderr) as finished:
        facts = {} if finished.code else take_results(args, data, settings, finished)
    return finished.code, facts


def check_workers(args: argparse.Namespace) -> None:
    """Raises `UsageError` for several workers where there can be only one."""
    if args.train_workers == 1:
        return
    several = f"--train-workers {args.train_workers}"
    if not args.on:
        raise UsageError(
            f"{several} needs a Ray cluster.",
            hint="Add --on ray://HOST:10001, or --on local for this machine.",
        )
    if not args.recipe.data_parallel:
        able = [name for name in RECIPES if load_recipe(name).data_parallel]
        raise UsageError(
            f"{args.recipe.name} trains in one process, so {several} does not work.",
            hint=f"Leave it out. Recipes that several workers train: {', '.join(able)}.",
        )
    if args.train_gpus % 1:
        raise UsageError(
            f"Each of several workers needs GPUs of its own, not --train-gpus {args.train_gpus:g}.",
            hint="Give a whole number, or leave --train-workers out.",
        )


def make_order(args: argparse.Namespace, data: str, settings: Settings) -> Order:
    """The training with all that it needs. Raises `UsageError`, and as `choose_name`."""
    from modelpad.cluster.inputs import Inputs
    from modelpad.cluster.options import LOCAL
    from modelpad.cluster.order import Order
    from modelpad.store import open_store
    from modelpad.training.progress import find_width

    recipe: Recipe[Any] = args.recipe
    inputs = Inputs(are_shared=args.shared_files or args.on == LOCAL)
    name = args.name or (name_data(data) if recipe.named_after_data else recipe.name)
    arguments = [recipe.name, "--on=", "--runs=run"]
    if isinstance(settings.store, Path):
        store = open_store(settings.store)
        name = choose_name(recipe, args.name, data, store)
        store.check_writable()
        arguments += ["--store=store", f"--name={name}"]
    else:
        arguments += [f"--store={settings.store}", *([f"--name={name}"] if args.name else [])]
    arguments += write_arguments(args, data, inputs, settings)
    columns = find_width(sys.stderr) if sys.stderr.isatty() else 0
    return Order(name, tuple(arguments), inputs.pack(), columns)


def write_arguments(
    args: argparse.Namespace, data: str, inputs: Inputs, settings: Settings
) -> Iterator[str]:
    """The options of the training, as the cluster is to read them; adds to `inputs`."""
    flags = read_flags(args.recipe.options)
    lists_pictures = any(flag.name == "input_column" for flag in flags)
    roots = settings.data_roots
    yield f"--data={inputs.add(data, roots, with_folder=lists_pictures)}"
    for flag in flags:
        value = getattr(args, flag.name)
        if value == flag.default:
            continue
        for each in value if isinstance(value, list | tuple) else [value]:
            if takes_path(flag) and isinstance(each, str):
                each = inputs.add(find_start(flag, each, settings), roots)
            yield from write_option(flag.name, each)
    for name in COMMON:
        yield from write_option(name, getattr(args, name))


def takes_path(flag: Flag) -> bool:
    """Whether an option may name a file or folder."""
    return any(word in (flag.metavar or "") for word in TAKES_PATH)


def find_start(flag: Flag, given: str, settings: Settings) -> str:
    """For `--from`, the folder of a model in a store that only this machine reaches."""
    if flag.name != "from_" or not isinstance(settings.store, Path) or Path(given).exists():
        return given
    from modelpad.training.starting import find_start as find_model

    return str(find_model(given, settings.store).bundle.folder)


def write_option(name: str, value: object) -> Iterator[str]:
    """An option as text; none for one that is not given."""
    if value is True:
        yield name_flag(name)
    elif value is not None and value is not False:
        yield f"{name_flag(name)}={value}"


def take_results(
    args: argparse.Namespace, data: str, settings: Settings, finished: Finished
) -> Facts:
    """Writes the run that has come back, and pushes its bundle into a store in a folder."""
    from modelpad.bundle import open_bundle
    from modelpad.store import open_store
    from modelpad.training.pipeline import add_version
    from modelpad.training.run import BUNDLE

    facts = dict(finished.facts)
    options = build_options(args.recipe.options, vars(args))
    folder = Path(args.runs) / args.recipe.folder_name(facts["name"], options)
    write_run(finished.run, folder)
    if isinstance(settings.store, Path):
        entry = add_version(open_store(settings.store), open_bundle(folder / BUNDLE), data)
        facts["version"] = entry.version
    return facts | {"run": str(folder)}


def write_run(body: bytes, folder: Path) -> None:
    """Replaces the files of an earlier run. Raises `TrainingFailed` if they cannot be written."""
    from modelpad.cluster.inputs import unpack
    from modelpad.cluster.order import RETURNED

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            unpack(body, Path(scratch))
            for name in RETURNED:
                shutil.rmtree(folder / name, ignore_errors=True)
                (folder / name).unlink(missing_ok=True)
                if (Path(scratch) / name).exists():
                    (Path(scratch) / name).rename(folder / name)
    except OSError as error:
        raise TrainingFailed(
            f"{folder} cannot be written: {error.strerror}.",
            hint="Free some space or choose another folder with --runs.",
        ) from error
