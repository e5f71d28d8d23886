"""``dnazen ggrams compare``: what two vocabularies have in common."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import spearmanr

from .vocabulary import GGramVocabulary


def compare(first: GGramVocabulary, second: GGramVocabulary, top: int = 10) -> dict[str, Any]:
    """Sizes, overlap, agreement of the counts, and the most frequent that only one has.

    ``jaccard`` is shared / all; ``count_spearman`` the rank correlation of the counts of shared
    G-grams, None where fewer than two are known to both.

    Raises
    ------
    InputError
        If they are not of one tokenizer.
    """
    second.require_tokenizer(first.tokenizer_sha256)
    ids = [{v.ggram(i): i for i in range(1, len(v) + 1)} for v in (first, second)]
    shared = [gram for gram in ids[0] if gram in ids[1]]
    counts = [
        v.counts[[at[gram] - 1 for gram in shared]]
        for v, at in zip((first, second), ids, strict=True)
    ]
    counted = (counts[0] >= 0) & (counts[1] >= 0)
    ranks = None
    if min(len(np.unique(c[counted])) for c in counts) > 1:
        ranks = float(spearmanr(counts[0][counted], counts[1][counted]).statistic)
    union = len(first) + len(second) - len(shared)
    return {
        "ggrams": [len(first), len(second)],
        "shared": len(shared),
        "jaccard": len(shared) / union if union else None,
        "count_spearman": ranks,
        "only_first": _listed(first, [i for g, i in ids[0].items() if g not in ids[1]][:top]),
        "only_second": _listed(second, [i for g, i in ids[1].items() if g not in ids[0]][:top]),
    }


def _listed(vocabulary: GGramVocabulary, ids: list[int]) -> list[dict[str, Any]]:
    return [
        {
            "id": i,
            "count": int(vocabulary.counts[i - 1]),
            "bases": vocabulary.bases[i - 1] if vocabulary.bases else None,
        }
        for i in ids
    ]
