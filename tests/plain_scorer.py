"""Scores of variants spelt out, one forward pass and one token at a time: the oracle of tests."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from dnazen.ggrams.vocabulary import GGramVocabulary
from dnazen.model.modeling import DnazenForMaskedLM

UNK, CLS, SEP, MASK = 0, 1, 2, 4


class PlainScorer:
    """Reads the files of a model directory anew; knows nothing of batches or of reuse."""

    def __init__(self, directory: Path, kind=DnazenForMaskedLM) -> None:
        self.tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        vocabulary = GGramVocabulary.load(directory / "ggrams.tsv")
        self.ggrams = {vocabulary.ggram(n): n for n in range(1, len(vocabulary) + 1)}
        self.model = kind.from_pretrained(directory).eval()

    def tokens(self, letters: str) -> list[tuple[int, int, int]]:
        """(token, first base, end) of each token; a run of N is one [UNK]."""
        found = []
        for run in re.finditer("[ACGT]+|N+", letters):
            if run[0].startswith("N"):
                found.append((UNK, *run.span()))
                continue
            encoding = self.tokenizer.encode(run[0], add_special_tokens=False)
            start = run.start()
            for token, text in zip(encoding.ids, encoding.tokens, strict=True):
                found.append((token, start, start + len(text)))
                start += len(text)
        return found

    def occurrences(self, ids: list[int]) -> list[tuple[int, int, int]]:
        """(start, length, G-gram) of each occurrence."""
        spans = [(i, n) for i in range(len(ids)) for n in range(2, len(ids) - i + 1) if n <= 12]
        grams = [(i, n, self.ggrams.get(tuple(ids[i : i + n]))) for i, n in spans]
        return [(i, n, gram) for i, n, gram in grams if gram is not None]

    @torch.no_grad()
    def output(self, ids: list[int], **options):
        """What the model makes of one sequence, [CLS] and [SEP] put around it."""
        ids = [CLS, *ids, SEP]
        slots: dict[int, int] = {}
        cover = set()
        for start, length, gram in self.occurrences(ids):
            slot = slots.setdefault(gram, len(slots))
            cover |= {(token, slot) for token in range(start, start + length)}
        pairs = sorted(cover)
        return self.model(
            input_ids=torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            ggram_ids=torch.tensor(list(slots), dtype=torch.long),
            ggram_offsets=torch.tensor([0, len(slots)]),
            cover_token=torch.tensor([token for token, _ in pairs], dtype=torch.long),
            cover_slot=torch.tensor([slot for _, slot in pairs], dtype=torch.long),
            **options,
        )

    def log_likelihood(self, ids: list[int], place: int) -> float:
        """Of one token, in nats, with [MASK] in its place."""
        masked = [*ids[:place], MASK, *ids[place + 1 :]]
        logits = self.output(masked).logits[0, place + 1].double()
        return float(logits[ids[place]] - logits.logsumexp(0))

    def states(self, ids: list[int]) -> np.ndarray:
        """Of the last layer, without [CLS] and [SEP]."""
        return self.output(ids, output_hidden_states=True).hidden_states[-1][0, 1:-1].numpy()

    def compared(self, ref: str, alt: str) -> tuple[list[int], list[int]]:
        """Places of the tokens that are compared: all but equal ones at the ends, clear of it."""
        before, after = untouched(ref, alt)
        ours, theirs = self.tokens(ref), self.tokens(alt)
        left = right = 0
        for one, other in zip(ours, theirs, strict=False):
            if one[0] != other[0] or max(one[2], other[2]) > before:
                break
            left += 1
        for one, other in zip(ours[::-1], theirs[::-1], strict=False):
            bounds = len(ref) - one[1], len(alt) - other[1]
            if one[0] != other[0] or max(bounds) > after:
                break
            right += 1
        return list(range(left, len(ours) - right)), list(range(left, len(theirs) - right))

    def llr(self, ref: str, alt: str) -> float:
        """Of the compared tokens, alternative over reference."""
        totals = []
        for letters, places in zip((ref, alt), self.compared(ref, alt), strict=True):
            ids = [token for token, _, _ in self.tokens(letters)]
            totals.append(sum(self.log_likelihood(ids, n) for n in places if ids[n] != UNK))
        return totals[1] - totals[0]

    def nats_per_base(self, letters: str) -> float:
        """Of all tokens, one in seven hidden at a time; runs of N stay and are not scored."""
        tokens = self.tokens(letters)
        ids = [token for token, _, _ in tokens]
        total = 0.0
        for first in range(7):
            hidden = [n for n in range(first, len(ids), 7) if ids[n] != UNK]
            logits = self.output([MASK if n in hidden else t for n, t in enumerate(ids)]).logits
            for n in hidden:
                row = logits[0, n + 1].double()
                total += float(row.logsumexp(0) - row[ids[n]])
        return total / sum(end - start for token, start, end in tokens if token != UNK)

    def corrected(self, ref: str, alt: str) -> float:
        """The ratio with what the bases gained cost in the mean of the reference."""
        gained = sum(map(alt.count, "ACGT")) - sum(map(ref.count, "ACGT"))
        return self.llr(ref, alt) + gained * self.nats_per_base(ref)

    def distance(self, ref: str, alt: str) -> float:
        """Between the mean states of the compared tokens."""
        means = []
        for letters, places in zip((ref, alt), self.compared(ref, alt), strict=True):
            ids = [token for token, _, _ in self.tokens(letters)]
            means.append(self.states(ids)[places].astype(float).mean(axis=0))
        return float(np.sqrt(((means[0] - means[1]) ** 2).sum()))

    def ggram_changes(self, ref: str, alt: str) -> tuple[int, int]:
        """Occurrences lost and gained."""
        counts = [
            Counter(gram for _, _, gram in self.occurrences([t for t, _, _ in self.tokens(text)]))
            for text in (ref, alt)
        ]
        lost, gained = counts[0] - counts[1], counts[1] - counts[0]
        return sum(lost.values()), sum(gained.values())

    def scores(self, ref: str, alt: str) -> list[float]:
        """All of a masked LM's columns."""
        llr, corrected = self.llr(ref, alt), self.corrected(ref, alt)
        return [llr, corrected, self.distance(ref, alt), *self.ggram_changes(ref, alt)]


def untouched(ref: str, alt: str) -> tuple[int, int]:
    """Bases at either end that no spelling of the change touches, found by trying them all."""
    short, long = sorted((ref, alt), key=len)
    more = len(long) - len(short)
    cuts = [p for p in range(len(short) + 1) if long[:p] + long[p + more :] == short]
    if more and cuts:  # an insertion or deletion: the bases beside it count as touched
        return max(0, min(cuts) - 1), max(0, len(short) - max(cuts) - 1)
    left = next(n for n in range(len(short) + 1) if ref[: n + 1] != alt[: n + 1])
    right = next(n for n in range(len(short) + 1) if ref[-n - 1 :] != alt[-n - 1 :])
    return left, right


def other_strand(letters: str) -> str:
    """The reverse complement."""
    return "".join(dict(zip("ACGTN", "TGCAN", strict=True))[base] for base in reversed(letters))
