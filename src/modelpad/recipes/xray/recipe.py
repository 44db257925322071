"""The X-ray recipe: the images recipe, and what a reader of its figures has to know."""

from __future__ import annotations

from dataclasses import replace

from modelpad.datasets import LoadOptions
from modelpad.datasets.options import XrayOptions
from modelpad.recipes.images.recipe import train as train_images
from modelpad.recipes.xray import XrayRecipeOptions
from modelpad.training.findings import Findings, join_findings
from modelpad.training.recipe import Trained
from modelpad.training.run import Run

DEMONSTRATION = (
    "A demonstration, not a medical device: do not use it for patients. It has learnt from a few"
    " pictures of a few hospitals."
)
CONFOUNDERS = (
    "The classes may differ in more than the finding: hospital, scanner, view (PA, AP, supine),"
    " markers and text in the picture, age. A model can tell such classes apart without seeing the"
    " lungs; the heat map shows where it looks.",
    "Pictures were resized; fine structures are lost.",
)


def train(options: XrayRecipeOptions, run: Run) -> Trained:
    """Trains, tests and describes a classifier of chest X-rays."""
    views = XrayOptions(views=options.view) if options.view else XrayOptions()
    trained = train_images(options.images, run, LoadOptions(xray=views))
    card = replace(
        trained.card,
        title="Chest X-rays",
        limits=(*CONFOUNDERS, *trained.card.limits),
    )
    warning = Findings(warnings=[DEMONSTRATION])
    return replace(trained, card=card, findings=join_findings(warning, trained.findings))
