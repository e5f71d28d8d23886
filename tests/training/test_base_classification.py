"""Fine-tuning to classes of bases: a task that can be learnt, scores, baseline, both strands."""

from __future__ import annotations

import csv
import json
import math
import re
import shutil

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    matthews_corrcoef,
    precision_recall_fscore_support,
)
from transformers import Trainer

import dnazen
from dnazen.commands.finetune import FinetuneCommand
from dnazen.commands.finetune import run as finetune
from dnazen.commands.predict import PredictCommand
from dnazen.commands.predict import run as predict
from dnazen.errors import ConfigError
from dnazen.model.neighbours import FEATURES
from dnazen.sequences.settings import LabelConfig, SplitConfig
from dnazen.sequences.splits import load_splits
from dnazen.training.blend import Blend
from dnazen.training.finetune import fit
from dnazen.training.intervals import intervals_of_bases
from dnazen.training.learner import dnazen_learner
from dnazen.training.metrics import counted_scores, score, scores_by_class
from dnazen.training.neighbours import MOST_BASES, fit_neighbours, plan_neighbours
from dnazen.training.rows import label_rows
from dnazen.training.settings import FinetuneConfig, LoraConfig, OptimizerConfig, RunConfig
from dnazen.training.view import install_neighbours
from settings_of import settings_of

KIND = "base_classification"
FAST = OptimizerConfig(learning_rate=5e-3)
FLOAT32 = RunConfig(precision="float32")
LABELS = LabelConfig(problem_type=KIND)


