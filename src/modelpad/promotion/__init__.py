"""Gated promotion: compares versions of a model on items that none was trained on.

`condition` is what must hold, `held_out` the labelled items, `evaluation` the predictions of each
version, `gate` puts them together. Versions run in the engine, as they are served.
"""

from modelpad.promotion.condition import METRICS
from modelpad.promotion.gate import Outcome, PromotionRequest, compare_versions, move_alias

__all__ = ["METRICS", "Outcome", "PromotionRequest", "compare_versions", "move_alias"]
