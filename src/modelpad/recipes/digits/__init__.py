"""Digits, or any small pictures in classes: from a data set to a bundle, in Keras on PyTorch."""

from modelpad.recipes.digits.options import TrainOptions, TrainResult
from modelpad.recipes.digits.train import train_digits

__all__ = ["TrainOptions", "TrainResult", "train_digits"]
