"""Decides whether a version may have an alias: evaluates, compares, and then moves it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

from modelpad.errors import DataSetNotFound, StoreError, UsageError, VersionNotFound
from modelpad.feedback import find_label
from modelpad.promotion.condition import Comparison, parse_condition
from modelpad.promotion.evaluation import Difference, Evaluated, differ, evaluate_bundle
from modelpad.promotion.held_out import (
    CORRECTIONS,
    DataPlaces,
    HeldOut,
    open_corrections,
    open_data,
    open_own_data,
)
from modelpad.store import LocalStore
from modelpad.store.aliases import PRODUCTION


@dataclass(frozen=True, slots=True)
class PromotionRequest:
    """What to promote, and on which condition.

    `data` names the held-out data, by default the version's own test data; `feedback` is the file
    of corrections.
    """

    name: str
    version: str
    condition: str
    alias: str = PRODUCTION
    data: str | None = None
    feedback: Path | None = None
    places: DataPlaces = field(default_factory=DataPlaces)


@dataclass(frozen=True, slots=True)
class SetResult:
    """How each version does on one held-out set."""

    held_out: HeldOut
    versions: dict[int, Evaluated]

    def differ(self, candidate: int, baseline: int) -> Difference:
        """How two of the versions differ."""
        return differ(self.versions[candidate], self.versions[baseline])


@dataclass(frozen=True, slots=True)
class Verdict:
    """A comparison of the condition with its two sides, and whether it holds."""

    text: str
    left: Fraction
    right: Fraction
    holds: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """The comparison of `candidate` with `baseline`, the version that has the alias, if any.

    `data` and `corrections` are None if there are none.
    """

    name: str
    alias: str
    candidate: int
    baseline: int | None
    data: SetResult | None
    corrections: SetResult | None
    verdicts: tuple[Verdict, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether the whole condition holds."""
        return all(verdict.holds for verdict in self.verdicts)

    @property
    def sets(self) -> list[SetResult]:
        """The held-out sets that there are."""
        return [each for each in (self.data, self.corrections) if each is not None]


def compare_versions(store: LocalStore, request: PromotionRequest) -> Outcome:
    """Evaluates the candidate, the alias's version, and those that the condition names.

    Raises:
        UsageError: the condition is invalid, or the alias cannot be one.
        ModelNotFound, VersionNotFound: the model, the version or an alias does not exist.
        InvalidInput: the model does not predict one label.
        DataSetNotFound, DataSetInvalid: there is no held-out data that fits.
        StoreError: there is no feedback to read.
    """
    condition = parse_condition(request.condition)
    name = request.name
    candidate = store.resolve(f"{name}@{request.version}").version
    baseline = store.aliases(name).get(request.alias)
    named = {
        word: resolve_reference(store, name, word)
        for word in (each.version for each in condition)
        if word is not None
    }
    data, corrections = open_sets(store, request, candidate, condition)
    versions = {candidate, *named.values()} | ({baseline} if baseline is not None else set())
    sets = [each for each in (data, corrections) if each is not None]
    results = iter(evaluate_versions(store, name, versions, sets))
    data_result = None if data is None else next(results)
    found = Outcome(
        name=name,
        alias=request.alias,
        candidate=candidate,
        baseline=baseline,
        data=data_result,
        corrections=None if corrections is None else next(results),
    )
    return replace(found, verdicts=judge(condition, found, named))


def move_alias(store: LocalStore, outcome: Outcome) -> None:
    """Points the alias at the candidate; `production` also ends a traffic split and shadowing.

    Raises `StoreError` if the condition does not hold, or the alias has moved since it was
    compared.
    """
    name, alias = outcome.name, outcome.alias
    if not outcome.holds:
        raise StoreError(f"The condition does not hold for version {outcome.candidate}.")
    if store.aliases(name).get(alias) != outcome.baseline:
        raise StoreError(f"{name}@{alias} has moved since it was compared.", hint="Compare again.")
    if alias == PRODUCTION:
        store.promote(name, outcome.candidate)
    else:
        store.set_alias(name, alias, outcome.candidate)


def resolve_reference(store: LocalStore, name: str, word: str) -> int:
    """The version of an alias or number in a condition. Raises `VersionNotFound`."""
    try:
        return store.resolve(f"{name}@{word}").version
    except VersionNotFound as error:
        error.hint += f" Set an alias with: modelpad models alias {name} {word} VERSION"
        raise


def open_sets(
    store: LocalStore,
    request: PromotionRequest,
    candidate: int,
    condition: Iterable[Comparison],
) -> tuple[HeldOut | None, HeldOut | None]:
    """The held-out data and corrections. Raises if the condition needs one that is missing."""
    manifest = store.open(f"{request.name}@{candidate}", verify=False).manifest
    signature = manifest.signature
    label = find_label(signature)
    needed = {metric for each in condition for metric in each.metrics}
    data = corrections = None
    if request.data is not None:
        data = open_data(request.data, signature, label, request.places)
    elif needed - {CORRECTIONS}:
        data = open_own_data(
            manifest.training.get("data"),
            store.read_data(request.name, candidate),
            signature,
            label,
            request.places,
        )
    if request.feedback is not None:
        corrections = open_corrections(request.feedback, request.name, signature.inputs)
    if CORRECTIONS in needed and request.feedback is None:
        raise UsageError(
            f"The condition needs {CORRECTIONS}.", hint="Name the corrections: --feedback DIR"
        )
    if CORRECTIONS in needed and corrections is not None and not corrections.truth:
        raise DataSetNotFound(
            f"No corrections of {request.name} are held out yet.",
            hint="About every second correction is. See: modelpad feedback list",
        )
    return data, corrections if corrections is not None and corrections.truth else None


def evaluate_versions(
    store: LocalStore, name: str, versions: Iterable[int], sets: Iterable[HeldOut]
) -> list[SetResult]:
    """The predictions of all versions for each set; one version is in memory at a time."""
    results = [SetResult(each, {}) for each in sets]
    for version in sorted(versions):
        found = evaluate_bundle(
            store.open(f"{name}@{version}"), (each.held_out for each in results)
        )
        for result, evaluated in zip(results, found, strict=True):
            result.versions[version] = evaluated
    return results


def judge(
    condition: Iterable[Comparison], outcome: Outcome, named: dict[str, int]
) -> tuple[Verdict, ...]:
    """Each comparison with its sides."""

    def look_up(metric: str, word: str | None) -> Fraction:
        version = outcome.candidate if word is None else named[word]
        source = outcome.corrections if metric == CORRECTIONS else outcome.data
        assert source is not None, "open_sets has checked that there is one"
        found = source.versions[version]
        return found.balanced_accuracy if metric == "balanced_accuracy" else found.accuracy

    return tuple(Verdict(each.text, *each.evaluate(look_up)) for each in condition)
