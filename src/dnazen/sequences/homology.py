"""Sequences that are near equal, on either strand, and splits that are kept apart.

Decided here: two sequences are near equal if they share a fraction of their canonical 16-mers (a
16-mer and its reverse complement are one): of the distinct ones of each, those in both, divided by
the smaller number. The comparison is exact, every pair counts; a 16-mer with an ambiguous letter
counts as none. Of two sequences of the same length and a fraction p of equal bases, without gaps,
about p^16 of the 16-mers are shared: 0.25 is 92 % identity, or an overlap of a quarter.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int64, UInt32

from .blocks import SplitName

K = 16

_BREAK = 4
_CODES = np.full(256, _BREAK, dtype=np.uint8)
for _letters in (b"ACGT", b"acgt", b"ACGU", b"acgu"):
    _CODES[np.frombuffer(_letters, dtype=np.uint8)] = range(4)


def canonical_kmers(sequence: bytes) -> UInt32[np.ndarray, "kmers"]:
    """The distinct 16-mers of a sequence, sorted, as numbers of 2 bits a base.

    Each is the smaller of its own number and that of its reverse complement.

    Examples
    --------
    >>> canonical_kmers(b"A" * 17), canonical_kmers(b"T" * 16 + b"N" + b"ACG")
    (array([0], dtype=uint32), array([0], dtype=uint32))
    """
    codes = _CODES[np.frombuffer(sequence, dtype=np.uint8)]
    number = max(0, len(codes) - K + 1)
    forward, backward = np.zeros(number, dtype=np.uint32), np.zeros(number, dtype=np.uint32)
    whole = np.ones(number, dtype=np.bool_)
    for place in range(K):
        base = codes[place : place + number].astype(np.uint32)
        whole &= base != _BREAK
        forward = (forward << np.uint32(2)) | (base & np.uint32(3))
        backward |= (np.uint32(3) - (base & np.uint32(3))) << np.uint32(2 * place)
    distinct: UInt32[np.ndarray, "kmers"] = np.unique(np.minimum(forward, backward)[whole])
    return distinct


class NearEqual:
    """Sequences by their 16-mers, to find those that are near equal to another one.

    Memory is about 16 bytes a base while it is made, and 12 then.
    """

    def __init__(self, sequences: Sequence[bytes], fraction: float) -> None:
        kmers = [canonical_kmers(sequence) for sequence in sequences]
        self._fraction = fraction
        self._sizes = np.array([len(own) for own in kmers], dtype=np.int64)
        joined = np.concatenate([np.zeros(0, dtype=np.uint32), *kmers])
        order = np.argsort(joined, kind="stable")
        self._kmers = joined[order]
        self._owners = np.repeat(np.arange(len(kmers)), self._sizes)[order].astype(np.int32)

    def find(self, sequence: bytes) -> Int64[np.ndarray, "found"]:
        """The numbers of the sequences that are near equal to this one, ascending."""
        own = canonical_kmers(sequence)
        first = np.searchsorted(self._kmers, own, "left")
        hits = np.searchsorted(self._kmers, own, "right") - first
        places = np.arange(hits.sum()) + np.repeat(first - (np.cumsum(hits) - hits), hits)
        owners, shared = np.unique(self._owners[places], return_counts=True)
        least = self._fraction * np.minimum(self._sizes[owners], len(own))
        found: Int64[np.ndarray, "found"] = owners[shared >= least - 1e-9].astype(np.int64)
        return found


def leaking(
    sequences: Sequence[bytes],
    splits: Sequence[SplitName],
    fraction: float,
    removable: Bool[np.ndarray, "sequences"] | None = None,
) -> Bool[np.ndarray, "sequences"]:
    """Which sequences to remove, so that none of a split is near equal to one of another.

    Of two, the one of dev or test goes where the other is of train, and the one of dev where the
    other is of test.

    Parameters
    ----------
    removable
        Which may be removed; by default all. Of two of which one may, that one goes. The others
        must be free of such pairs among themselves.
    """
    may_go = np.ones(len(sequences), dtype=np.bool_) if removable is None else removable
    gone = np.zeros(len(sequences), dtype=np.bool_)
    held_out = np.array([n for n, split in enumerate(splits) if split != "train"], dtype=np.int64)
    of_dev = np.array([splits[n] == "dev" for n in held_out], dtype=np.bool_)
    index = NearEqual([sequences[n] for n in held_out], fraction)
    for split in ("train", "test"):
        for number in (n for n, own in enumerate(splits) if own == split):
            if gone[number]:
                continue
            found = index.find(sequences[number])
            if split == "test":
                found = found[of_dev[found]]
            others = held_out[found]
            others = others[~gone[others]]
            if may_go[others].all():
                gone[others] = True
            else:
                gone[number] = may_go[number]
    return gone
