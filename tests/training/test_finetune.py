"""Fine-tuning on tasks that can be learned: what is written, chosen, resumed and refused."""

from __future__ import annotations

import csv
import functools
import json
import math
import os
import shutil
import signal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, Trainer
from transformers.modeling_outputs import SequenceClassifierOutput

import dnazen
from directories import random_directory
from dnazen import cli
from dnazen.commands.finetune import FinetuneCommand
from dnazen.commands.finetune import run as run_finetune
from dnazen.commands.predict import PredictCommand
from dnazen.commands.predict import run as predict
from dnazen.errors import ConfigError, InputError, OutputError, Terminated
from dnazen.model.batches import Collator, Example
from dnazen.model.configuration import DnazenConfig
from dnazen.model.directory import open_directory
from dnazen.model.modeling import DnazenForSequenceClassification
from dnazen.records import hash_file
from dnazen.sequences.settings import LabelConfig, SplitConfig
from dnazen.sequences.splits import load_splits
from dnazen.tokens.tokenizer import load_tokenizer, token_strings
from dnazen.training.cnn import CnnClassifier, CnnConfig, cnn_learner
from dnazen.training.finetune import fit
from dnazen.training.kmers import plan_kmers
from dnazen.training.learner import dnazen_learner
from dnazen.training.metrics import score
from dnazen.training.scale import Scale
from dnazen.training.settings import METRICS, FinetuneConfig, OptimizerConfig, RunConfig
from settings_of import settings_of

pytestmark = pytest.mark.usefixtures("few_draws")

MULTI, NUMBERS = "multi_label_classification", "regression"
FAST = OptimizerConfig(learning_rate=3e-3, warmup_steps=2)
FLOAT32 = RunConfig(precision="float32")
PLAIN = {"kmers": 0, "base_channels": 0, "strands": "forward"}
"""The deep head alone, on one strand: fast, and what it says is all that is said."""


