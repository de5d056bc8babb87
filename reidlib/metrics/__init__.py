"""Retrieval scores: arrays in, numbers out. Knows nothing of models, datasets or files.

`ranking` (mAP, CMC, mINP and the distances they are computed from), `reranking` (k-reciprocal), `intervals` (bootstrap), `verification`
(pairs: error rates, thresholds, calibrated probability).
"""

from reidlib.metrics.intervals import Interval, bootstrap_interval, paired_difference
from reidlib.metrics.ranking import Ranking, cosine_distances, rank
from reidlib.metrics.reranking import rerank

__all__ = ["Interval", "Ranking", "bootstrap_interval", "cosine_distances", "paired_difference", "rank", "rerank"]
