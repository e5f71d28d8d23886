"""All G-grams of token sequences: every occurrence, and the sparse slots a model reads."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Int64, UInt64

from .kernels import kernel, require_sequences
from .settings import MAX_LENGTH
from .trie import PAYLOAD, Trie, build, longest, possible_starts, slot_of
from .vocabulary import GGramVocabulary

_BATCH_TOKENS = 1 << 16


class Matches(NamedTuple):
    """The distinct G-grams of each sequence, and the tokens they cover.

    A slot is one distinct G-gram of one sequence; slots stand in the order of first occurrence
    (ties: shorter first). Pairs are sorted by (token, slot) and unique.
    """

    ggram_ids: Int64[np.ndarray, "slots"]
    slot_offsets: Int64[np.ndarray, "sequences+1"]
    """Slots of sequence ``s``: ``slot_offsets[s]:slot_offsets[s + 1]``."""
    cover_token: Int64[np.ndarray, "pairs"]
    """Index into the flat tokens."""
    cover_slot: Int64[np.ndarray, "pairs"]
    """Index into ``ggram_ids``."""


class Occurrences(NamedTuple):
    """Every occurrence, overlaps and nesting included, by start, then by length."""

    start: Int64[np.ndarray, "occurrences"]
    """Index into the flat tokens."""
    ggram_id: Int64[np.ndarray, "occurrences"]


class Matcher:
    """Finds the G-grams of a vocabulary; plain arrays inside, so it pickles and forks cheaply."""

    def __init__(self, vocabulary: GGramVocabulary) -> None:
        self._trie: Trie = build(vocabulary.tokens, vocabulary.offsets)
        self.lengths: Int64[np.ndarray, "ggrams+1"] = np.concatenate([[0], vocabulary.lengths])
        """Tokens of each G-gram by id; 0 for the padding."""

    def __len__(self) -> int:
        return len(self.lengths) - 1

    def occurrences(
        self, tokens: Int[np.ndarray, "tokens"], offsets: Int[np.ndarray, "sequences+1"]
    ) -> Occurrences:
        """All occurrences, overlapping and nested ones too; none crosses a sequence's end.

        Time O(tokens x longest G-gram), in practice about one probe a token. Token ids lie in
        0..65,535; special tokens match nothing.
        """
        require_sequences(tokens, offsets)
        start, ggram_id, _ = _occurrences(tokens, _int64(offsets), *self._trie)
        return Occurrences(start, ggram_id)

    def match(
        self,
        tokens: Int[np.ndarray, "tokens"],
        offsets: Int[np.ndarray, "sequences+1"],
        max_ggrams: int | None = None,
        *,
        threads: int = 1,
    ) -> Matches:
        """Slots and covered tokens of each sequence (method.md section 4).

        Parameters
        ----------
        max_ggrams
            Keep at most this many slots of a sequence, from the front; None keeps all.
        """
        require_sequences(tokens, offsets)
        offsets = _int64(offsets)
        cap = np.iinfo(np.int64).max if max_ggrams is None else max_ggrams
        # In batches of sequences: what one step writes, the next reads from the cache.
        marks = np.arange(offsets[0], offsets[-1], _BATCH_TOKENS)[1:]
        cuts = np.unique([0, *np.searchsorted(offsets, marks), len(offsets) - 1])

        def matches_of(first: int, last: int) -> Matches:
            occurrences = _occurrences(tokens, offsets[first : last + 1], *self._trie)
            return Matches(*_slots_and_cover(*occurrences, self.lengths, cap))

        if len(cuts) <= 2:
            return matches_of(0, len(offsets) - 1)
        with ThreadPoolExecutor(threads) as pool:
            return _joined(list(pool.map(matches_of, cuts[:-1].tolist(), cuts[1:].tolist())), pool)


def _joined(batches: Sequence[Matches], pool: ThreadPoolExecutor) -> Matches:
    """Matches of consecutive batches of sequences as those of all of them."""
    slots, sequences, pairs = (
        np.cumsum([0, *(len(part) - less for part in column)])
        for column, less in (
            ([batch.ggram_ids for batch in batches], 0),
            ([batch.slot_offsets for batch in batches], 1),
            ([batch.cover_token for batch in batches], 0),
        )
    )
    whole = Matches(
        np.empty(slots[-1], dtype=np.int64),
        np.zeros(sequences[-1] + 1, dtype=np.int64),
        np.empty(pairs[-1], dtype=np.int64),
        np.empty(pairs[-1], dtype=np.int64),
    )

    def fill(number: int) -> None:
        # Most of the time of a join is the first touch of new memory: all threads share it.
        batch, before = batches[number], slots[number]
        its_pairs = slice(pairs[number], pairs[number + 1])
        whole.ggram_ids[before : slots[number + 1]] = batch.ggram_ids
        ends = slice(sequences[number] + 1, sequences[number + 1] + 1)
        np.add(batch.slot_offsets[1:], before, out=whole.slot_offsets[ends])
        whole.cover_token[its_pairs] = batch.cover_token
        np.add(batch.cover_slot, before, out=whole.cover_slot[its_pairs])

    list(pool.map(fill, range(len(batches))))
    return whole


def _int64(array: Int[np.ndarray, "n"]) -> Int64[np.ndarray, "n"]:
    return np.ascontiguousarray(array, dtype=np.int64)


@kernel
def _occurrences(
    tokens: Int[np.ndarray, "tokens"],
    offsets: Int64[np.ndarray, "sequences+1"],
    starts: UInt64[np.ndarray, "words"],
    slots: Int64[np.ndarray, "slots 2"],
) -> tuple[
    Int64[np.ndarray, "occurrences"],
    Int64[np.ndarray, "occurrences"],
    Int64[np.ndarray, "sequences+1"],
]:
    """Start and id of every occurrence, and the bounds of each sequence's among them."""
    start = np.empty(tokens.shape[0] // 2 + 64, dtype=np.int64)
    ggram_id = np.empty(start.shape[0], dtype=np.int64)
    bounds = np.zeros(offsets.shape[0], dtype=np.int64)
    firsts = np.empty(longest(offsets) + 1, dtype=np.int64)
    count = 0
    for sequence in range(offsets.shape[0] - 1):
        end = offsets[sequence + 1]
        for k in range(possible_starts(starts, tokens, offsets[sequence], end, firsts)):
            first = firsts[k]
            node = np.int64(tokens[first])
            if count + MAX_LENGTH > start.shape[0]:
                start = np.concatenate((start, np.empty_like(start)))
                ggram_id = np.concatenate((ggram_id, np.empty_like(ggram_id)))
            for i in range(first + 1, end):
                value = slots[slot_of(slots, (node << 16) | tokens[i]), 1]
                if value & PAYLOAD:
                    start[count] = first
                    ggram_id[count] = value & PAYLOAD
                    count += 1
                node = value >> 32
                if node == 0:
                    break
        bounds[sequence + 1] = count
    return start[:count].copy(), ggram_id[:count].copy(), bounds


@kernel
def _slots_and_cover(
    start: Int64[np.ndarray, "occurrences"],
    ggram_id: Int64[np.ndarray, "occurrences"],
    bounds: Int64[np.ndarray, "sequences+1"],
    lengths: Int64[np.ndarray, "ggrams+1"],
    cap: int,
) -> tuple[
    Int64[np.ndarray, "slots"],
    Int64[np.ndarray, "sequences+1"],
    Int64[np.ndarray, "pairs"],
    Int64[np.ndarray, "pairs"],
]:
    """One slot for each distinct G-gram of a sequence; the pairs it covers, sorted and unique."""
    slot_ids = np.empty(start.shape[0], dtype=np.int64)
    slot_offsets = np.zeros(bounds.shape[0], dtype=np.int64)
    slot = np.full(start.shape[0], -1, dtype=np.int64)  # of each occurrence; -1: beyond the cap
    newest = np.full(lengths.shape[0], -1, dtype=np.int64)  # a G-gram's latest slot, any sequence
    slots, covered = 0, 0
    for sequence in range(bounds.shape[0] - 1):
        first_slot = slots
        for k in range(bounds[sequence], bounds[sequence + 1]):
            ggram = ggram_id[k]
            if newest[ggram] < first_slot:
                if slots - first_slot >= cap:
                    continue
                newest[ggram] = slots
                slot_ids[slots] = ggram
                slots += 1
            slot[k] = newest[ggram]
            covered += lengths[ggram]
        slot_offsets[sequence + 1] = slots

    cover_token = np.empty(covered, dtype=np.int64)
    cover_slot = np.empty(covered, dtype=np.int64)
    pairs = 0
    for sequence in range(bounds.shape[0] - 1):
        low, end = bounds[sequence], bounds[sequence + 1]
        token = np.int64(-1)
        while low < end:
            # The next token that an occurrence still open, or the next one to open, may cover.
            token = max(token + 1, start[low])
            begin = pairs
            k = low
            while k < end and start[k] <= token:
                if slot[k] >= 0 and token < start[k] + lengths[ggram_id[k]]:
                    pairs = _insert(cover_slot, begin, pairs, slot[k])
                k += 1
            cover_token[begin:pairs] = token
            while low < end and start[low] + lengths[ggram_id[low]] <= token + 1:
                low += 1
    return slot_ids[:slots].copy(), slot_offsets, cover_token[:pairs], cover_slot[:pairs]


@kernel
def _insert(values: Int64[np.ndarray, "n"], begin: int, end: int, value: int) -> int:
    """Insert into the sorted, unique ``values[begin:end]``; the new end."""
    at = end
    while at > begin and values[at - 1] > value:
        at -= 1
    if at > begin and values[at - 1] == value:
        return end
    for i in range(end, at, -1):
        values[i] = values[i - 1]
    values[at] = value
    return end + 1
