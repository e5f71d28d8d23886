"""Where the tokens of two alleles differ, against the obvious search."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dnazen.tokens.tokenizer import load_tokenizer
from dnazen.variation.alignment import AllelePair, differing_tokens, tokenise, untouched_ends
from plain_scorer import PlainScorer, other_strand, untouched

edits = st.tuples(
    st.text("AC", min_size=1, max_size=12),
    st.integers(0, 12),
    st.integers(0, 5),
    st.text("AC", max_size=5),
)


@given(edits)
@settings(max_examples=300, deadline=None)
def test_the_bases_that_a_change_leaves_alone(edit):
    window, place, lost, put = edit
    alt = window[:place] + put + window[place + lost :]
    if window == alt or not alt:
        return
    pair = AllelePair(window.encode(), alt.encode())
    assert untouched_ends(pair) == untouched(window, alt)
    mirrored = AllelePair(*(other_strand(allele).encode() for allele in (window, alt)))
    assert untouched_ends(mirrored) == untouched_ends(pair)[::-1]


def test_the_tokens_compared_are_those_of_the_plain_scorer(directory, allele_pairs):
    plain, tokenizer = PlainScorer(directory), load_tokenizer(directory)
    for ref, alt in allele_pairs:
        pair = AllelePair(ref.encode(), alt.encode())
        sequences = tokenise(tokenizer, pair)
        spans = differing_tokens(pair, *(sequences[allele] for allele in pair))
        assert tuple(map(list, spans)) == plain.compared(ref, alt)
        for letters, sequence in sequences.items():
            tokens = plain.tokens(letters.decode())
            assert sequence.tokens.tolist() == [token for token, _, _ in tokens]
            assert sequence.starts.tolist() == [start for _, start, _ in tokens]
            assert sequence.ends.tolist() == [end for _, _, end in tokens]
