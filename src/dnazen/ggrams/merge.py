"""``dnazen ggrams merge``: several vocabularies of one tokenizer as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import InputError
from .mining.candidates import bounds
from .vocabulary import UNKNOWN_COUNT, GGramVocabulary, order_of_ids, padded


def merge(parts: Sequence[GGramVocabulary], max_size: int | None = None) -> GGramVocabulary:
    """All G-grams of the parts, in the order of mining, with an empty provenance.

    Counts add up over the parts that know them. A G-gram that missed ``min_count`` in one corpus
    has no count there, so a sum is a lower bound. PMI is the least of the parts' (Decided here).

    Raises
    ------
    InputError
        If the parts are not all of one tokenizer, or a count is absurd.
    """
    for part in parts[1:]:
        part.require_tokenizer(parts[0].tokenizer_sha256)
    lengths = np.concatenate([part.lengths for part in parts])
    flat = np.concatenate([part.tokens for part in parts])
    counts = np.concatenate([part.counts for part in parts])
    pmi = np.concatenate([part.pmi for part in parts])
    rows, first, group = np.unique(
        padded(flat, bounds(lengths)), axis=0, return_index=True, return_inverse=True
    )
    if counts.max(initial=0) > np.iinfo(np.int64).max // len(parts):
        raise InputError(f"a count of {counts.max()}", expected="counts whose sum has 63 bits")
    total = np.zeros(len(rows), dtype=np.int64)
    np.add.at(total, group, np.maximum(counts, 0))
    is_counted = np.zeros(len(rows), dtype=np.bool_)
    is_counted[group[counts != UNKNOWN_COUNT]] = True
    total[~is_counted] = UNKNOWN_COUNT
    weakest = np.full(len(rows), np.nan, dtype=np.float32)
    np.fmin.at(weakest, group, pmi)

    order = order_of_ids(rows, lengths[first], total)[:max_size]
    lengths, rows = lengths[first][order], rows[order]
    spelt = [b for part in parts for b in part.bases] if all(p.bases for p in parts) else []
    return GGramVocabulary(
        tokens=rows[np.arange(rows.shape[1]) < lengths[:, None]],
        offsets=bounds(lengths),
        counts=total[order],
        pmi=weakest[order],
        vocab_size=parts[0].vocab_size,
        tokenizer_sha256=parts[0].tokenizer_sha256,
        bases=tuple(spelt[i] for i in first[order]) if spelt else (),
    )