@pytest.fixture(scope="module")
def pretrained(ground, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "pretrained"
    random_directory(ground, folder, seed=1, hidden_size=32, intermediate_size=32, fusion="gated")
    return folder


def sequences(count, seed):
    """Sequences whose GC content lies in one of three bands, and the band of each."""
    rng = np.random.default_rng(seed)
    bands = rng.permutation(np.arange(count) % 3)
    gc = np.array([0.1, 0.5, 0.9])[bands] / 2
    texts = ["".join(rng.choice(list("ACGT"), 40, p=[0.5 - p, p, p, 0.5 - p])) for p in gc]
    return texts, bands


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """Low or high GC, 60 / 20 / 20 examples, in GUE's layout."""
    folder = tmp_path_factory.mktemp("task")
    for seed, (split, count) in enumerate({"train": 90, "dev": 30, "test": 30}.items()):
        rows = [(s, b // 2) for s, b in zip(*sequences(count, seed), strict=True) if b != 1]
        text = "".join(f"{s},{label}\n" for s, label in rows)
        (folder / f"{split}.csv").write_text("sequence,label\n" + text)
    return folder


def settings(data, model, output, **more):
    base = {"epochs": 3, "batch_size": 8, "optimizer": FAST, "run": FLOAT32, **PLAIN}
    return settings_of(FinetuneCommand, data=data, model=model, output=output, **{**base, **more})


def finetune(command):
    """Run the command; the scores that it writes."""
    run_finetune(command)
    return read(command.output / "test_metrics.json")


@pytest.fixture(scope="module")
def done(pretrained, task, tmp_path_factory):
    """A finished run."""
    output = tmp_path_factory.mktemp("runs") / "done"
    finetune(settings(task, pretrained, output))
    return output


def table(path):
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle, delimiter="\t"))


def read(path):
    return json.loads(path.read_text())


def test_the_directory_is_whole(done, task, pretrained):
    assert {path.name for path in done.iterdir()} == {
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
        "README.md", "ggrams.tsv", "run.json", "history.json", "logs", "report.html",
        "test_metrics.json", "test_predictions.tsv",
    }  # fmt: skip
    record = read(done / "run.json")
    assert record["command"] == "finetune"
    assert record["settings"]["optimizer"]["learning_rate"] == 3e-3
    assert record["rows"] == {"train": 60, "dev": 20, "test": 20}
    assert record["classes"]["train"] == {"0": 30, "1": 30}
    files = [task / f"{split}.csv" for split in ("train", "dev", "test")]
    files.append(pretrained / "model.safetensors")
    assert record["inputs"] == [hash_file(file)._asdict() for file in files]
    model = AutoModelForSequenceClassification.from_pretrained(done)
    assert isinstance(model, DnazenForSequenceClassification)
    assert model.config.id2label == {0: "0", 1: "1"}
    assert model.config.problem_type == "single_label_classification"


def test_the_scores_are_those_of_the_predictions(done, task):
    rows, found = table(done / "test_predictions.tsv"), read(done / "test_metrics.json")
    truth = [line.split(",")[1] for line in (task / "test.csv").read_text().split()[1:]]
    assert [row["label"] for row in rows] == truth
    logits = np.log([[float(row["p_0"]), float(row["p_1"])] for row in rows])
    expected = score("single_label_classification", np.array(truth, dtype=int), logits)
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert found["rows"] == 20
    assert found["mcc"] > 0.7  # the task is easy
    assert not found["collapsed"]


def test_predict_gives_the_test_predictions_again(done, task, tmp_path):
    out = tmp_path / "p.tsv"
    predict(
        settings_of(
            PredictCommand,
            model=done,
            sequences=(task / "test.csv",),
            output=out,
            tokens_per_batch=100,
        )
    )
    before = table(done / "test_predictions.tsv")
    for row, old in zip(table(out), before, strict=True):
        assert row["name"] == old["name"]
        assert row["prediction"] == old["prediction"]
        assert float(row["p_1"]) == pytest.approx(float(old["p_1"]), abs=1e-5)


def test_the_test_is_not_run_in_the_precision_of_training(pretrained, task, tmp_path, capsys):
    run = RunConfig(precision="bf16")
    slow = OptimizerConfig(learning_rate=3e-3, warmup_steps=8)
    finetune(settings(task, pretrained, tmp_path / "run", run=run, epochs=1, optimizer=slow))
    assert "8 optimizer steps in all, so the learning rate never gets" in capsys.readouterr().err
    out = tmp_path / "p.tsv"
    predict(
        settings_of(
            PredictCommand, model=tmp_path / "run", sequences=(task / "test.csv",), output=out
        )
    )
    before = table(tmp_path / "run" / "test_predictions.tsv")
    for row, old in zip(table(out), before, strict=True):
        assert float(row["p_1"]) == pytest.approx(float(old["p_1"]), abs=1e-5)


def test_the_best_epoch_is_kept(done):
    epochs = [e for e in read(done / "history.json")["log"] if "eval_mcc" in e]
    assert len(epochs) == 3
    best = max(epochs, key=lambda e: e["eval_mcc"])  # the first of equals
    found = read(done / "test_metrics.json")
    assert found["best_epoch"] == best["epoch"]
    assert found["dev_mcc"] == best["eval_mcc"]


def test_the_same_seed_is_bit_equal_and_another_is_not(done, pretrained, task, tmp_path):
    weights = load_file(done / "model.safetensors")
    for seed in (0, 1):
        run = RunConfig(precision="float32", seed=seed)
        finetune(settings(task, pretrained, tmp_path / str(seed), run=run))
        other = load_file(tmp_path / str(seed) / "model.safetensors")
        equal = all(torch.equal(weights[name], other[name]) for name in weights)
        assert equal == (seed == 0)


def test_resuming_equals_not_stopping(done, pretrained, task, tmp_path, monkeypatch):
    step, calls = Trainer.training_step, []

    def interrupted(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 12:  # in the second of three epochs of 8 steps
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    output = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "training_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            finetune(settings(task, pretrained, output))
    assert not (output / "model.safetensors").exists()
    assert read(output / "run.json")["resumed_from"] is None
    with pytest.raises(OutputError, match="not empty"):
        finetune(settings(task, pretrained, output))

    other = tmp_path / "other"
    shutil.copytree(task, other)
    (other / "test.csv").write_text("sequence,label\nACGT,0\n")
    with pytest.raises(ConfigError, match=r"was begun with another data: "):
        finetune(settings(other, pretrained, output, resume=True))

    finetune(settings(task, pretrained, output, resume=True))
    assert len(calls) == 12
    weights, expected = (load_file(d / "model.safetensors") for d in (output, done))
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    for name in ("test_metrics.json", "test_predictions.tsv"):
        assert (output / name).read_bytes() == (done / name).read_bytes()
    with pytest.raises(OutputError, match="this run is complete"):
        finetune(settings(task, pretrained, output, resume=True))


def test_a_run_stopped_while_saving_is_finished(done, pretrained, task, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    output = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("dnazen.training.learner.save_directory", interrupted)
        with pytest.raises(KeyboardInterrupt):
            finetune(settings(task, pretrained, output))
    finetune(settings(task, pretrained, output, resume=True))
    for name in ("model.safetensors", "test_metrics.json", "test_predictions.tsv"):
        assert (output / name).read_bytes() == (done / name).read_bytes()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_writes_a_checkpoint_and_the_run_goes_on_from_it(
    done, pretrained, task, tmp_path, monkeypatch, capfd, number
):
    step, calls = Trainer.training_step, []

    def signalled(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 12:  # in the middle of the second of three epochs
            os.kill(os.getpid(), number)
        return step(self, *args, **kwargs)

    output = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "training_step", signalled)
        with pytest.raises(KeyboardInterrupt) as caught:
            finetune(settings(task, pretrained, output))
    assert isinstance(caught.value, Terminated) == (number == signal.SIGTERM)
    assert caught.value.__notes__ == [f"'dnazen finetune ... -o {output} --resume' goes on with it"]
    assert "stopping after this step" in capfd.readouterr().err
    assert len(calls) == 12
    assert {path.name for path in (output / "checkpoints").iterdir()} == {
        "checkpoint-8",
        "checkpoint-12",
    }
    finetune(settings(task, pretrained, output, resume=True))
    weights, expected = (load_file(d / "model.safetensors") for d in (output, done))
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert read(output / "test_metrics.json") == read(done / "test_metrics.json")


def test_a_dev_of_one_class_leaves_the_choice_to_the_loss(pretrained, task, tmp_path, capsys):
    data = tmp_path / "task"
    shutil.copytree(task, data)
    rows = [row for row in (task / "dev.csv").read_text().split() if row.endswith(("label", ",1"))]
    (data / "dev.csv").write_text("\n".join(rows))
    found = finetune(settings(data, pretrained, tmp_path / "run"))
    assert "all labels of dev are the same, so mcc cannot choose" in capsys.readouterr().err
    log = [e for e in read(tmp_path / "run" / "history.json")["log"] if "eval_loss" in e]
    assert found["best_epoch"] == min(log, key=lambda e: e["eval_loss"])["epoch"]


@pytest.mark.parametrize("targets", ["equal", "constant predictions"])
def test_a_regression_that_dev_cannot_score_is_chosen_by_the_loss(
    pretrained, task, tmp_path, capsys, targets
):
    data = tmp_path / "task"
    shutil.copytree(task, data)
    more = {}
    if targets == "equal":
        rows = [row.split(",")[0] + ",1.5" for row in (task / "dev.csv").read_text().split()[1:]]
        (data / "dev.csv").write_text("\n".join(["sequence,label", *rows]))
    else:  # not one epoch defines the correlation
        more = {"optimizer": OptimizerConfig(learning_rate=1e-30), "from_random_weights": True}
        constant = DnazenConfig.from_pretrained(pretrained)
        constant.initializer_range = 1e-9
        shutil.copytree(pretrained, tmp_path / "flat")
        constant.save_pretrained(tmp_path / "flat")
        pretrained = tmp_path / "flat"
    labels = LabelConfig(problem_type=NUMBERS)
    found = finetune(settings(data, pretrained, tmp_path / "run", labels=labels, **more))
    told = capsys.readouterr().err
    expected = "all labels of dev are" if targets == "equal" else "pearson on dev is defined in no"
    assert expected in told
    assert "the lowest dev loss" in told
    log = [e for e in read(tmp_path / "run" / "history.json")["log"] if "eval_loss" in e]
    assert found["best_epoch"] == min(log, key=lambda e: e["eval_loss"])["epoch"]


def test_patience_lasts_over_a_resumption(pretrained, task, tmp_path, monkeypatch):
    frozen = OptimizerConfig(learning_rate=1e-30)
    more = {"epochs": 9, "patience": 3, "optimizer": frozen}
    save, saved = Trainer._save_checkpoint, []

    def interrupted(self, *args, **kwargs):
        save(self, *args, **kwargs)
        saved.append(1)
        if len(saved) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_save_checkpoint", interrupted)
        with pytest.raises(KeyboardInterrupt):
            finetune(settings(task, pretrained, tmp_path / "run", **more))
    finetune(settings(task, pretrained, tmp_path / "run", resume=True, **more))
    log = read(tmp_path / "run" / "history.json")["log"]
    assert len([entry for entry in log if "eval_mcc" in entry]) == 4


def test_the_encoder_is_that_of_the_model_unless_asked(pretrained, task, tmp_path):
    # No step moves a weight at this rate: what is saved is what training began with.
    frozen = OptimizerConfig(learning_rate=1e-30, weight_decay=0.0)
    given = load_file(pretrained / "model.safetensors")
    for random in (False, True):
        output = tmp_path / str(random)
        finetune(
            settings(
                task, pretrained, output, epochs=1, optimizer=frozen, from_random_weights=random
            )
        )
        saved = load_file(output / "model.safetensors")
        shared = [name for name in saved if name in given and "embeddings.word" in name]
        assert len(shared) == 2
        assert all(torch.equal(saved[name], given[name]) != random for name in shared)


def test_several_classes_in_one_table(pretrained, tmp_path, capsys):
    data, output = tmp_path / "all.tsv", tmp_path / "run"
    texts, bands = sequences(150, 9)
    rows = zip(texts, bands, strict=True)
    text = "".join(f"{('low', 'mid', 'high')[b]}\t{s}\n" for s, b in rows)
    data.write_text("label\tsequence\n" + text)
    words = f"finetune --data {data} --model {pretrained} -o {output} --epochs 6 --batch-size 8 "
    words += "--optimizer.learning-rate 3e-3 --optimizer.warmup-steps 2 --run.precision float32 "
    words += "--best-metric f1 --splits.test-fraction 0.2"
    assert cli.main(words.split()) == 0
    header, *lines = (line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert header == ["score", "model", "k-mers"]
    scores = {name: values for name, *values in lines}
    assert list(scores) == ["mcc", "f1", "accuracy", "auroc", "auprc", "collapsed"]
    assert float(scores["mcc"][0]) > 0.6
    found = read(output / "test_metrics.json")
    for name, (model, kmers) in scores.items():
        assert float(model) == pytest.approx(float(found[name]), rel=1e-5)
        assert float(kmers) == pytest.approx(float(found["baselines"]["k-mers"][name]), rel=1e-5)
    assert read(output / "run.json")["rows"] == {"train": 105, "dev": 15, "test": 30}
    assert read(output / "config.json")["id2label"] == {"0": "high", "1": "low", "2": "mid"}
    assert {row["label"] for row in table(output / "test_predictions.tsv")} == {
        "low",
        "mid",
        "high",
    }


def test_several_labels(pretrained, tmp_path):
    data, output = tmp_path / "all.csv", tmp_path / "run"
    texts, bands = sequences(150, 4)
    names = [("", "some", "rich;some")[b] for b in bands]
    rows = zip(texts, names, strict=True)
    data.write_text("sequence,label\n" + "".join(f"{s},{name}\n" for s, name in rows))
    labels = LabelConfig(problem_type=MULTI)
    scores = finetune(settings(data, pretrained, output, labels=labels, epochs=6))
    assert scores["mcc"] > 0.5
    found = table(output / "test_predictions.tsv")
    assert found[0].keys() == {"name", "label", "prediction", "p_rich", "p_some"}
    assert {row["label"] for row in found} == {"", "some", "rich;some"}


def test_numbers_in_any_unit(pretrained, tmp_path):
    data, output = tmp_path / "all.csv", tmp_path / "run"
    texts, _ = sequences(150, 4)
    gc = [(s.count("G") + s.count("C")) / len(s) for s in texts]
    rows = zip(texts, gc, strict=True)
    data.write_text("sequence,kelvin\n" + "".join(f"{s},{5000 + 100 * p:.3f}\n" for s, p in rows))
    labels = LabelConfig(problem_type=NUMBERS, columns=("kelvin",))
    scores = finetune(settings(data, pretrained, output, labels=labels, epochs=6))
    assert scores["pearson"] > 0.8
    assert scores["mse"] < np.var([100 * p for p in gc])
    found = table(output / "test_predictions.tsv")
    assert found[0].keys() == {"name", "label", "prediction"}
    out = tmp_path / "p.tsv"
    predict(settings_of(PredictCommand, model=output, sequences=(data,), output=out))
    predicted = [float(row["prediction"]) for row in table(out)]
    assert 4990 < min(predicted) < max(predicted) < 5110


def test_pairs(pretrained, tmp_path):
    data, output = tmp_path / "all.csv", tmp_path / "run"
    texts, bands = sequences(60, 4)
    rows = zip(texts[:30], texts[30:], bands[:30], strict=True)
    text = "".join(f"{a},{b},{label}\n" for a, b, label in rows)
    data.write_text("sequence_1,sequence_2,label\n" + text)
    finetune(settings(data, pretrained, output, epochs=1))
    out = tmp_path / "p.tsv"
    predict(settings_of(PredictCommand, model=output, sequences=(data,), output=out))
    assert len(table(out)) == 30


def test_a_collapsed_run_is_told_loudly(pretrained, task, tmp_path, capsys):
    frozen = OptimizerConfig(learning_rate=1e-30)
    constant = DnazenConfig.from_pretrained(pretrained)
    constant.initializer_range = 1e-9  # equal logits for every sequence
    folder = tmp_path / "flat"
    shutil.copytree(pretrained, folder)
    constant.save_pretrained(folder)
    scores = finetune(
        settings(
            task, folder, tmp_path / "run", epochs=1, optimizer=frozen, from_random_weights=True
        )
    )
    assert scores["collapsed"]
    assert read(tmp_path / "run" / "test_metrics.json")["collapsed"] is True
    err = capsys.readouterr().err
    assert (
        "WARNING: COLLAPSED: it predicts the same for every example of test; k-mers do not" in err
    )


def test_a_diverged_run_writes_null_scores_and_no_model(
    pretrained, task, tmp_path, capsys, monkeypatch
):
    forward = DnazenForSequenceClassification.forward

    @functools.wraps(forward)
    def diverged(self, *args, **kwargs):
        output = forward(self, *args, **kwargs)
        output.logits = output.logits * math.nan
        return output

    monkeypatch.setattr(DnazenForSequenceClassification, "forward", diverged)
    with pytest.raises(InputError, match=r"run: the training diverged: .* not saved"):
        finetune(settings(task, pretrained, tmp_path / "run", epochs=1))
    assert not list((tmp_path / "run").glob("*.safetensors"))
    found = read(tmp_path / "run" / "test_metrics.json")
    assert found["mcc"] is None
    assert found["collapsed"] is True
    assert "NaN" not in (tmp_path / "run" / "history.json").read_text()
    assert "COLLAPSED" in capsys.readouterr().err


def test_a_model_that_reads_the_mean_predicts_so_too(pretrained, task, tmp_path):
    finetune(settings(task, pretrained, tmp_path / "run", pooling="mean"))
    assert json.loads((tmp_path / "run/config.json").read_text())["classifier_pooling"] == "mean"
    out = tmp_path / "again.tsv"
    predict(
        settings_of(
            PredictCommand, model=tmp_path / "run", sequences=(task / "test.csv",), output=out
        )
    )
    first, again = table(tmp_path / "run/test_predictions.tsv"), table(out)
    assert [row["prediction"] for row in first] == [row["prediction"] for row in again]


def test_a_base_view_adds_nothing_at_first_and_learns(pretrained, task, tmp_path):
    config = FinetuneConfig(base_channels=6)
    splits = load_splits(task, LabelConfig(), SplitConfig())
    given = dnazen.load(pretrained, "cpu").encoder
    fresh = dnazen_learner(pretrained, splits, config).fresh().eval()
    batch = Collator.of(open_directory(pretrained))([Example(np.array([7, 9, 5, 6]))])
    with torch.no_grad():
        expected = given(**batch).last_hidden_state
        assert torch.equal(fresh.dnazen(**batch).last_hidden_state, expected)
    strings = token_strings(load_tokenizer(pretrained))
    assert fresh.dnazen.bases.table[7].ge(0).sum() == len(strings[7])

    scores = finetune(settings(task, pretrained, tmp_path / "run", base_channels=6, epochs=6))
    assert scores["mcc"] > 0.8
    tuned = dnazen.load(tmp_path / "run", "cpu")
    assert tuned.encoder.bases.output.weight.any()
    rows = table(tmp_path / "run" / "test_predictions.tsv")
    lines = (task / "test.csv").read_text().splitlines()[1:]
    letters = [line.split(",")[0] for line in lines]
    for row, prediction in zip(rows, tuned.predict(letters), strict=True):
        assert prediction.label == row["prediction"]
        assert prediction.probabilities["1"] == pytest.approx(float(row["p_1"]), abs=1e-5)
    # Fine-tuned again, it keeps the view that it has.
    again = dnazen_learner(tmp_path / "run", splits, FinetuneConfig()).fresh()
    assert again.config.base_channels == 6
    assert torch.equal(again.dnazen.bases.output.weight, tuned.encoder.bases.output.weight)
    assert cli.main(["convert", str(tmp_path / "run"), "--to", "released", "-o", "x"]) == 2


def test_patience_stops_early(pretrained, task, tmp_path):
    frozen = OptimizerConfig(learning_rate=1e-30)
    config = settings(task, pretrained, tmp_path / "run", epochs=5, patience=1, optimizer=frozen)
    finetune(config)
    log = read(tmp_path / "run" / "history.json")["log"]
    assert len([entry for entry in log if "eval_mcc" in entry]) == 2


def test_duplicates_and_cuts_are_told(pretrained, tmp_path, capsys):
    data = tmp_path / "task"
    data.mkdir()
    rows = "sequence,label\nAACCGGTTACGTAACC,0\nACACACACACACCCCC,1\n"
    for split in ("train", "dev", "test"):
        (data / f"{split}.csv").write_text(rows)
    with pytest.raises(InputError, match=r"train\.csv:2: \d+ tokens; expected at most 6"):
        finetune(settings(data, pretrained, tmp_path / "run", max_tokens=6))
    assert not (tmp_path / "run").exists()
    config = settings(data, pretrained, tmp_path / "run", max_tokens=6, too_long="cut", epochs=1)
    finetune(config)
    err = capsys.readouterr().err
    assert "warning: 2 sequences of test stand in train too, on either strand" in err
    assert "warning: cut to 6 tokens: 2 in train, 2 in dev, 2 in test" in err
    record = read(tmp_path / "run" / "run.json")
    assert record["cut"] == {"train": 2, "dev": 2, "test": 2}
    assert record["duplicates"]["train_dev"] == 2
    assert read(tmp_path / "run" / "config.json")["max_tokens"] == 6


def test_nothing_is_written_for_bad_input(pretrained, foreign_ground, task, tmp_path):
    output = tmp_path / "run"
    with pytest.raises(InputError, match="no such file"):
        finetune(settings(tmp_path / "none.csv", pretrained, output))
    with pytest.raises(InputError, match="no such model directory"):
        finetune(settings(task, tmp_path / "none", output))
    mixed = tmp_path / "mixed"
    shutil.copytree(pretrained, mixed)
    shutil.copy(foreign_ground.ggrams, mixed / "ggrams.tsv")
    with pytest.raises(InputError, match="tokenizer"):
        finetune(settings(task, mixed, output))
    assert not output.exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"epochs": "many"}, "epochs must be a number or one of auto, got 'many'"),
        ({"kmers": 9}, "kmers must be 0 to 8, got 9"),
        ({"base_channels": -1}, "base_channels must be 0 to 4096, got -1"),
        ({"strands": "reverse"}, "strands must be one of auto, average, forward, got 'reverse'"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"patience": 0}, "patience must be at least 1, got 0"),
        ({"max_tokens": 1}, "max_tokens must be 5 to 1048576, got 1"),
        ({"best_metric": "mse"}, "best_metric must be one of mcc, f1, accuracy, auroc, auprc for "),
        (
            {"best_metric": "mcc", "labels": LabelConfig(problem_type=NUMBERS)},
            "best_metric must be one of pearson, spearman, mse for regression, got 'mcc'",
        ),
    ],
)
def test_settings_out_of_range(tmp_path, more, message):
    with pytest.raises(ConfigError, match=message):
        settings(tmp_path, tmp_path, tmp_path, **more)


