"""Likeness and hits, beside laws and brute force."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure

from dnazen.errors import DnazenError
from dnazen.ggrams.motifs import similarity as module
from dnazen.ggrams.motifs.meme import Motif
from dnazen.ggrams.motifs.page import draw_logo
from dnazen.ggrams.motifs.similarity import scan, similar_motifs
from ggrams.motifs.test_meme import random_motifs, sharp, turned


def test_a_consensus_is_likest_to_its_own_motif():
    rng = np.random.default_rng(0)
    some = random_motifs(rng, 60)
    widest = [m for m in some if len(m.matrix) >= 9 and m.bits.sum(axis=1).mean() > 1]
    found = similar_motifs([m.consensus for m in widest], some, 1.0)
    for number, motif in enumerate(widest):
        mine = np.flatnonzero(found.sequence == number)
        best = mine[found.p_value[mine].argmin()]
        assert some[found.motif[best]] is motif
        assert found.p_value[best] < 1e-3
        assert (found.forward[best], found.offset[best]) == (True, 0)
        assert found.overlap[best] == len(motif.matrix)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("left", "right"), [("", ""), ("GC", ""), ("", "TAC"), ("GCA", "T")])
def test_where_a_sequence_lies_on_a_motif(left, right, reverse):
    motif = sharp("TTGACGTCAGG")
    some = [*random_motifs(np.random.default_rng(1), 50), motif]
    for inner, shift in ((motif.consensus, 0), (motif.consensus[2:-1], 2)):
        bases = left + inner + right
        found = similar_motifs([turned(bases) if reverse else bases], some, 1e-3)
        (place,) = np.flatnonzero(found.motif == len(some) - 1)
        assert found.forward[place] != reverse
        assert found.offset[place] == shift - len(left)


def test_random_sequences_are_seldom_like_a_motif():
    rng = np.random.default_rng(2)
    some = random_motifs(rng, 60)
    bases = ["".join(rng.choice(list("ACGT"), 12)) for _ in range(300)]
    p_values = similar_motifs(bases, some, 1.0).p_value
    assert len(p_values) == 300 * 60
    assert np.mean(p_values < 0.01) < 0.03
    assert 0.4 < np.median(p_values) < 0.7


def test_likeness_does_not_depend_on_the_other_sequences(monkeypatch):
    rng = np.random.default_rng(3)
    some = random_motifs(rng, 60)
    bases = ["".join(rng.choice(list("ACGT"), rng.integers(4, 30))) for _ in range(40)]
    whole = similar_motifs(bases, some, 0.05)
    monkeypatch.setattr(module, "_AT_ONCE", 7)
    for one, other in zip(whole, similar_motifs(bases, some, 0.05), strict=True):
        np.testing.assert_array_equal(one, other)
    order = np.lexsort((whole.motif, whole.sequence))
    np.testing.assert_array_equal(order, np.arange(len(order)))


def test_no_sequence_and_sequences_of_the_wrong_length():
    some = random_motifs(np.random.default_rng(4), 3)
    assert len(similar_motifs([], some, 0.1).p_value) == 0
    for wrong in ("", "A" * (module.LONGEST_BP + 1)):
        with pytest.raises(ValueError, match="1 to 60 bases"):
            similar_motifs(["ACGT", wrong], some, 0.1)


def test_hits_of_sharp_motifs_are_the_occurrences_of_their_consensus():
    """Only the consensus itself, one of 4^7 sequences, has a p-value below 1e-4."""
    rng = np.random.default_rng(5)
    some = [sharp("ACGTTGA"), sharp("GGATACC")]
    sequences = ["".join(rng.choice(list("ACGTN"), 400, p=[0.24] * 4 + [0.04])) for _ in range(5)]
    sequences[1] = "ACGTTG" + "NACGTTGANTCAACGT" + sequences[1] + "GGATACC"
    sequences[2:2] = ["", "ACG", "ACGTTGAGGTATCC"]
    expected = {
        (number, match.start(), match.start() + 7, m, strand)
        for number, sequence in enumerate(sequences)
        for m, motif in enumerate(some)
        for strand, bases in (("+", motif.consensus), ("-", turned(motif.consensus)))
        for match in re.finditer(f"(?={bases})", sequence)
    }
    found = scan(sequences, some)
    assert {hit[:5] for hit in found} == expected
    assert len(expected) >= 5
    assert found == sorted(found)
    assert all(hit.p_value == pytest.approx(4**-7, rel=0.01) for hit in found)
    assert scan([], some) == scan([""], some) == scan(["GATTACA" * 3], some) == []


def test_p_values_of_hits_by_brute_force():
    matrix = np.random.default_rng(6).dirichlet([0.5] * 4, size=5)
    codes = np.indices((4,) * 5).reshape(5, -1).T
    scores = np.log2(matrix + 1e-4)[np.arange(5), codes].sum(axis=1)
    best = "".join("ACGT"[c] for c in codes[np.argsort(-scores)[3]])
    (hit,) = [h for h in scan([best], [Motif("d", "n", "", matrix)], 0.02) if h.strand == "+"]
    assert hit.p_value == pytest.approx(4 / 4**5, rel=0.3)  # FIMO's scores are binned


def test_the_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "memelite", None)
    with pytest.raises(DnazenError, match=r"pip install 'dnazen\[motifs\]'"):
        similar_motifs(["ACGT"], [sharp("ACGT")], 0.1)
    monkeypatch.setitem(sys.modules, "logomaker", None)
    with pytest.raises(DnazenError, match=r"pip install 'dnazen\[motifs\]'"):
        draw_logo(Figure().subplots(), sharp("ACGT"))
