"""Merging a round's updates into the next global model. Imports torch: for workers only."""

from fl_server_ai.aggregation.engine import Update, merge, merge_tensors
from fl_server_ai.aggregation.errors import AggregationError
from fl_server_ai.aggregation.registry import STRATEGIES
from fl_server_ai.aggregation.trajectory import make_moments

__all__ = ["STRATEGIES", "AggregationError", "Update", "make_moments", "merge", "merge_tensors"]
