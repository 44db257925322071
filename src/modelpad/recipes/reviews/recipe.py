"""The reviews recipe: reads the texts, and trains the kind of classifier that was asked for."""

from __future__ import annotations

from modelpad.errors import UsageError
from modelpad.recipes.reviews import ReviewsOptions, is_transformer
from modelpad.recipes.reviews.testing import describe_splits
from modelpad.recipes.text.splits import load_labelled
from modelpad.training.recipe import Trained, TrainedSequence
from modelpad.training.run import Run


def train(options: ReviewsOptions, run: Run) -> Trained | TrainedSequence:
    """Trains, tests and describes a classifier of texts."""
    splits = load_labelled(run, options.text_column, options.label_column)
    run.print(describe_splits(splits))
    if options.penalty is not None and options.arch != "bow":
        raise UsageError("--penalty applies to --arch bow alone.", hint="Leave --penalty out.")
    if options.arch == "bow":
        run.team.check_alone("--arch bow", "it is learnt in seconds")
        from modelpad.recipes.reviews.bag import train_bag

        return train_bag(options, splits, run)
    if is_transformer(options.from_):
        run.team.check_alone(f"--from {options.from_}", "transformers are trained in one process")
        from modelpad.recipes.reviews.transformer import train_transformer

        return train_transformer(options, splits, run)
    from modelpad.recipes.reviews.encoder import train_encoder

    return train_encoder(options, splits, run)
