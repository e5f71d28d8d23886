"""The k-mer view: a linear layer over the k-mers of a sequence, beside the deep head.

Wide and deep (Cheng and others 2016, arXiv 1606.07792). Decided here: k-mers of length 1 to k,
their counts weighted and scaled to unit length as in scikit-learn's TF-IDF. A model that reads both
strands counts a k-mer and its reverse complement as one. The layer is a regression fitted on its
own (``training.kmers``); it says nothing until its weights are put in.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

import torch
from jaxtyping import Float, Int, Int8
from torch import Tensor, nn

from ..tokens.special import SEP
from .bases import NONE, UNKNOWN, bases_of_tokens
from .configuration import DnazenConfig
from .layers import LinearFromZero
from .layout import Layout
from .settings import MOST_KMERS


def canonical_kmers(k: int) -> Int[Tensor, "kmers"]:
    """The feature of each k-mer by its code (base 4, A C G T = 0 to 3, first base highest).

    A k-mer and its reverse complement share one; features are numbered from 0 by the smaller code.
    """
    codes = torch.arange(4**k, device="cpu")  # Hugging Face makes models on a device without data
    reverse = torch.zeros_like(codes)
    rest = codes.clone()
    for _ in range(k):
        reverse = reverse * 4 + (3 - rest % 4)
        rest //= 4
    feature: Tensor
    _, feature = torch.unique(torch.minimum(codes, reverse), return_inverse=True)
    return feature


class KmerCounts(nn.Module):
    """Counts of 1- to k-mers, in sequences given as bases."""

    def __init__(self, longest: int, *, canonical: bool) -> None:
        assert 1 <= longest <= MOST_KMERS
        super().__init__()
        self.longest, self.canonical = longest, canonical
        self.features = 0
        """Distinct k-mers of all lengths."""
        for name, table in self._tables():
            self.register_buffer(name, table, persistent=False)
            self.features = int(table.max()) + 1

    def renew(self) -> None:
        """Fill the tables, which are not stored, where they lost what they held."""
        for name, table in self._tables():
            getattr(self, name).copy_(table)

    def _tables(self) -> Iterator[tuple[str, Int[Tensor, "kmers"]]]:
        """The number of the feature of each k-mer, by length, under the name of its buffer."""
        first = 0
        for length in range(1, self.longest + 1):
            every = torch.arange(4**length, device="cpu")
            table = first + (canonical_kmers(length) if self.canonical else every)
            yield f"of_length_{length}", table
            first = int(table.max()) + 1

    def forward(self, codes: Int[Tensor, "sequences bases"]) -> Float[Tensor, "sequences features"]:
        """Count.

        Parameters
        ----------
        codes
            Bases as 0 to 3; anything else breaks the sequence.
        """
        counts = torch.zeros(len(codes), self.features, device=codes.device)
        for feature, present in self.occurrences(codes):
            counts.scatter_add_(1, feature, present.to(counts.dtype))
        return counts

    def occurrences(self, codes: Int[Tensor, "sequences bases"]) -> list[tuple[Tensor, Tensor]]:
        """For each length, the feature that begins at each base, and whether one does."""
        seen = (codes >= 0) & (codes < UNKNOWN)
        digits = codes.clamp(0, 3).long()
        code, unbroken = torch.zeros_like(digits), torch.ones_like(seen)
        found = []
        for length in range(1, min(self.longest, codes.shape[1]) + 1):
            places = codes.shape[1] - length + 1
            code = code[:, :places] * 4 + digits[:, length - 1 :]
            unbroken = unbroken[:, :places] & seen[:, length - 1 :]
            found.append((getattr(self, f"of_length_{length}")[code], unbroken))
        return found


class KmerView(nn.Module):
    """Weighted counts of k-mers, at unit length, through a linear layer.

    Parameters
    ----------
    shape
        Of the table of ``bases.token_base_table``, which the view keeps; ``spell_by`` puts it in.
    longest
        k.
    canonical
        Whether a k-mer and its reverse complement are one.
    """

    table: Int8[Tensor, "vocabulary longest_token"]
    weight_of: Float[Tensor, "features"]

    def __init__(
        self, shape: tuple[int, int], longest: int, labels: int, *, canonical: bool
    ) -> None:
        super().__init__()
        self.register_buffer("table", torch.full(shape, NONE, dtype=torch.int8))
        self.counts = KmerCounts(longest, canonical=canonical)
        self.register_buffer("weight_of", torch.ones(self.counts.features))
        self.output = LinearFromZero(self.counts.features, labels)

    @classmethod
    def of(cls, config: DnazenConfig) -> Self:
        """The view of a configuration."""
        return cls(
            (config.vocab_size, config.longest_token_bp),
            config.kmers,
            config.num_labels,
            canonical=config.strands == "average",
        )

    def spell_by(self, table: Int8[Tensor, "vocabulary longest_token"]) -> None:
        """Take the bases of each token; the [SEP] within a pair breaks k-mers."""
        self.table.copy_(table)
        self.table[SEP, :1] = UNKNOWN

    def forward(
        self, tokens: Int[Tensor, "rows"], layout: Layout
    ) -> Float[Tensor, "sequences labels"]:
        """What k-mers alone say of each sequence.

        Parameters
        ----------
        layout
            Tells the sequences apart whose tokens these are.
        """
        return self.logits_of_bases(bases_of_tokens(self.table, tokens, layout).codes)

    def logits_of_bases(
        self, codes: Int[Tensor, "sequences bases"]
    ) -> Float[Tensor, "sequences labels"]:
        """The same of sequences as bases."""
        weighted = self.counts(codes) * self.weight_of
        unit = nn.functional.normalize(weighted, dim=1)
        logits: Tensor = self.output(unit.to(self.output.weight.dtype))
        return logits

    def shares(self, codes: Int[Tensor, "1 bases"]) -> Float[Tensor, "bases labels"]:
        """What each base of one sequence adds to the logits: they sum to all but the bias.

        Decided here: each occurrence of a k-mer is shared evenly among its bases.
        """
        norm = (self.counts(codes) * self.weight_of).norm(dim=1).clamp(min=1e-12)
        of_feature: Tensor = self.output.weight.T * self.weight_of[:, None] / norm
        shares = of_feature.new_zeros(codes.shape[1], of_feature.shape[1])
        for length, (feature, present) in enumerate(self.counts.occurrences(codes), 1):
            each = of_feature[feature[0]] * present[0, :, None] / length
            for place in range(length):
                shares[place : place + len(each)] += each
        return shares