def test_by_default_a_model_holds_all_that_helps():
    config = FinetuneConfig()
    assert (config.pooling, config.kmers, config.base_channels) == ("mean", 6, None)
    assert (config.strands, config.epochs, config.patience) == ("auto", "auto", 5)
    assert (config.optimizer.learning_rate, config.optimizer.warmup_steps) == ("auto", 0.06)


@pytest.mark.parametrize(
    ("steps_of_an_epoch", "epochs"),
    [
        *[(1, 10), (100, 10), (250, 8), (300, 7), (400, 5), (700, 3), (5000, 3)],
        *[(10_000, 2), (50_000, 1)],  # of a very large train fewer
    ],
)
def test_epochs_make_two_thousand_steps_but_3_to_10(steps_of_an_epoch, epochs):
    for kind in ("single_label_classification", MULTI, NUMBERS):
        assert FinetuneConfig().epochs_of(steps_of_an_epoch, kind) == epochs
        assert FinetuneConfig(epochs=7).epochs_of(steps_of_an_epoch, kind) == 7
    of_bases = FinetuneConfig().epochs_of(steps_of_an_epoch, "base_classification")
    assert of_bases == (
        40 if steps_of_an_epoch < 50 else max(epochs, round(2000 / steps_of_an_epoch))
    )


