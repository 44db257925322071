"""What recipes share: runs, checkpoints, splits, augmentation, metrics, reports.

There is no trainer class. A recipe is a function that writes its own loop, or calls Keras's, and
reports to the run; `modelpad.training.pipeline` turns the result into a stored version.
Importing this package, `recipe` or `options` loads no framework, so that `--help` stays fast.
"""
