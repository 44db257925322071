"""Samples for the parity check and for calibration: the user's, or generated to fit the fields.

`files` reads them, `objects` takes those of a program, `generated` makes some up; `values` is what
the three have in common, with the way to the model's raw inputs.
"""
