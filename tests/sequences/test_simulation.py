"""The simulation against its stated model, by reading its files with nothing but the standard
library, and by classifiers that know the truth or a part of it."""

from __future__ import annotations

import csv
import doctest
import itertools
import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnazen import cli
from dnazen.commands.simulate import SimulateCommand
from dnazen.commands.simulate import run as simulate_command
from dnazen.errors import ConfigError
from dnazen.ggrams.motifs.meme import read_motifs
from dnazen.sequences import simulation
from dnazen.sequences.settings import SimulateConfig
from dnazen.sequences.simulation import ceiling_mcc, draw_background, place, substitute
from settings_of import settings_of

PAIR = str.maketrans("ACGT", "TGCA")
SIZES = {"train": 3000, "dev": 100, "test": 101}
CONFIG = {"genome_bp": 60_001, "chromosomes": 3, **SIZES}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    directory = tmp_path_factory.mktemp("simulated") / "a"
    simulate_command(settings_of(SimulateCommand, output=directory, **CONFIG))
    return directory


def fasta(directory: Path) -> dict[str, str]:
    records = (directory / "genome.fa").read_text().split(">")[1:]
    return {r.split("\n", 1)[0]: r.split("\n", 1)[1].replace("\n", "") for r in records}


def labelled(directory: Path, split: str) -> list[tuple[str, int]]:
    with open(directory / f"{split}.csv", newline="") as table:
        return [(row["sequence"], int(row["label"])) for row in csv.DictReader(table)]


def bed(path: Path) -> list[tuple[str, int, int, str, int, str]]:
    rows = [line.split("\t") for line in path.read_text().splitlines()]
    return [(c, int(s), int(e), name, int(score), strand) for c, s, e, name, score, strand in rows]


def motifs(directory: Path) -> dict[str, str]:
    rows = [line.split("\t") for line in (directory / "motifs.tsv").read_text().splitlines()]
    assert rows[0] == ["motif", "consensus", "conservation"]
    return {name: consensus for name, consensus, _ in rows[1:]}


def matthews(labels: list[int], calls: list[bool]) -> float:
    n = Counter(zip(labels, map(int, calls), strict=True))
    tp, tn, fp, fn = n[1, 1], n[0, 0], n[0, 1], n[1, 0]
    return (tp * tn - fp * fn) / math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))


def test_examples_in_the_docstrings():
    assert doctest.testmod(simulation).failed == 0


def test_sizes_are_as_asked(made):
    assert {name: len(text) for name, text in fasta(made).items()} == {
        "chr1": 20_000,
        "chr2": 20_000,
        "chr3": 20_001,
    }
    for split, rows in SIZES.items():
        data = labelled(made, split)
        assert len(data) == rows
        assert {len(sequence) for sequence, _ in data} == {100}
        assert sum(label for _, label in data) == rows // 2
        assert all(set(sequence) <= set("ACGT") for sequence, _ in data)


def test_the_same_seed_is_the_same_bytes_and_another_is_not(made, tmp_path):
    for seed in (0, 1):
        simulate_command(
            settings_of(SimulateCommand, output=tmp_path / str(seed), seed=seed, **CONFIG)
        )
    for file in made.iterdir():
        if file.name != "dnazen.json":  # names its own directory
            assert (tmp_path / "0" / file.name).read_bytes() == file.read_bytes()
            assert (tmp_path / "1" / file.name).read_bytes() != file.read_bytes()


def test_another_size_of_one_part_leaves_the_others(made, tmp_path):
    sizes = {**CONFIG, "train": 10, "genome_bp": 20_000}
    simulate_command(settings_of(SimulateCommand, output=tmp_path / "b", **sizes))
    for name in ("dev.csv", "test.csv", "motifs.tsv"):
        assert (tmp_path / "b" / name).read_bytes() == (made / name).read_bytes()


def test_the_motifs_as_probabilities(made):
    conservation = SimulateConfig().conservation
    for motif, (name, consensus) in zip(
        read_motifs(made / "motifs.meme"), motifs(made).items(), strict=True
    ):
        assert (motif.name, motif.consensus) == (name, consensus)
        assert motif.matrix.max(axis=1) == pytest.approx(conservation, abs=1e-5)
        assert motif.matrix.min(axis=1) == pytest.approx((1 - conservation) / 3, abs=1e-5)


