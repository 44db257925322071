"""What recipes share: runs, checkpoints, splits, augmentation, metrics, reports.

There is no trainer class. A recipe is a function that writes its own loop, or calls Keras's, and
tells the run about it; `modelpad.training.pipeline` turns what it returns into a saved version.
Importing this package, `recipe` or `options` loads no framework, so that `--help` stays fast.
"""
