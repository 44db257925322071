"""Feedback: predictions that people confirmed or corrected, each with its input.

A server collects it, and `modelpad feedback`, training and promotion read it. Everything is in one
SQLite file, so that an item and its labels are written and deleted together.
"""

from modelpad.feedback.corrections import HELD_OUT, TRAINING, read_corrections
from modelpad.feedback.entry import Correction, Entry, Item, Receipt
from modelpad.feedback.export import export_feedback
from modelpad.feedback.items import find_label, make_item, restore_values
from modelpad.feedback.location import locate_feedback
from modelpad.feedback.store import FeedbackLimits, FeedbackStore

__all__ = [
    "HELD_OUT",
    "TRAINING",
    "Correction",
    "Entry",
    "FeedbackLimits",
    "FeedbackStore",
    "Item",
    "Receipt",
    "export_feedback",
    "find_label",
    "locate_feedback",
    "make_item",
    "read_corrections",
    "restore_values",
]