def test_every_planted_motif_stands_where_the_beds_say(made):
    consensus = motifs(made)
    texts = fasta(made)
    for split in SIZES:
        texts |= {f"{split}/{row}": s for row, (s, _) in enumerate(labelled(made, split), 1)}
    seen = 0
    for chrom, start, end, name, score, strand in bed(made / "genome.bed") + bed(made / "task.bed"):
        if name.startswith("repeat"):
            continue
        site = texts[chrom][start:end]
        site = site if strand == "+" else site.translate(PAIR)[::-1]
        same = sum(a == b for a, b in zip(site, consensus[name], strict=True))
        assert score == round(1000 * same / len(site))
        seen += 1
    assert seen > 2 * 60 + 2000


def test_repeat_copies_resemble_each_other(made):
    texts = fasta(made)
    families: dict[str, list[str]] = {}
    for chrom, start, end, name, score, strand in bed(made / "genome.bed"):
        if name.startswith("repeat"):
            site = texts[chrom][start:end]
            families.setdefault(name, []).append(
                site if strand == "+" else site.translate(PAIR)[::-1]
            )
            assert 800 < score < 1000
    assert sum(map(len, families.values())) == 3 * round(0.1 * 20_000 / 300)
    for copies in families.values():
        for one, other in itertools.combinations(copies, 2):
            # both diverged by 0.1: 0.9 x 0.9 + 0.1 x 0.1 / 3 of the bases agree
            agreeing = sum(a == b for a, b in zip(one, other, strict=True)) / len(one)
            assert agreeing == pytest.approx(0.81, abs=0.1)


def test_genome_features_do_not_overlap_and_keep_the_arrangement(made):
    features = bed(made / "genome.bed")
    assert {strand for *_, strand in features} == {"+", "-"}
    arrangements = 0
    for left, right in itertools.pairwise(features):
        if left[0] != right[0]:
            continue
        assert left[2] <= right[1]
        if (left[3], right[3], left[5] + right[5]) in (("M1", "M2", "++"), ("M2", "M1", "--")):
            arrangements += 1
            assert 4 <= right[1] - left[2] <= 6
    assert arrangements == 60


def test_sites_of_the_task_follow_the_model(made):
    sites: dict[str, list[tuple[int, int, str]]] = {}
    for name, start, end, motif, _, strand in bed(made / "task.bed"):
        assert strand == "+"
        sites.setdefault(name, []).append((start, end, motif))
    kinds = Counter()
    for row, (_, label) in enumerate(labelled(made, "train"), 1):
        (_, end, first), (start, _, second) = sorted(sites[f"train/{row}"])
        order, near = (first, second) == ("M1", "M2"), 4 <= start - end <= 6
        assert near or start - end >= 30
        kinds[label, order, near] += 1
    assert {kind for kind in kinds if kind[0] == 0} == {(0, False, True), (0, True, False)}
    # 1,500 of each label: standard deviations 8.4 and 19
    assert kinds[1, True, True] == pytest.approx(0.95 * 1500, abs=40)
    assert kinds[0, False, True] == pytest.approx(0.5 * 1500, abs=90)


def test_base_composition_tells_nothing(made):
    data = labelled(made, "train")
    for base in "ACGT":
        means = [
            np.mean([sequence.count(base) for sequence, label in data if label == wanted])
            for wanted in (0, 1)
        ]
        # a count has a standard deviation of about 7, a mean of 1,500 one of 0.18
        assert abs(means[0] - means[1]) < 4 * 0.18 * math.sqrt(2)


def test_who_knows_the_motifs_comes_near_the_ceiling_and_not_above(made):
    consensus = motifs(made)

    def alike(text: str, pattern: str) -> int:
        return sum(a == b for a, b in zip(text, pattern, strict=True))

    def best(sequence: str) -> int:
        size = len(consensus["M1"])
        scores = {
            name: [alike(sequence[i : i + size], c) for i in range(len(sequence) - size + 1)]
            for name, c in consensus.items()
        }
        return max(
            min(scores["M1"][i], scores["M2"][i + size + gap])
            for gap in range(4, 7)
            for i in range(len(sequence) - 2 * size - gap + 1)
        )

    data = labelled(made, "train")[:1000]
    mcc = matthews([label for _, label in data], [best(sequence) >= 9 for sequence, _ in data])
    assert mcc == pytest.approx(ceiling_mcc(0.95), abs=0.03)