def labelled(count, seed):
    """Sequences in which every GT...AG of 20 bases is an intron; N and '.' here and there."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        text = "".join(rng.choice(list("ACT"), 90))
        start = int(rng.integers(5, 60))
        text = text[:start] + "GT" + text[start + 2 : start + 18] + "AG" + text[start + 20 :]
        label = "0" * start + "1" * 20 + "0" * (70 - start)
        if number % 5 == 0:
            text, label = "NN" + text[2:], ".." + label[2:40] + "." + label[41:]
        yield text, label


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    folder = tmp_path_factory.mktemp("task")
    for seed, (split, count) in enumerate({"train": 150, "dev": 40, "test": 40}.items()):
        rows = "".join(f"{text},{label}\n" for text, label in labelled(count, seed))
        (folder / f"{split}.csv").write_text("sequence,label\n" + rows)
    return folder


def settings(data, model, output, **more):
    base = {"epochs": 25, "batch_size": 16, "patience": None, "optimizer": FAST, "run": FLOAT32}
    base |= {"labels": LABELS, "base_channels": 32}
    return settings_of(FinetuneCommand, data=data, model=model, output=output, **{**base, **more})


@pytest.fixture(scope="module")
def done(task, pretrained, tmp_path_factory):
    output = tmp_path_factory.mktemp("runs") / "done"
    finetune(settings(task, pretrained, output))
    return output


def read(path):
    return json.loads(path.read_text())


def table(path):
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle, delimiter="\t"))


def bases_of(done):
    """Truth and prediction of the labelled bases of test, as the file has them."""
    rows = table(done / "test_predictions.tsv")
    truth, found = "".join(r["label"] for r in rows), "".join(r["prediction"] for r in rows)
    kept = [n for n, label in enumerate(truth) if label != "."]
    assert all(found[n] != "." for n in kept)
    return np.array([int(truth[n]) for n in kept]), np.array([int(found[n]) for n in kept])


def test_introns_are_learnt_and_the_baseline_is_not_surely_better(done):
    numbers = read(done / "test_metrics.json")
    assert numbers["f1"] > 0.9
    assert numbers["baselines"]["neighbouring bases"]["gain_interval"][1] > 0
    assert numbers["deep_head"]["f1"] > 0.9
    assert not numbers["collapsed"]


def test_scores_are_those_of_the_written_bases(done, task):
    numbers = read(done / "test_metrics.json")
    truth, found = bases_of(done)
    labels = [line.split(",")[1] for line in (task / "test.csv").read_text().split()[1:]]
    assert [row["label"] for row in table(done / "test_predictions.tsv")] == labels
    assert (numbers["rows"], numbers["bases"]) == (40, len(truth))
    assert numbers["mcc"] == pytest.approx(matthews_corrcoef(truth, found))
    assert numbers["f1"] == pytest.approx(f1_score(truth, found, average="macro"))
    assert numbers["accuracy"] == pytest.approx((truth == found).mean())
    by_class = np.transpose(precision_recall_fscore_support(truth, found))
    for name, expected in zip("01", by_class, strict=True):
        of = numbers["classes"][name]
        assert [of[x] for x in ("precision", "recall", "f1", "support")] == pytest.approx(expected)
    record = read(done / "run.json")
    assert record["classes"]["test"] == {"0": int((truth == 0).sum()), "1": int(truth.sum())}
    page = (done / "report.html").read_text()
    for text in ("neighbouring bases", "precision", "Bases of test.", "support", "bases of 1"):
        assert text in page


def test_segments_are_runs_of_the_written_bases(done):
    lines = [line.split("\t") for line in (done / "test_segments.bed").read_text().splitlines()]
    expected = [
        [row["name"], str(match.start()), str(match.end())]
        for row in table(done / "test_predictions.tsv")
        for match in re.finditer("1+", row["prediction"])
    ]
    assert [line[:3] for line in lines] == expected
    assert {(line[3], line[5]) for line in lines} == {("1", "+")}


def test_predict_says_what_the_test_said(done, task, tmp_path):
    output = tmp_path / "p.bed"
    predict(settings_of(PredictCommand, model=done, sequences=(task / "test.csv",), output=output))
    assert output.read_bytes() == (done / "test_segments.bed").read_bytes()
    rows = table(done / "test_predictions.tsv")
    sequences = [line.split(",")[0] for line in (task / "test.csv").read_text().split()[1:]]
    predictions = dnazen.load(done, "cpu").predict(sequences)
    assert [p.label for p in predictions] == [row["prediction"] for row in rows]
    config = dnazen.load(done).config
    assert (config.problem_type, config.background, config.kmers) == (KIND, "0", 0)


def test_a_resumed_run_ends_as_if_uninterrupted(task, pretrained, tmp_path, monkeypatch):
    command = settings(task, pretrained, tmp_path / "whole", epochs=3)
    finetune(command)
    train, stops = Trainer._save_checkpoint, []

    def interrupted(self, *arguments, **more):
        train(self, *arguments, **more)
        if not stops:
            stops.append(1)
            raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "_save_checkpoint", interrupted)
    parts = settings(task, pretrained, tmp_path / "parts", epochs=3)
    with pytest.raises(KeyboardInterrupt):
        finetune(parts)
    finetune(settings(task, pretrained, tmp_path / "parts", epochs=3, resume=True))
    for name in ("model.safetensors", "test_predictions.tsv"):
        one, other = ((tmp_path / x / name).read_bytes() for x in ("whole", "parts"))
        assert one == other


def test_both_strands_are_learnt_with_turned_labels(task, pretrained, tmp_path):
    output = tmp_path / "both"
    finetune(settings(task, pretrained, output, strands="average", epochs=8))
    numbers = read(output / "test_metrics.json")
    assert numbers["strands"] == "average"
    assert numbers["mcc"] > 0.8
    lines = (output / "test_segments.bed").read_text().splitlines()
    assert {line.split("\t")[5] for line in lines} == {"."}


@pytest.mark.parametrize("more", [{"class_weights": "balanced"}, {"focal_gamma": 2.0}])
def test_uneven_classes_can_be_weighed(task, pretrained, tmp_path, more):
    finetune(settings(task, pretrained, tmp_path / "w", epochs=2, **more))
    assert math.isfinite(read(tmp_path / "w" / "test_metrics.json")["mcc"])


def test_features_of_a_genome_are_learnt_at_their_places(task, pretrained, tmp_path):
    """The introns as BED: every second sequence is read on the reverse strand of its place."""
    rows, features = ["chrom,start,end,strand,sequence,split"], []
    for split in ("train", "dev", "test"):
        for n, line in enumerate((task / f"{split}.csv").read_text().split()[1:]):
            text, label = line.split(",")
            start, first = 1000 * n, label.index("1")
            last = label.rindex("1") + 1
            strand = "+-"[n % 2]
            place = (first, last) if strand == "+" else (90 - last, 90 - first)
            features.append(
                f"{split}\t{start + place[0]}\t{start + place[1]}\tintron\t0\t{strand}\n"
            )
            rows.append(f"{split},{start},{start + 90},{strand},{text},{split}")
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "introns.bed").write_text("".join(features))
    labels = LabelConfig(problem_type=KIND, bed=tmp_path / "introns.bed", bed_strand="same")
    output = tmp_path / "done"
    finetune(settings(tmp_path / "t.csv", pretrained, output, labels=labels, epochs=15))
    assert read(output / "test_metrics.json")["f1"] > 0.9
    truth = {tuple(line.split("\t")[:3]) for line in features if line.startswith("test")}
    lines = [line.split("\t") for line in (output / "test_segments.bed").read_text().splitlines()]
    assert len(truth & {tuple(line[:3]) for line in lines}) > 0.5 * len(truth)
    assert {line[3] for line in lines} == {"intron"}
    assert {line[5] for line in lines} == {"+", "-"}
    inputs = [item["path"] for item in read(output / "run.json")["inputs"]]
    assert str(tmp_path / "introns.bed") in inputs


# -- the parts


@pytest.mark.parametrize("classes", [2, 4])
def test_counts_give_the_scores_of_scikit_learn(classes):
    rng = np.random.default_rng(classes)
    for _ in range(20):
        labels, found = rng.integers(0, classes, (2, 40))
        confusion = np.zeros((classes, classes), dtype=np.int64)
        np.add.at(confusion, (labels, found), 1)
        scores = counted_scores(confusion)
        assert scores["mcc"] == pytest.approx(matthews_corrcoef(labels, found))
        assert scores["f1"] == pytest.approx(f1_score(labels, found, average="macro"))
        assert scores["accuracy"] == pytest.approx((labels == found).mean())
    assert counted_scores(np.array([[5, 0], [2, 0]]))["mcc"] == 0


def test_scores_of_each_class():
    labels = np.array([0, 0, 1, 1, 1])
    logits = np.array([[2.0, 0, 0], [0, 1, 0], [0, 3, 0], [1, 0, 0], [0, 2, 0]])
    scores = scores_by_class(labels, logits, ("a", "b", "c"))
    assert scores["b"]["precision"] == pytest.approx(2 / 3)
    assert scores["b"]["recall"] == pytest.approx(2 / 3)
    likely = np.exp(logits)[:, 1] / np.exp(logits).sum(1)
    assert scores["b"]["auprc"] == pytest.approx(average_precision_score(labels == 1, likely))
    assert math.isnan(scores["c"]["precision"])
    assert math.isnan(scores["c"]["recall"])
    assert [scores[name]["support"] for name in "abc"] == [2, 3, 0]


def test_intervals_draw_whole_sequences():
    labels = np.array([0, 1] * 10 + [0, 1] * 10)
    right = np.eye(2)[labels]
    half = right.copy()
    half[20:] = 1 - half[20:]  # all of the second sequence is wrong
    sequence = np.repeat([0, 1], 20)
    (perfect, even), (gain,) = intervals_of_bases("accuracy", labels, [right, half], sequence)
    assert perfect == (1, 1)
    assert even == (0, 1)  # a draw has the second sequence not at all, once, or twice
    assert gain == (0, 1)


def features_by_hand(text, base):
    columns = []
    for place in range(-15, 16):
        letter = text[base + place] if 0 <= base + place < len(text) else "N"
        if letter != "N":
            columns.append(4 * (place + 15) + "ACGT".index(letter))
    for number, start in enumerate(range(-8, 6)):
        word = text[base + start : base + start + 4] if base + start >= 0 else ""
        if len(word) == 4 and "N" not in word:
            code = sum("ACGT".index(letter) * 4**n for n, letter in enumerate(word))
            columns.append(4 * 31 + 256 * number + code)
    return columns


def test_the_baseline_is_a_regression_of_scikit_learn_and_a_network_says_the_same(
    task, pretrained, tmp_path
):
    splits = load_splits(task, LABELS, SplitConfig())
    config = FinetuneConfig(base_channels=4, run=FLOAT32, optimizer=FAST, epochs=1)
    found = fit_neighbours(splits, config, "forward")
    assert sum(label_rows(splits.train.labels) == 0) < MOST_BASES  # so that none is left out
    rows, truth = {}, {}
    for name, part in splits.parts.items():
        columns, labels = [], []
        for row, label in zip(part.table.rows, part.labels, strict=True):
            text = re.sub("N+", "N", row.sequences[0].decode())
            known = iter(label[[letter in b"ACGT" for letter in row.sequences[0]]].tolist())
            for base, letter in enumerate(text):
                if letter != "N" and (code := next(known)) >= 0:
                    columns.append(features_by_hand(text, base))
                    labels.append(code)
        ends = np.cumsum([0, *map(len, columns)])
        flat = np.concatenate(columns)
        rows[name] = csr_matrix((np.ones(len(flat)), flat, ends), (len(columns), FEATURES))
        truth[name] = np.array(labels)
    expected = LogisticRegression(C=found.strength, tol=1e-8, max_iter=5000)
    expected.fit(rows["train"], truth["train"])
    for name, logits in (("dev", found.dev), ("test", found.test)):
        odds = logits[:, 1] - logits[:, 0]
        np.testing.assert_allclose(odds, expected.decision_function(rows[name]), atol=0.1)
    assert found.test_scores == score(KIND, truth["test"], found.test)
    # a model that listens to it alone
    learner = dnazen_learner(pretrained, splits, config, "forward")
    network = learner.fresh()
    install_neighbours(network, found, Blend(0.0, 1.0))
    learner.save(tmp_path, network)
    sequences = [row.sequences[0].decode() for row in splits.test.table.rows]
    said = dnazen.load(tmp_path, "cpu").predict(sequences)
    flat = np.concatenate([p.logits for p in said])
    kept = np.concatenate(splits.test.labels) >= 0
    np.testing.assert_allclose(flat[kept], found.test, atol=1e-4)


def test_the_baseline_of_both_strands_says_the_same_of_either(task):
    splits = load_splits(task, LABELS, SplitConfig())
    config = FinetuneConfig(strands="average")
    plan = plan_neighbours(splits, config)
    turned = plan_neighbours(splits.reverse_complement(), config)
    assert plan.strands == "average"
    lengths = [int((label >= 0).sum()) for label in splits.test.labels]
    parts = np.split(turned.baseline.test, np.cumsum(lengths)[:-1])
    back = np.concatenate([part[::-1] for part in parts])
    np.testing.assert_allclose(plan.baseline.test, back, atol=0.2)  # the fit stops near its end


def test_without_kmers_the_deep_head_speaks_alone(task, pretrained, tmp_path):
    splits = load_splits(task, LABELS, SplitConfig())
    config = FinetuneConfig(kmers=0, epochs=1, optimizer=FAST, run=FLOAT32)
    plan = plan_neighbours(splits, config)
    assert plan.blended is None
    learner = dnazen_learner(pretrained, splits, config, plan.strands)
    fitted = fit(learner, splits, config, tmp_path, kmers=plan.blended, resumable=False)
    assert fitted.blend == (1, 0)
    assert fitted.test == fitted.deep
    assert not fitted.model.config.neighbours


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"base_channels": 0}, "base_channels 0: tokens of several bases cannot tell them apart"),
        ({"train": "head"}, "train head: a head alone trains no base view"),
        ({"lora": LoraConfig(rank=2)}, "lora.rank: an adapter trains no base view"),
        ({"too_long": "cut"}, "too_long cut: bases that are cut off would have no class"),
        ({"best_metric": "auprc"}, "best_metric must be one of mcc, f1, accuracy for base_class"),
        ({"baselines": True}, "baselines: the small CNN reads whole sequences; leave it out"),
    ],
)
def test_settings_that_are_refused(tmp_path, more, message):
    with pytest.raises(ConfigError, match=message):
        settings(tmp_path, tmp_path, tmp_path, **more)


def test_the_other_strand_has_other_classes(tmp_path):
    labels = LabelConfig(problem_type=KIND, bed=tmp_path / "x.bed", bed_strand="same")
    with pytest.raises(ConfigError, match="the other strand has other classes"):
        settings(tmp_path, tmp_path, tmp_path, labels=labels, strands="average")


def test_a_model_for_bases_is_tuned_on(done, task, tmp_path):
    shutil.copytree(done, tmp_path / "m")
    finetune(settings(task, tmp_path / "m", tmp_path / "again", epochs=1, base_channels=None))
    assert read(tmp_path / "again" / "test_metrics.json")["f1"] > 0.9