def test_the_default_metric_is_the_first():
    for problem_type, names in METRICS.items():
        assert FinetuneConfig().metric(problem_type) == names[0]


def test_a_scale_folded_into_the_model_is_the_scale_undone():
    rng = np.random.default_rng(0)
    targets = rng.normal(40, 7, (20, 2)).tolist()
    for row in targets:
        row[1] = 3.0  # a constant target
    scale = Scale.of(targets)
    scaled = np.array(scale.scaled(targets))
    assert scaled.mean(0) == pytest.approx([0, 0], abs=1e-6)
    assert scaled.std(0) == pytest.approx([1, 0], abs=1e-6)
    assert scale.unscaled(scaled) == pytest.approx(np.array(targets), abs=1e-4)
    model = DnazenForSequenceClassification(
        DnazenConfig.of_size("tiny", num_labels=2, problem_type=NUMBERS)
    ).eval()
    ids = torch.tensor([[1, 9, 8, 2]])
    with torch.no_grad():
        before = model(ids).logits.numpy()
        scale.fold_into(model)
        assert model(ids).logits.numpy() == pytest.approx(scale.unscaled(before), abs=1e-4)


def test_real_data_in_gue_layout(pretrained, tmp_path, request):
    gue = request.config.rootpath.parent / "shared" / "data" / "gue" / "EMP" / "H4"
    if not gue.is_dir():
        pytest.skip(f"needs {gue}")
    data = tmp_path / "H4"
    data.mkdir()
    for name, file in (("train_partial", "train_partial"), ("dev", "dev"), ("test", "test")):
        lines = (gue / f"{file}.csv").read_text().splitlines()[:41]
        (data / f"{name}.csv").write_text("\n".join(lines))
    splits = SplitConfig(train_file="train_partial.csv")
    scores = finetune(settings(data, pretrained, tmp_path / "run", epochs=1, splits=splits))
    assert 0 <= scores["accuracy"] <= 1


