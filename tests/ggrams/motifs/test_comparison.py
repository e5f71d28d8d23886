"""Enrichment of motifs among G-grams: the test by enumeration, laws, planted and null cases."""

from __future__ import annotations

import csv
import json
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memelite.io import write_meme
from scipy.stats import binomtest

from conftest import vocabulary_of
from dnazen import cli
from dnazen.errors import ConfigError, InputError
from dnazen.ggrams.motifs.comparison import ranked
from dnazen.ggrams.motifs.enrichment import compare_with_motifs, distinct, enrichment, partners
from dnazen.ggrams.settings import EnrichmentConfig
from dnazen.ggrams.vocabulary import GGramVocabulary, spell
from dnazen.tokens.tokenizer import token_strings, train
from ggrams.motifs.test_meme import random_motifs, sharp, turned
from report.test_document import read

PLANTED = [left + "TTGACGTCAG" + right for left in "ACG" for right in "ACG"]
"""So many that they would all match alone, their four controls not, once in 5^9 cases."""


def of_bases(sequences, tokenizer):
    """A vocabulary of G-grams that are spelt like these, base by base."""
    ids = tokenizer.get_vocab()
    plain = vocabulary_of([tuple(ids[base] for base in s) for s in sequences], tokenizer)
    bases = spell(plain.tokens, plain.offsets, token_strings(tokenizer))
    return GGramVocabulary(**{**vars(plain), "bases": bases})


def table(path):
    return list(csv.DictReader(path.read_text().splitlines(), delimiter="\t"))


@pytest.fixture(scope="module")
def tokenizer():
    return train(["ACGT"], vocab_size=9)


@given(
    st.integers(1, 3), st.lists(st.tuples(st.booleans(), st.integers(0, 3)), min_size=1, max_size=7)
)
def test_tails_by_enumeration(size, sets):
    """Every way to choose which member of each set is the G-gram, all of them as likely."""
    ggrams = np.array([own for own, _ in sets])
    controls = np.array([min(other, size) for _, other in sets])
    members = [
        [1] * (own + other) + [0] * (size + 1 - own - other)
        for own, other in zip(ggrams.tolist(), controls.tolist(), strict=True)
    ]
    sums = np.array([sum(choice) for choice in product(*members)])
    found = enrichment(ggrams, controls, size)
    assert found.p_value == pytest.approx(np.mean(sums >= ggrams.sum()))
    assert found.p_depleted == pytest.approx(np.mean(sums <= ggrams.sum()))
    assert found.expected == pytest.approx(controls.sum() / size)
    assert (found.sets, found.matching) == (len(sets), ggrams.sum())


def test_one_control_each_is_the_exact_test_of_mcnemar():
    rng = np.random.default_rng(0)
    ggrams, controls = rng.random(5000) < 0.3, (rng.random(5000) < 0.27).astype(int)
    only, other = int((ggrams & (controls == 0)).sum()), int((~ggrams & (controls == 1)).sum())
    expected = binomtest(only, only + other, 0.5, alternative="greater").pvalue
    assert enrichment(ggrams, controls, 1).p_value == pytest.approx(expected, rel=1e-9)


def test_without_a_match_nothing_is_said():
    found = enrichment(np.zeros(3, bool), np.zeros(3, int), 2)
    assert found[:5] == (3, 0, 0.0, 1.0, 1.0)
    assert np.isnan(found.fold)
    assert enrichment(np.zeros(0, bool), np.zeros(0, int), 2).p_value == 1


def test_p_values_are_fair_when_nothing_sets_ggrams_apart():
    rng = np.random.default_rng(1)
    p_values = []
    for _ in range(400):
        rates = rng.beta(0.5, 1.5, size=60)[:, None]  # some sets match more than others
        matching = rng.random((60, 5)) < rates
        p_values.append(enrichment(matching[:, 0], matching[:, 1:].sum(axis=1), 4).p_value)
    for level in (0.01, 0.05, 0.1, 0.5):
        assert np.mean(np.array(p_values) <= level) <= level + 3 * np.sqrt(level / 400)


def test_distinct_joins_strands_and_spellings(tokenizer):
    vocabulary = of_bases(["AAACC", "GGTTT", "AC", "AAACCA", "TGGTTT"], tokenizer)
    found = distinct(vocabulary, 3, 6)
    assert found.sequences == ["AAACC", "AAACCA"]
    assert found.ids.tolist() == [1, 4]


def test_a_vocabulary_without_bases_is_refused(tokenizer):
    vocabulary = vocabulary_of([(5, 6)], tokenizer)
    with pytest.raises(InputError, match="does not know its bases"):
        distinct(vocabulary, 1, 9)
    with pytest.raises(InputError, match="no G-gram of 6 to 40 bases"):
        compare_with_motifs(of_bases(["ACGT"], tokenizer), [sharp("ACGT")], EnrichmentConfig())


