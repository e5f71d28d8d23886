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

from dnazen.model.bases import token_base_table
from dnazen.model.configuration import DnazenConfig
from dnazen.model.kmers import KmerCounts, KmerView, canonical_kmers
from dnazen.model.layout import layout_of_mask
from dnazen.tokens.special import CLS, MASK, PAD, SEP, UNK

STRINGS = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]", "A", "C", "G", "T", "ACG", "TT", "GATTACA"]
TABLE = token_base_table(STRINGS)
COMPLEMENT = str.maketrans("ACGTN", "TGCAN")

both_kinds = pytest.mark.parametrize("canonical", [True, False])
dna = st.text("ACGTN", max_size=12)


def reverse_complement(text):
    return text.translate(COMPLEMENT)[::-1]


def word_of(kmer, canonical):
    return min(kmer, reverse_complement(kmer)) if canonical else kmer


def words_of(text, k, canonical):
    """The 1- to k-mers of a text, as (word, first base, bases); N breaks it."""
    return [
        (word_of(text[i : i + n], canonical), i, n)
        for n in range(1, k + 1)
        for i in range(len(text) - n + 1)
        if "N" not in text[i : i + n]
    ]


def names_of(k, canonical):
    """All words in the order of the features."""
    return [
        word
        for n in range(1, k + 1)
        for word in sorted({word_of("".join(x), canonical) for x in product("ACGT", repeat=n)})
    ]


def codes_of(texts):
    width = max(1, *map(len, texts))
    return torch.tensor([["ACGT".find(x) for x in text.ljust(width)] for text in texts])


def view_of(k, labels=2, *, canonical=True):
    """A view with weights of its own."""
    view = KmerView(tuple(TABLE.shape), k, labels, canonical=canonical)
    view.spell_by(TABLE)
    torch.manual_seed(0)
    with torch.no_grad():
        view.weight_of.uniform_(0.5, 2)
        view.output.weight.normal_()
        view.output.bias.normal_()
    return view.double()


def by_hand(view, text, canonical):
    """What each base of a text adds to the logits: the sum over the occurrences that hold it."""
    k = view.counts.longest
    words, names = words_of(text, k, canonical), names_of(k, canonical)
    weight, of_label = view.weight_of.numpy(), view.output.weight.detach().numpy()
    counts = Counter(names.index(word) for word, _, _ in words)
    norm = np.sqrt(sum((n * weight[f]) ** 2 for f, n in counts.items()))
    shares = np.zeros((len(text), len(of_label)))
    for word, start, size in words:
        f = names.index(word)
        shares[start : start + size] += of_label[:, f] * weight[f] / norm / size
    return shares


def by_tokens(view, *sequences):
    """The logits of sequences of token ids, padded into one batch."""
    width = max(map(len, sequences))
    ids = torch.tensor([[*tokens, *[PAD] * (width - len(tokens))] for tokens in sequences])
    layout = layout_of_mask((ids != PAD).long())
    with torch.no_grad():
        return view(layout.flat(ids), layout)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_a_kmer_and_its_reverse_complement_are_one_feature(k):
    kmers = ["".join(letters) for letters in product("ACGT", repeat=k)]
    order = sorted({word_of(kmer, canonical=True) for kmer in kmers})
    expected = [order.index(word_of(kmer, canonical=True)) for kmer in kmers]
    assert canonical_kmers(k).tolist() == expected


@both_kinds
@settings(deadline=None)
@given(st.lists(dna, min_size=1, max_size=4), st.integers(1, 4))
def test_counts_are_those_of_the_text(canonical, texts, k):
    counts = KmerCounts(k, canonical=canonical)
    names = names_of(k, canonical)
    assert counts.features == len(names)
    for row, text in zip(counts(codes_of(texts)).tolist(), texts, strict=True):
        expected = Counter(word for word, _, _ in words_of(text, k, canonical))
        assert row == [expected[name] for name in names]