# -- the learning rate that is found, and collapses

AUTO = OptimizerConfig(weight_decay=0.0)


@pytest.fixture
def short_trials(monkeypatch):
    """Trials of 2 steps, so that a training of 8 has some."""
    for module in ("rates", "finetune"):
        monkeypatch.setattr(f"dnazen.training.{module}.TRIAL_STEPS", 2)


def steps_counted(monkeypatch):
    step, calls = Trainer.training_step, []

    def counted(self, *args, **kwargs):
        calls.append(self.args.max_steps)
        return step(self, *args, **kwargs)

    monkeypatch.setattr(Trainer, "training_step", counted)
    return calls


@pytest.mark.usefixtures("short_trials")
def test_the_rate_is_that_of_the_lowest_dev_loss(pretrained, task, tmp_path, capsys, monkeypatch):
    calls = steps_counted(monkeypatch)
    found = finetune(settings(task, pretrained, tmp_path / "run", epochs=1, optimizer=AUTO))
    tried = found["tried_learning_rates"]
    middle = 1e-3  # of a model 128 wide or less
    assert [float(rate) for rate in tried] == pytest.approx([middle / 3, middle, 3 * middle], 1e-4)
    assert found["learning_rate"] == pytest.approx(float(min(tried, key=tried.get)), rel=1e-4)
    assert len(calls) == 3 * 2 + 8
    assert "of the lowest dev loss after 2 steps" in capsys.readouterr().err
    # What is found is what is trained at.
    named = OptimizerConfig(learning_rate=found["learning_rate"], weight_decay=0.0)
    finetune(settings(task, pretrained, tmp_path / "named", epochs=1, optimizer=named))
    one, other = (load_file(tmp_path / x / "model.safetensors") for x in ("run", "named"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_short_training_has_the_rate_in_the_middle(pretrained, task, tmp_path, capsys):
    found = finetune(settings(task, pretrained, tmp_path / "run", epochs=1, optimizer=AUTO))
    assert found["tried_learning_rates"] == {}
    assert found["learning_rate"] == pytest.approx(1e-3 / 3 ** found["restarts"])
    assert "too short to try others" in capsys.readouterr().err


@pytest.mark.usefixtures("short_trials")
def test_a_resumed_run_has_the_rate_that_was_found(pretrained, task, tmp_path, monkeypatch):
    more = {"epochs": 2, "optimizer": AUTO}
    finetune(settings(task, pretrained, tmp_path / "whole", **more))
    step, calls = Trainer.training_step, []

    def interrupted(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 3 * 2 + 12:  # in the second epoch, after the trials
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    output = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "training_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            finetune(settings(task, pretrained, output, **more))
    found = read(output / "checkpoints" / "rate.json")
    assert found["restarts"] == 0
    calls = steps_counted(monkeypatch)
    finetune(settings(task, pretrained, output, resume=True, **more))
    assert len(calls) == 8  # of the second epoch alone: nothing is tried again
    one, other = (load_file(tmp_path / x / "model.safetensors") for x in ("whole", "run"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    one, other = (read(tmp_path / x / "test_metrics.json") for x in ("whole", "run"))
    assert one == other


class Deaf(CnnClassifier):
    """Says the same of every sequence."""

    def forward(self, input_ids, labels=None):
        logits = self.classifier.bias.expand(len(input_ids), -1)
        loss = None if labels is None else torch.nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


@pytest.fixture(scope="module")
def small_splits(task):
    return load_splits(task, LabelConfig(), SplitConfig())


def deaf_learner(splits, times):
    """A CNN that is deaf in so many of its first trainings."""
    made = []

    def fresh():
        kind = Deaf if len(made) < times else CnnClassifier
        made.append(kind)
        return kind(CnnConfig(num_labels=2, problem_type="single_label_classification"))

    return cnn_learner(splits)._replace(fresh=fresh)


def rates_of(fitted):
    """The highest rate that was logged."""
    return max(entry["learning_rate"] for entry in fitted.history if "learning_rate" in entry)


@pytest.mark.parametrize("times", [0, 1, 2, 9])
def test_a_collapsed_training_is_begun_again_at_a_third_at_most_twice(
    small_splits, tmp_path, capsys, times
):
    config = FinetuneConfig(
        epochs=6,
        batch_size=20,
        optimizer=OptimizerConfig(warmup_steps=0, schedule="constant"),
        run=RunConfig(precision="float32", device="cpu", logging_steps=1),
    )
    learner = deaf_learner(small_splits, times)
    fitted = fit(learner, small_splits, config, tmp_path, resumable=False)
    restarts = min(times, 2)
    assert fitted.restarts == restarts
    middle = 1e-3 / 6  # of a model that does not tell its width
    assert fitted.rate.learning_rate == pytest.approx(middle / 3**restarts)
    assert rates_of(fitted) == pytest.approx(fitted.rate.learning_rate)
    again = "predicts the same for every row of dev: starting again at a learning rate of "
    said = [line for line in capsys.readouterr().err.splitlines() if again in line]
    assert [line.split()[-1] for line in said] == [
        f"{middle / 3**n:.2g}" for n in range(1, restarts + 1)
    ]
    # Given up after two epochs of six; a training that tells rows apart goes on.
    assert fitted.epochs == (2 if times > 2 else 6)


def test_a_run_killed_after_a_new_start_goes_on_from_that(small_splits, tmp_path, monkeypatch):
    config = FinetuneConfig(
        epochs=3, batch_size=20, run=RunConfig(precision="float32", device="cpu")
    )
    for name in ("whole", "run"):
        (tmp_path / name).mkdir()
    whole = fit(deaf_learner(small_splits, 1), small_splits, config, tmp_path / "whole")
    step, calls = Trainer.training_step, []

    def killed(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 2 * 3 + 5:  # two epochs of 3 steps, given up; then in the second epoch
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    output = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "training_step", killed)
        with pytest.raises(KeyboardInterrupt):
            fit(deaf_learner(small_splits, 1), small_splits, config, output)
    assert read(output / "checkpoints" / "rate.json")["restarts"] == 1
    (checkpoint,) = output.glob("checkpoints/checkpoint-*")
    cnn = cnn_learner(small_splits)
    again = fit(cnn, small_splits, config, output, checkpoint=checkpoint)
    assert again.restarts == whole.restarts == 1
    assert again.rate == whole.rate
    np.testing.assert_array_equal(again.logits, whole.logits)


def test_a_run_killed_at_the_end_of_a_collapsed_training_begins_again(
    small_splits, tmp_path, monkeypatch
):
    """All its evaluations stand in the checkpoint; there is none to come that could tell."""
    config = FinetuneConfig(
        epochs=1, batch_size=20, run=RunConfig(precision="float32", device="cpu")
    )
    save = Trainer._save_checkpoint

    def killed(self, *args, **kwargs):
        save(self, *args, **kwargs)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_save_checkpoint", killed)
        with pytest.raises(KeyboardInterrupt):
            fit(deaf_learner(small_splits, 9), small_splits, config, tmp_path)
    (checkpoint,) = tmp_path.glob("checkpoints/checkpoint-*")
    fitted = fit(
        deaf_learner(small_splits, 9), small_splits, config, tmp_path, checkpoint=checkpoint
    )
    assert fitted.restarts == 2


def test_at_a_rate_of_the_user_s_nothing_is_begun_again(small_splits, tmp_path, capsys):
    config = FinetuneConfig(
        epochs=4,
        batch_size=20,
        patience=None,
        optimizer=OptimizerConfig(learning_rate=1e-3),
        run=RunConfig(precision="float32", device="cpu"),
    )
    learner = deaf_learner(small_splits, 9)
    fitted = fit(learner, small_splits, config, tmp_path, resumable=False)
    assert (fitted.restarts, fitted.epochs, fitted.rate) == (0, 4, (1e-3, {}))
    assert fitted.test["collapsed"]
    assert "starting again" not in capsys.readouterr().err


def test_k_mers_do_not_hide_that_the_deep_head_collapsed(small_splits, tmp_path):
    """What is watched is the deep head; the blend with k-mers tells rows apart all the same."""
    config = FinetuneConfig(kmers=2, epochs=4, batch_size=20, run=FLOAT32)
    learner = deaf_learner(small_splits, 9)._replace(table=torch.zeros(6, 1, dtype=torch.int8))
    kmers = plan_kmers(small_splits, config).blended
    told = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dnazen.training.finetune.install_kmers", lambda *_: told.append(1))
        fitted = fit(learner, small_splits, config, tmp_path, kmers=kmers, resumable=False)
    assert fitted.restarts == 2
    assert fitted.dev["mcc"] > 0.5
    assert told == [1]
