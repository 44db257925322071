"""Two versions side by side: metrics, settings, data, size and time, and the same held-out items.

`sides` is what each version says of itself, `items` runs both on the same items, `comparison` puts
them together, `report` writes them as a page. Nothing is changed in the store.
"""

from modelpad.comparison.comparison import Comparison, ComparisonRequest, compare

__all__ = ["Comparison", "ComparisonRequest", "compare"]
