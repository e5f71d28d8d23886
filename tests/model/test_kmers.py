"""The k-mer view against k-mers counted in text, and against scikit-learn's TF-IDF."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from dnazen.model.kmers import KmerView, canonical_kmers

COMPLEMENT = str.maketrans("ACGT", "TGCA")


def reverse_complement(kmer):
    return kmer.translate(COMPLEMENT)[::-1]


def canonical(kmer):
    return min(kmer, reverse_complement(kmer))


def codes_of(texts):
    width = max(1, *map(len, texts))
    return torch.tensor([["ACGT".find(x) for x in text.ljust(width)] for text in texts])


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_a_kmer_and_its_reverse_complement_are_one_feature(k):
    kmers = ["".join(letters) for letters in product("ACGT", repeat=k)]
    features = canonical_kmers(k).tolist()
    order = sorted({canonical(kmer) for kmer in kmers})
    assert features == [order.index(canonical(kmer)) for kmer in kmers]


@settings(deadline=None)
@given(st.lists(st.text("ACGTN", max_size=12), min_size=1, max_size=4), st.integers(1, 4))
def test_counts_are_those_of_the_text(texts, k):
    view = KmerView(k, labels=2)
    vectors = view.vectors(codes_of(texts)).double().numpy()
    names = [
        name
        for length in range(1, k + 1)
        for name in sorted({canonical("".join(x)) for x in product("ACGT", repeat=length)})
    ]
    for row, text in zip(vectors, texts, strict=True):
        words = Counter(
            canonical(text[i : i + length])
            for length in range(1, k + 1)
            for i in range(len(text) - length + 1)
            if "N" not in text[i : i + length]
        )
        counts = np.array([words[name] for name in names], dtype=float)
        expected = counts / np.linalg.norm(counts) if counts.any() else counts
        np.testing.assert_allclose(row, expected, atol=1e-6)


def test_weighted_counts_are_scikit_learns():
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("ACGT"), 40)) for _ in range(20)]
    words = lambda text: [  # noqa: E731
        canonical(text[i : i + n]) for n in (1, 2, 3) for i in range(len(text) - n + 1)
    ]
    tfidf = TfidfVectorizer(analyzer=words, lowercase=False)
    expected = tfidf.fit_transform(texts).toarray()
    view = KmerView(3, labels=2)
    names = [
        name
        for length in (1, 2, 3)
        for name in sorted({canonical("".join(x)) for x in product("ACGT", repeat=length)})
    ]
    columns = [tfidf.vocabulary_[name] for name in names]
    view.weight_of.copy_(torch.from_numpy(tfidf.idf_[columns]))
    np.testing.assert_allclose(view.vectors(codes_of(texts)), expected[:, columns], atol=1e-6)


def test_the_other_strand_has_the_same_vector():
    texts = ["ACGTTGCAAC", "GGATTNACA"]
    turned = [text.translate(str.maketrans("ACGTN", "TGCAN"))[::-1] for text in texts]
    view = KmerView(4, labels=2)
    torch.testing.assert_close(view.vectors(codes_of(texts)), view.vectors(codes_of(turned)))


def test_a_sequence_shorter_than_k_has_what_it_has():
    view = KmerView(6, labels=3)
    assert view.vectors(codes_of(["AC", ""])).norm(dim=1).tolist() == pytest.approx([1.0, 0.0])
    assert view(codes_of(["ACGT"])).shape == (1, 3)
