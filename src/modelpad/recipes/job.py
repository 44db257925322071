"""The kind of job `train`: trains a recipe on a collection of pictures, and adds it to the store.

Only options that a stranger may choose are taken: none that names files or code.
"""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modelpad.collection import ID, Collection, CollectionLimits
from modelpad.errors import InvalidInput, NotFound, UsageError
from modelpad.jobs.kinds import Kind, invalid

if TYPE_CHECKING:
    from modelpad.foreign_json import Json
    from modelpad.jobs.settings import WorkSettings
    from modelpad.jobs.work import Work
    from modelpad.store import Entry, Store

RECIPE = "images"
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
ARCHITECTURES = ("transfer", "small", "mini")
RANGES = {"size": (32, 224), "epochs": (1, 100)}
TRAINING_SHARE = 0.85  # of the progress; then the model is tested and saved
ORIGIN = "collection"


def check(params: Mapping[str, Json], settings: WorkSettings) -> Mapping[str, Json]:
    """The parameters, with every name and number checked. Raises `InvalidInput` and `NotFound`."""
    known = {"recipe", "collection", "name", "options"}
    if not {"collection", "name"} <= params.keys() <= known:
        raise invalid("params", "collection, name and options", ", ".join(params)[:100])
    recipe, name, id = params.get("recipe", RECIPE), params["name"], params["collection"]
    if recipe != RECIPE:
        raise invalid("recipe", RECIPE, repr(recipe)[:60])
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise invalid("name", "1 to 40 lower-case letters, digits and hyphens", repr(name)[:60])
    if not isinstance(id, str):
        raise invalid("collection", "a collection's id", repr(id)[:60])
    collection = find_collection(id, settings)
    collection.check_trainable()
    check_name(name, id, settings)
    options = check_options(params.get("options", {}))
    return {"recipe": RECIPE, "collection": id, "name": name, "options": options}


def check_options(given: object) -> dict[str, Json]:
    """The options of the recipe that a client may choose. Raises `InvalidInput`."""
    if not isinstance(given, dict) or not given.keys() <= {"arch", *RANGES}:
        raise invalid("options", f"an object of arch, {', '.join(RANGES)}", repr(given)[:60])
    if given.get("arch", "transfer") not in ARCHITECTURES:
        raise invalid("arch", ", ".join(ARCHITECTURES), repr(given["arch"])[:60])
    for name, (least, most) in RANGES.items():
        value = given.get(name, least)
        if type(value) is not int or not least <= value <= most:
            raise invalid(name, f"a whole number from {least} to {most}", repr(value)[:60])
    return dict(given)


def check_name(name: str, collection: str, settings: WorkSettings) -> None:
    """Raises `InvalidInput` for the name of a model that was not trained on this collection.

    A job adds versions to its own models only: never to those that the operator serves.
    """
    from modelpad.store import open_store
    from modelpad.zoo import zoo_bundles

    store = open_store(settings.location)
    taken = name in zoo_bundles()
    if not taken and name in store.names():
        origin = store.manifest(name).training.get(ORIGIN)
        taken = origin != collection
    if taken:
        raise InvalidInput(
            f"There is a model called {name!r} already.",
            hint="Choose another name.",
            field="name",
            expected="a new name",
            got=name,
        )


def find_collection(id: str, settings: WorkSettings) -> Collection:
    """The collection of that id, whoever owns it. Raises `NotFound`."""
    folder = settings.collections / id
    if not ID.fullmatch(id) or not folder.is_dir():
        raise NotFound(f"There is no collection {id[:40]!r}.", hint="It may have expired.")
    return Collection(folder, CollectionLimits())


def run(work: Work) -> Mapping[str, Json]:
    """Trains on a copy of the collection, which stays as it is in every attempt, and saves it."""
    from modelpad.store import open_store

    params: Any = work.job.params
    work.progress(0.0, "Starting")
    store = open_store(work.settings.location)
    # An attempt that ended while it was saving has perhaps saved it.
    entry = find_saved(store, params["name"], work.job.id) if work.may_have_committed else None
    if entry is None:
        entry = train_and_save(work, store, params)
    shutil.rmtree(work.folder / "data", ignore_errors=True)
    shutil.rmtree(work.folder / "run", ignore_errors=True)
    metrics = store.manifest(f"{entry.name}@{entry.version}").metrics
    return {"model": entry.name, "version": entry.version, "metrics": dict(metrics)}


def train_and_save(work: Work, store: Store, params: Mapping[str, Any]) -> Entry:
    """Trains and adds the version, unless the name was given away meanwhile (`InvalidInput`)."""
    from modelpad.recipes import load_recipe
    from modelpad.training.options import build_options
    from modelpad.training.pipeline import train
    from modelpad.training.run import CHECKPOINT, TrainRequest

    name, options = params["name"], dict(params["options"])
    data = work.folder / "data" / name
    data.parent.mkdir(exist_ok=True)
    find_collection(params["collection"], work.settings).copy_to(data)
    folder = work.folder / "run"
    recipe = load_recipe(params["recipe"])
    request = TrainRequest(
        name=name,
        data=str(data),
        folder=folder,
        epochs=options.pop("epochs", None),
        resume=(folder / CHECKPOINT).is_dir(),
        origin={"job": work.job.id, ORIGIN: params["collection"]},
    )

    def watch(share: float, step: str) -> None:
        work.progress(TRAINING_SHARE * share, step)

    work.progress(0.0, "Loading the pictures")
    try:
        chosen = build_options(recipe.options, options)
        outcome = train(recipe, chosen, request, out=LogWriter(work), watch=watch)
    except UsageError as error:
        raise invalid("options", error.hint, error.message) from error
    work.progress(0.95, "Saving the model")
    check_name(name, params["collection"], work.settings)
    work.begin_commit()
    entry = store.push(outcome.bundle)
    pictures = find_collection(params["collection"], work.settings).data
    store.record_data(entry.name, entry.version, pictures)
    return entry


def find_saved(store: Store, name: str, job: str) -> Entry | None:
    """The version that a job has added to the store, if it has."""
    for version in reversed(store.versions(name)):
        reference = f"{name}@{version}"
        if store.manifest(reference).training.get("job") == job:
            return store.resolve(reference)
    return None


class LogWriter(io.StringIO):
    """Text as lines of a job's log."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        self._work, self._rest = work, ""

    def write(self, text: str) -> int:
        """Logs the lines that are complete."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in filter(str.strip, lines):
            self._work.log(line)
        return len(text)

    def isatty(self) -> bool:
        """Never a terminal."""
        return False


KIND = Kind(
    name="train",
    summary="train a model on pictures and add it to the store",
    check=check,
    run="modelpad.recipes.job:run",
)