@settings(deadline=None)
@given(st.floats(0.01, 1), st.integers(1000, 5000))
def test_the_ceiling_is_the_mcc_of_the_true_table(strength, each):
    hits = strength * each
    tp, fn, fp, tn = hits, each - hits, 0, each
    product = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    assert ceiling_mcc(strength) == pytest.approx((tp * tn - fp * fn) / math.sqrt(product))


@settings(deadline=None)
@given(st.lists(st.integers(1, 20), max_size=10), st.integers(0, 30), st.integers(0, 2**32))
def test_placed_stretches_keep_order_and_never_overlap(lengths, spare, seed):
    space = sum(lengths) + spare
    starts = place(np.random.default_rng(seed), np.array(lengths, dtype=np.int64), space)
    free_from = 0
    for start, length in zip(starts.tolist(), lengths, strict=True):
        assert free_from <= start
        free_from = start + length
    assert free_from <= space


def test_background_follows_its_transitions():
    rng = np.random.default_rng(5)
    transitions = rng.dirichlet([3, 2, 2, 3], size=16)
    codes = draw_background(rng, transitions, 500, 400).astype(int)
    context = codes[:, :-2] * 4 + codes[:, 1:-1]
    counts = np.zeros((16, 4))
    np.add.at(counts, (context, codes[:, 2:]), 1)
    assert np.abs(counts / counts.sum(axis=1, keepdims=True) - transitions).max() < 0.03


def test_substitutions_are_as_many_as_asked_and_fall_on_all_other_bases():
    codes = np.zeros((100, 1000), dtype=np.uint8)
    changed = substitute(np.random.default_rng(0), codes, 0.3)
    shares = np.bincount(changed.reshape(-1), minlength=4) / changed.size
    assert shares == pytest.approx([0.7, 0.1, 0.1, 0.1], abs=0.01)
    assert (substitute(np.random.default_rng(0), codes, 0.0) == codes).all()


def test_through_the_command_line(tmp_path, capsys):
    out = tmp_path / "out"
    words = f"simulate -o {out} --genome-bp 20000 --train 20 --dev 10 --test 10"
    assert cli.main(words.split()) == 0
    assert sum(map(len, fasta(out).values())) == 20_000
    record = json.loads((out / "dnazen.json").read_text())
    assert record["command"] == "simulate"
    assert record["ceiling_mcc"] == ceiling_mcc(0.95)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "best possible test MCC is about 0.951" in captured.err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"genome_bp": 0}, "genome_bp must be 1 to 10000000000, got 0"),
        ({"train": 1}, "train must be 2 to 100000000, got 1"),
        ({"conservation": 1.5}, "conservation must lie in 0 to 1, got 1.5"),
        ({"strength": 1.2}, "strength must lie in 0 to 1, got 1.2"),
        ({"far_gap_bp": 6}, r"far_gap_bp must be above max_gap_bp \(6\), got 6"),
        ({"min_gap_bp": 20}, "gaps must be 0 <= min_gap_bp <= max_gap_bp, got 20 and 6"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"repeat_bp": 999_999_999}, "repeat_bp must be 4 to 1000000, got 999999999"),
        ({"motif_bp": 3}, "motif_bp must be 4 to 1000000, got 3"),
        ({"sequence_bp": 53}, "sequence_bp must hold two motifs apart, 54 bases, got 53"),
    ],
)
def test_settings_are_checked(changes, message):
    with pytest.raises(ConfigError, match=message):
        SimulateConfig(**changes)


def test_a_genome_too_small_for_its_repeats_leaves_nothing(tmp_path):
    config = settings_of(
        SimulateCommand, output=tmp_path / "out", genome_bp=30_000, repeat_fraction=1.0
    )
    with pytest.raises(ConfigError, match="do not fit into a chromosome of 15000; lower"):
        simulate_command(config)
    assert list(tmp_path.iterdir()) == []
