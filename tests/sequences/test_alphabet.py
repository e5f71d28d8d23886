"""Alphabet, normalisation and windows against definitions written apart from the code."""

from __future__ import annotations

import doctest

from hypothesis import given, settings
from hypothesis import strategies as st

from dnazen.sequences import alphabet as sequence
from dnazen.sequences.alphabet import Counts, normalise, reverse_complement, runs, windows

# IUPAC-IUB 1984: the bases that each code stands for.
MEANING = {
    "A": "A", "C": "C", "G": "G", "T": "T", "U": "T", "R": "AG", "Y": "CT", "S": "CG", "W": "AT",
    "K": "GT", "M": "AC", "B": "CGT", "D": "AGT", "H": "ACT", "V": "ACG", "N": "ACGT",
}  # fmt: skip
PAIR = {"A": "T", "C": "G", "G": "C", "T": "A"}

letters = st.text(alphabet="".join(MEANING) + "".join(MEANING).lower(), max_size=60)
clean = st.text(alphabet="ACGTACGTN", max_size=60)


def test_examples_in_the_docstrings():
    assert doctest.testmod(sequence).failed == 0


@settings(deadline=None)
@given(letters)
def test_normalise_agrees_with_the_letter_by_letter_definition(text):
    expected = "".join(MEANING[c] if len(MEANING[c]) == 1 else "N" for c in text.upper())
    counts = Counts(
        bases=len(text),
        lower_case=sum(c.islower() for c in text),
        uracil=text.upper().count("U"),
        ambiguous=expected.count("N"),
    )
    assert normalise(text.encode()) == (expected.encode(), counts)


@settings(deadline=None)
@given(letters)
def test_normalising_twice_changes_nothing_more(text):
    once, _ = normalise(text.encode())
    twice, counts = normalise(once)
    assert twice == once
    assert counts.lower_case == counts.uracil == 0


@settings(deadline=None)
@given(letters, letters)
def test_counts_of_parts_add_up(left, right):
    parts = normalise(left.encode())[1].plus(normalise(right.encode())[1])
    assert parts == normalise((left + right).encode())[1]


def test_complement_of_every_code_means_the_paired_bases():
    for code, bases in MEANING.items():
        other = reverse_complement(code.encode()).decode()
        assert set(MEANING[other]) == {PAIR[base] for base in bases}
        assert reverse_complement(code.lower().encode()).decode() == other.lower()


@settings(deadline=None)
@given(clean)
def test_reverse_complement_is_its_own_inverse_and_reads_backwards(text):
    back = reverse_complement(text.encode())
    assert reverse_complement(back) == text.encode()
    assert back.decode() == "".join({**PAIR, "N": "N"}[c] for c in reversed(text))


@settings(deadline=None)
@given(clean)
def test_runs_are_the_pieces_between_n(text):
    pieces = [text[start:end] for start, end in runs(text.encode())]
    assert pieces == [piece for piece in text.split("N") if piece]
    assert all((s == 0 or text[s - 1] == "N") for s, _ in runs(text.encode()))


@settings(deadline=None)
@given(clean, st.integers(1, 70))
def test_windows_tile_each_run_and_nothing_else(text, window_bp):
    found = list(windows(text.encode(), window_bp))
    covered = [start + i for start, bases in found for i in range(len(bases))]
    assert covered == [i for i, c in enumerate(text) if c != "N"]
    assert all(text[s : s + len(b)] == b.decode() for s, b in found)
    for start, bases in found:
        end = start + len(bases)
        assert len(bases) == window_bp or end == len(text) or text[end] == "N"


def test_the_summary_names_every_count():
    said = Counts(bases=2000, lower_case=1234, uracil=5, ambiguous=6).summary()
    assert said == "1,234 lower-cased, 5 U, 6 N or ambiguous dropped"