@given(
    st.lists(st.text("AG", min_size=1, max_size=3)), st.sets(st.text("ACG", min_size=1, max_size=3))
)
@settings(deadline=None)
def test_partners_are_alike_strange_and_different(sequences, others):
    rng = np.random.default_rng(0)
    composition = lambda s: (len(s), sum(base in "GC" for base in s))  # noqa: E731
    found = partners(sequences, sorted(others), 2, rng)
    assert len(found) == len(sequences)
    flat = [other for some in found for other in some]
    assert len(set(flat)) == len(flat)
    assert set(flat) <= others - set(sequences)
    for sequence, some in zip(sequences, found, strict=True):
        assert len(some) in (0, 2)
        assert {composition(other) for other in some} <= {composition(sequence)}
    for kind in map(composition, sequences):
        alike = sum(composition(o) == kind for o in others - set(sequences))
        wanted = sum(composition(s) == kind for s in sequences)
        served = sum(
            composition(s) == kind and bool(some) for s, some in zip(sequences, found, strict=True)
        )
        assert served == min(wanted, alike // 2)


@pytest.fixture(scope="module")
def some_motifs():
    return [*random_motifs(np.random.default_rng(7), 60), sharp("TTGACGTCAG", "planted")]


def drawn(rng, count):
    return ["".join(rng.choice(list("ACGT"), 12)) for _ in range(count)]


def test_planted_motifs_are_found_and_only_they(tokenizer, some_motifs):
    rng = np.random.default_rng(8)
    vocabulary = of_bases(dict.fromkeys([*map(turned, PLANTED), *drawn(rng, 80)]), tokenizer)
    random = of_bases(dict.fromkeys(drawn(rng, 2000)), tokenizer)
    config = EnrichmentConfig(controls=4, max_e_value=0.005)  # random bases seldom pass
    found = compare_with_motifs(vocabulary, some_motifs, config, random=random)
    number = len(some_motifs) - 1
    mine = found.matches.sequence[found.matches.motif == number]
    assert {found.compared.sequences[i] for i in mine} >= {min(p, turned(p)) for p in PLANTED}
    for control in found.controls.values():
        assert control.q_values[number] < 0.01
        assert sum(q < 0.01 for q in control.q_values.values()) == 1
        assert control.matching.shape == (len(control.ggrams), 4)
    assert ranked(found)[0] == number


def test_random_ggrams_are_like_their_controls(tokenizer, some_motifs):
    rng = np.random.default_rng(9)
    vocabulary = of_bases(dict.fromkeys(drawn(rng, 200)), tokenizer)
    random = of_bases(dict.fromkeys(drawn(rng, 1000)), tokenizer)
    config = EnrichmentConfig(max_e_value=5.0)  # enough matches to tell
    found = compare_with_motifs(vocabulary, some_motifs, config, random=random)
    for control in found.controls.values():
        assert control.overall.matching > 30
        assert 0.01 < control.overall.p_value < 0.99
        assert min(control.q_values.values()) > 0.01


def test_the_seed_decides(tokenizer, some_motifs):
    vocabulary = of_bases(dict.fromkeys(drawn(np.random.default_rng(10), 60)), tokenizer)
    one, same, other = (
        compare_with_motifs(vocabulary, some_motifs, EnrichmentConfig(sample=20, seed=seed))
        for seed in (1, 1, 2)
    )
    assert len(one.compared.sequences) == 20
    assert one.compared.sequences == same.compared.sequences != other.compared.sequences
    assert one.controls["bases"].overall == same.controls["bases"].overall


def test_command(tmp_path, tokenizer, some_motifs, capsys):
    rng = np.random.default_rng(11)
    sequences = dict.fromkeys([*PLANTED, *drawn(rng, 43)])
    of_bases(sequences, tokenizer).save(tmp_path / "v.tsv")
    of_bases(dict.fromkeys(drawn(rng, 300)), tokenizer).save(tmp_path / "r.tsv")
    write_meme(str(tmp_path / "a.meme"), {m.name: m.matrix.T for m in some_motifs[:30]})
    write_meme(str(tmp_path / "b.meme"), {m.name: m.matrix.T for m in some_motifs[30:]})
    words = ["ggrams", "motifs", str(tmp_path / "v.tsv"), "--database"]
    words += [
        str(tmp_path / "a.meme"),
        str(tmp_path / "b.meme"),
        "--random",
        str(tmp_path / "r.tsv"),
    ]
    assert cli.main([*words, "-o", str(tmp_path / "out")]) == 0
    told = capsys.readouterr()
    assert told.out == ""
    assert "of 52 G-grams match" in told.err
    out = tmp_path / "out"
    rows = table(out / "matches.tsv")
    best = [row for row in rows if row["motif"] == "planted"]
    assert {row["database"] for row in best} == {"b"}
    assert {(r["strand"], r["offset"]) for r in best if "TTGACGTCAG" in r["bases"]} == {("+", "-1")}
    assert all(float(row["e_value"]) <= 0.1 for row in rows)
    first = table(out / "motifs.tsv")[0]
    assert first["motif"] == "planted"
    assert float(first["q_dinucleotides"]) < 0.05
    numbers = json.loads((out / "summary.json").read_text())
    assert len(numbers["inputs"]) == 4
    assert set(numbers["controls"]) == {"bases", "dinucleotides", "random"}
    assert (out / "logos" / "planted.png").stat().st_size > 1000
    page = read((out / "index.html").read_text())
    assert page.fetched == []
    assert any("planted of b" in cell for cell in page.cells)

    assert cli.main([*words, "-o", str(tmp_path / "out")]) == 2
    assert "is not empty" in capsys.readouterr().err


def test_command_when_nothing_matches(tmp_path, tokenizer, capsys):
    of_bases(["ACACACACAC"], tokenizer).save(tmp_path / "v.tsv")
    write_meme(str(tmp_path / "a.meme"), {"m": sharp("GGGGGGGG").matrix.T})
    words = ["ggrams", "motifs", str(tmp_path / "v.tsv"), "--database", str(tmp_path / "a.meme")]
    assert cli.main([*words, "--max-e-value", "1e-9", "-o", str(tmp_path / "out")]) == 0
    assert "0 of 1 G-grams match 0 of 1 motifs" in capsys.readouterr().err
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["ggrams_matching"] == 0
    assert len((tmp_path / "out" / "motifs.tsv").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_e_value": 0},
        {"controls": 0},
        {"sample": 0},
        {"min_bp": 9, "max_bp": 8},
        {"max_bp": 99},
    ],
)
def test_settings_out_of_range(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        EnrichmentConfig(**wrong)