@both_kinds
def test_weighted_counts_are_scikit_learns(canonical):
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("ACGT"), 40)) for _ in range(20)]
    tfidf = TfidfVectorizer(
        analyzer=lambda text: [word for word, _, _ in words_of(text, 3, canonical)],
        lowercase=False,
    )
    expected = tfidf.fit_transform(texts).toarray()
    columns = [tfidf.vocabulary_[name] for name in names_of(3, canonical)]
    view = view_of(3, labels=len(columns), canonical=canonical)
    with torch.no_grad():
        view.output.weight.copy_(torch.eye(len(columns)))
        view.output.bias.zero_()
        view.weight_of.copy_(torch.from_numpy(tfidf.idf_[columns]))
        found = view.logits_of_bases(codes_of(texts))
    np.testing.assert_allclose(found, expected[:, columns], atol=1e-6)


def test_only_a_view_of_both_strands_says_the_same_of_the_other():
    texts = ["ACGTTGCAAC", "GGATTNACA"]
    turned = list(map(reverse_complement, texts))
    for canonical in (True, False):
        view = view_of(4, canonical=canonical)
        one, other = (view.logits_of_bases(codes_of(some)) for some in (texts, turned))
        assert torch.allclose(one, other) == canonical


def test_a_sequence_shorter_than_k_has_what_it_has():
    view = view_of(6)
    logits = view.logits_of_bases(codes_of(["AC", "", "NNN"])).detach()
    expected = by_hand(view, "AC", canonical=True).sum(0) + view.output.bias.detach().numpy()
    np.testing.assert_allclose(logits[0], expected, atol=1e-6)
    torch.testing.assert_close(logits[1:], view.output.bias.detach().expand(2, -1))
    assert not view.shares(codes_of(["NNN"])).any()


@both_kinds
@settings(deadline=None)
@given(dna.filter(lambda text: text.strip("N")))
def test_shares_are_those_of_the_occurrences_and_sum_to_the_logits(canonical, text):
    view = view_of(3, labels=3, canonical=canonical)
    codes = codes_of([text])
    with torch.no_grad():
        shares = view.shares(codes)
        said = view.logits_of_bases(codes)[0] - view.output.bias
    np.testing.assert_allclose(shares, by_hand(view, text, canonical), atol=1e-5)
    torch.testing.assert_close(shares.sum(0), said, atol=1e-5, rtol=1e-5)


@both_kinds
def test_tokens_say_what_their_letters_say_whatever_is_beside_them(canonical):
    view = view_of(4, canonical=canonical)
    tokens = [[9, 11, 5], [10], [8, 7, 6, 9, 10, 11]]
    texts = ["".join(STRINGS[token] for token in some) for some in tokens]
    found = by_tokens(view, *([CLS, *some, SEP] for some in tokens))
    for row, text in zip(found, texts, strict=True):
        torch.testing.assert_close(row, view.logits_of_bases(codes_of([text]))[0])


@pytest.mark.parametrize("between", [SEP, UNK, MASK])
def test_what_stands_between_tokens_breaks_kmers(between):
    view = view_of(3)
    (found,) = by_tokens(view, [CLS, 9, between, 10, SEP])
    torch.testing.assert_close(found, view.logits_of_bases(codes_of(["ACGNTT"]))[0])
    assert not torch.allclose(found, view.logits_of_bases(codes_of(["ACGTT"]))[0])


@pytest.mark.parametrize("strands", ["average", "forward"])
def test_a_view_is_made_as_the_configuration_says(strands):
    config = DnazenConfig(
        vocab_size=len(STRINGS), longest_token_bp=7, kmers=2, num_labels=3, strands=strands
    )
    view = KmerView.of(config)
    assert view.table.shape == TABLE.shape
    assert view.counts.features == len(names_of(2, canonical=strands == "average"))
    assert view.output.out_features == 3
    view.spell_by(TABLE)
    assert not by_tokens(view, [CLS, 9, 10, SEP]).any()  # it says nothing yet
