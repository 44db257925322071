"""What a search varies: the recipe's ranges, those of `--set`, and none that are given."""

from __future__ import annotations

import pytest

from modelpad.errors import UsageError
from modelpad.recipes import load_searchable
from modelpad.recipes.digits import RECIPE, DigitsOptions
from modelpad.recipes.reviews import RECIPE as REVIEWS
from modelpad.recipes.reviews import ReviewsOptions
from modelpad.training.options import OptimizerOptions
from modelpad.training.ranges import Range, describe_space
from modelpad.tuning.space import choose_space
from tests.tuning import toy


def choose(*settings: str) -> dict[str, Range]:
    return dict(choose_space(RECIPE, DigitsOptions(), settings))


def test_a_recipe_has_a_space_that_fits_its_other_options() -> None:
    assert describe_space(choose()) == (
        "learning_rate 0.0003..0.03, batch_size 16..256, weight_decay 0.0001..0.1"
    )
    conv = choose_space(RECIPE, DigitsOptions("conv"), ())
    assert conv["learning_rate"].high > 1
    assert [*choose_space(REVIEWS, ReviewsOptions(arch="bow"), ())] == ["penalty"]


def test_a_setting_changes_a_range_and_keeps_its_scale() -> None:
    found = choose("learning-rate=1e-3..2e-3", "batch_size=8..16")
    assert found["learning_rate"] == Range(1e-3, 2e-3, log=True)
    assert found["batch_size"] == Range(8, 16, log=True)
    assert found["batch_size"].is_whole
    more = choose_space(toy.RECIPE, toy.Options(), ["width=1..1000"])
    assert more == {"width": Range(1, 1000, log=True), "x": Range(0.0, 1.0)}


def test_an_option_that_is_given_is_not_varied() -> None:
    options = DigitsOptions(optimizer=OptimizerOptions(learning_rate=0.002))
    assert [*choose_space(RECIPE, options, ())] == ["batch_size", "weight_decay"]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("learning_rate", "NAME=LOW..HIGH"),
        ("learning_rate=0.1", "NAME=LOW..HIGH"),
        ("learning_rate=1e-2..1e-4", "not below"),
        ("learning_rate=1e-2..1e-2", "not below"),
        ("learning_rate=a..1", "'a' is not a number"),
        ("learning_rate=1e-4..inf", "'inf' is not a number"),
        ("learning_rate=-1..1", "--learning-rate is -1.0"),
        ("batch_size=1.5..8", "'1.5' is not a whole number"),
        ("learning_rat=1e-4..1e-2", "Did you mean learning_rate"),
        ("arch=1..2", "not numbers"),
        ("epochs=1..9", "the same in all trials"),
    ],
)
def test_a_setting_that_is_not_valid_is_explained(setting: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose(setting)
    assert words in f"{caught.value.message} {caught.value.hint}"


def test_an_option_is_either_given_or_searched() -> None:
    options = toy.Options(x=0.5)
    with pytest.raises(UsageError, match="also as an option"):
        choose_space(toy.RECIPE, options, ["x=0..1"])
    with pytest.raises(UsageError, match="twice"):
        choose_space(toy.RECIPE, toy.Options(), ["x=0..1", "x=0..2"])
    with pytest.raises(UsageError, match="nothing left to search"):
        choose_space(toy.RECIPE, options, ())


def test_a_recipe_without_a_space_names_those_with_one() -> None:
    with pytest.raises(UsageError, match="style has no search space") as caught:
        load_searchable("style")
    assert "digits, images, reviews, writer, xray" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        load_searchable("digitz")
    assert "Did you mean digits?" in caught.value.hint
