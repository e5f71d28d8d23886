"""Pre-training end to end on 20 kb: scores by other means, seeds, resuming, processes, refusals."""

from __future__ import annotations

import math
import os
import resource
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import TrainerCallback

from conftest import commonest, vocabulary_of
from directories import as_dnabert2, random_directory, weights_of
from dnazen.cli import main
from dnazen.commands.corpus_build import CorpusBuildCommand
from dnazen.commands.corpus_build import run as build_corpus
from dnazen.commands.pretrain import PretrainCommand
from dnazen.commands.pretrain import run as run_pretrain
from dnazen.errors import ConfigError, InputError, OutputError, Terminated
from dnazen.ggrams.masking import mask, sequence_keys
from dnazen.ggrams.matching import Matcher
from dnazen.ggrams.settings import MaskingConfig
from dnazen.ggrams.vocabulary import GGramVocabulary
from dnazen.model.directory import open_directory
from dnazen.model.modeling import DnazenForMaskedLM
from dnazen.model.settings import ShapeConfig
from dnazen.records import hash_file, read_json
from dnazen.tokens.corpus import Corpus
from dnazen.tokens.tokenizer import token_strings
from dnazen.training import pretrain as module
from dnazen.training.examples import example_intervals, heldout_sequences
from dnazen.training.settings import OptimizerConfig, RunConfig
from settings_of import settings_of

CPU = RunConfig(device="cpu", precision="float32", logging_steps=2)


def config_of(ground, output, **changes) -> PretrainCommand:
    settings = {
        "corpus": ground.corpus,
        "output": output,
        "ggrams": ground.ggrams,
        "max_steps": 4,
        "tokens_per_batch": 400,
        "max_tokens": 64,
        "heldout_fraction": 0.1,
        "eval_steps": 2,
        "save_steps": 2,
        "model": ShapeConfig(size="tiny", fusion="gated"),
        "optimizer": OptimizerConfig(learning_rate=3e-3, warmup_steps=2),
        "run": CPU,
    }
    return settings_of(PretrainCommand, **{**settings, **changes})


def pretrain(command) -> dict[str, float]:
    """Run the command; the held-out scores that it writes."""
    run_pretrain(command)
    metrics = read_json(command.output / "metrics.json", "")
    return {name: value for name, value in metrics.items() if name.startswith("eval_")}


def assert_bit_equal(one: Path, other: Path) -> None:
    mine, theirs = weights_of(one), weights_of(other)
    assert set(mine) == set(theirs)
    for name, tensor in mine.items():
        assert torch.equal(tensor, theirs[name]), name


@pytest.fixture(scope="module")
def run(ground, tmp_path_factory) -> Path:
    """The run that the others are compared with: dropout on, G-grams, four steps."""
    output = tmp_path_factory.mktemp("run") / "out"
    pretrain(config_of(ground, output))
    return output


# -- the split and the examples


@given(
    st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=1, max_size=20),
    st.integers(1, 12),
)
def test_examples_are_the_fewest_near_equal_pieces(sequences, longest):
    lengths = [length for length, _ in sequences]
    wanted = np.array([chosen for _, chosen in sequences])
    offsets = np.cumsum([0, *lengths])
    intervals = example_intervals(offsets, wanted, longest)
    expected = []
    for start, length, chosen in zip(offsets, lengths, wanted, strict=False):
        if chosen and length:
            pieces = math.ceil(length / longest)
            mine = [(s, n) for s, n in zip(*intervals, strict=True) if start <= s < start + length]
            assert len(mine) == pieces
            assert max(n for _, n in mine) <= longest
            assert max(n for _, n in mine) - min(n for _, n in mine) <= 1
            expected += list(range(start, start + length))
    covered = [i for s, n in zip(*intervals, strict=True) for i in range(s, s + n)]
    assert covered == expected


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("fraction", [0.01, 0.2, 0.9])
def test_both_strands_of_a_window_are_on_one_side(ground, seed, fraction):
    corpus = Corpus.open(ground.corpus)
    held = heldout_sequences(corpus, fraction, 10**9, seed)
    sides = {}
    for i in range(len(corpus)):
        sides.setdefault((int(corpus.record[i]), int(corpus.start[i])), []).append(bool(held[i]))
    assert all(len(side) == 2 for side in sides.values())
    assert all(side[0] == side[1] for side in sides.values())
    assert held.any()
    assert not held.all()
    tokens = np.diff(corpus.offsets)
    share = tokens[held].sum() / tokens.sum()
    assert share <= fraction + 4 * tokens.max() / tokens.sum()
    assert share >= fraction / 2 - 4 * tokens.max() / tokens.sum()
    assert np.array_equal(held, heldout_sequences(corpus, fraction, 10**9, seed))


def test_the_split_keeps_to_its_bound_and_follows_its_seed(ground):
    corpus = Corpus.open(ground.corpus)
    tokens = np.diff(corpus.offsets)
    splits = [heldout_sequences(corpus, 0.5, 1000, seed) for seed in range(4)]
    assert all(300 < tokens[held].sum() <= 1000 for held in splits)
    assert len({held.tobytes() for held in splits}) > 1


def test_a_small_budget_is_not_spent_on_one_stretch():
    class Made:
        """10,000 windows of 20 tokens, one strand."""

        record = np.zeros(10_000, dtype=np.int64)
        start = np.arange(10_000) * 100
        offsets = np.arange(10_001) * 20

        def __len__(self):
            return 10_000

    held = heldout_sequences(Made(), 0.5, 100 * 20, 0)
    assert 90 <= held.sum() <= 100
    stretches = sum(here and not before for before, here in pairwise([False, *held.tolist()]))
    assert stretches >= 15  # of 20 blocks of 5, some beside each other
    assert held.reshape(-1, 5).all(1).sum() == held.sum() / 5
    plenty = heldout_sequences(Made(), 0.5, 10**9, 0)
    assert plenty.reshape(-1, 100).all(1).sum() == plenty.sum() / 100  # blocks of 100, no more


def test_no_heldout_token_is_trained_on(ground, monkeypatch, tmp_path):
    seen = {}
    real = module.PretrainTrainer.__init__

    def spy(self, **kwargs):
        seen.update(kwargs)
        real(self, **kwargs)

    monkeypatch.setattr(module.PretrainTrainer, "__init__", spy)
    pretrain(config_of(ground, tmp_path / "out", max_steps=1))

    def places(dataset):
        return {i for s, n in zip(*dataset.intervals, strict=True) for i in range(s, s + n)}

    train, held = places(seen["train_dataset"]), places(seen["eval_dataset"])
    assert not train & held
    assert len(train | held) == len(Corpus.open(ground.corpus).tokens)
    assert seen["train_dataset"].seed != seen["eval_dataset"].seed


# -- what a run writes


def test_a_run_leaves_a_model_its_scores_and_its_record(ground, run):
    names = {path.name for path in run.iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "ggrams.tsv", "logs"} <= names
    assert {"run.json", "metrics.json", "history.json"} <= names
    assert "checkpoints" not in names
    record = read_json(run / "run.json", "")
    assert record["command"] == "pretrain"
    assert record["settings"]["max_steps"] == 4
    assert hash_file(ground.ggrams)._asdict() in record["inputs"]
    corpus = Corpus.open(ground.corpus)
    metrics = read_json(run / "metrics.json", "")
    assert metrics["train_tokens"] + metrics["heldout_tokens"] == len(corpus.tokens)
    log = read_json(run / "history.json", "")["log"]
    assert [entry["step"] for entry in log if "eval_loss" in entry][:2] == [2, 4]
    assert [entry["step"] for entry in log if "loss" in entry] == [2, 4]
    assert open_directory(run).vocabulary is not None


def test_scores_are_those_of_a_sum_by_hand(ground, run):
    """Held-out loss, accuracy and bits per base, one example at a time."""
    corpus = Corpus.open(ground.corpus)
    model = DnazenForMaskedLM.from_released(run)
    matcher = Matcher(GGramVocabulary.load(ground.ggrams))
    strings = token_strings(corpus.tokenizer)
    held = heldout_sequences(corpus, 0.1, 200_000, 0)
    intervals = example_intervals(corpus.offsets, held, 62)
    nats, right, bases, count = 0.0, 0, 0, 0
    states = []
    for number, (start, length) in enumerate(zip(*intervals, strict=True)):
        tokens = np.array([1, *corpus.tokens[start : start + length], 2], dtype=np.int64)
        bounds = np.array([0, len(tokens)])
        key = sequence_keys(1, 0, np.array([number]))  # the seed of the run, and one
        masked = mask(tokens, bounds, matcher, key, MaskingConfig(), corpus.vocab_size)
        found = matcher.match(masked.tokens, bounds)
        with torch.no_grad():
            output = model(
                torch.from_numpy(masked.tokens)[None],
                ggram_ids=torch.from_numpy(found.ggram_ids),
                ggram_offsets=torch.from_numpy(found.slot_offsets),
                cover_token=torch.from_numpy(found.cover_token),
                cover_slot=torch.from_numpy(found.cover_slot),
            )
        logits = output.logits[0]
        if output.ggram_hidden_state is not None:
            states.append(output.ggram_hidden_state.numpy())
        for i in np.flatnonzero(masked.labels != -100):
            truth = int(masked.labels[i])
            nats -= float(logits[i].double().log_softmax(-1)[truth])
            right += int(logits[i].argmax()) == truth
            bases += len(strings[truth])
            count += 1
    metrics = read_json(run / "metrics.json", "")
    assert metrics["eval_predicted_tokens"] == count
    assert metrics["eval_loss"] == pytest.approx(nats / count, rel=1e-5)
    assert metrics["eval_accuracy"] == pytest.approx(right / count, rel=1e-6)
    assert metrics["eval_bits_per_bp"] == pytest.approx(nats / math.log(2) / bases, rel=1e-5)
    found = np.concatenate(states).astype(float)
    away = np.sqrt(((found - found.mean(0)) ** 2).sum(1).mean())
    length = np.sqrt((found**2).sum(1).mean())
    assert metrics["eval_ggram_spread"] == pytest.approx(away / length, rel=1e-4)


def test_ggrams_that_are_all_alike_have_no_spread():
    same = module._sums_of_states(torch.full((5, 3), 2.0))
    assert module._spread(*same[:2].tolist(), same[2:].tolist()) == 0.0
    apart = module._sums_of_states(torch.tensor([[3.0, 0.0], [-3.0, 0.0]]))
    assert module._spread(*apart[:2].tolist(), apart[2:].tolist()) == 1.0


def test_models_can_be_scored_on_the_same_masks_whatever_their_ggrams(ground, tmp_path):
    """The bases a predicted token on average tells which tokens were predicted."""
    found = {}
    for name, changes in {"with": {}, "without": {"ggrams": None}}.items():
        for share in (0.0, None):
            output = tmp_path / f"{name}-{share}"
            metrics = pretrain(
                config_of(ground, output, max_steps=1, heldout_ggram_share=share, **changes)
            )
            bases = metrics["eval_loss"] / metrics["eval_bits_per_bp"]
            found[name, share] = (metrics["eval_predicted_tokens"], round(bases, 4))
    assert found["with", 0.0] == found["without", 0.0]
    assert found["with", None] != found["without", None]


def test_the_command_prints_the_scores(ground, tmp_path, capsys):
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        "max_steps = 1\ntokens_per_batch = 400\nmax_tokens = 64\nheldout_fraction = 0.1\n"
        "[model]\nsize = 'tiny'\n[run]\nprecision = 'float32'\ndevice = 'cpu'\n"
    )
    words = ["--corpus", str(ground.corpus), "-o", str(tmp_path / "out")]
    assert main(["pretrain", str(recipe), *words]) == 0
    out, err = capsys.readouterr()
    scores = dict(line.split("\t") for line in out.splitlines())  # and nothing else on stdout
    metrics = read_json(tmp_path / "out" / "metrics.json", "")
    assert float(scores["eval_loss"]) == pytest.approx(metrics["eval_loss"], rel=1e-5)
    assert set(scores) == {name for name in metrics if name.startswith("eval_")}
    assert "pre-training on" in err
    assert main(["pretrain", str(recipe), *words]) == 2
    assert "not empty" in capsys.readouterr().err


def test_training_learns(ground, tmp_path):
    metrics = pretrain(
        config_of(
            ground,
            tmp_path / "out",
            max_steps=40,
            eval_steps=100,
            save_steps=100,
            tokens_per_batch=1000,
        )
    )
    log = read_json(tmp_path / "out" / "history.json", "")["log"]
    losses = [entry["loss"] for entry in log if "loss" in entry]
    assert losses[0] == pytest.approx(math.log(64), abs=0.3)  # nothing known of 64 tokens
    assert metrics["eval_loss"] < losses[0] - 0.3


# -- one result, however it is come by


def test_the_same_seed_gives_the_same_weights_at_any_number_of_workers(ground, run, tmp_path):
    pretrain(config_of(ground, tmp_path / "two", run=replace(CPU, workers=2)))
    assert_bit_equal(tmp_path / "two", run)
    pretrain(config_of(ground, tmp_path / "other", run=replace(CPU, seed=1), max_steps=1))
    one, other = weights_of(tmp_path / "other"), weights_of(run)
    assert any(not torch.equal(one[name], other[name]) for name in one)


class Interrupt(TrainerCallback):
    """Raises in the step after the first checkpoint, as a killed run ends."""

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == 3:
            raise KeyboardInterrupt


@pytest.mark.parametrize("accumulation", [1, 2])
def test_an_interrupted_run_goes_on_to_the_same_weights(
    ground, run, tmp_path, monkeypatch, accumulation
):
    settings = replace(CPU, gradient_accumulation=accumulation)
    whole = run
    if accumulation > 1:
        whole = tmp_path / "whole"
        pretrain(config_of(ground, whole, run=settings))
    real = module.PretrainTrainer.__init__

    def interrupted(self, **kwargs):
        real(self, **kwargs)
        self.add_callback(Interrupt())

    output = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(module.PretrainTrainer, "__init__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pretrain(config_of(ground, output, run=settings))
    assert not (output / "model.safetensors").exists()
    with pytest.raises(OutputError, match="not empty"):
        pretrain(config_of(ground, output, run=settings))
    pretrain(config_of(ground, output, run=settings, resume=True))
    assert_bit_equal(output, whole)
    one, other = (read_json(d / "metrics.json", "") for d in (output, whole))
    assert {n: v for n, v in one.items() if n != "train_seconds"} == {
        n: v for n, v in other.items() if n != "train_seconds"
    }
    with pytest.raises(OutputError, match="this run is complete"):
        pretrain(config_of(ground, output, run=settings, resume=True))


def test_how_often_a_run_is_looked_at_is_no_part_of_it(ground, run, tmp_path):
    pretrain(config_of(ground, tmp_path / "out", eval_steps=3, save_steps=4))
    assert_bit_equal(tmp_path / "out", run)


def test_a_signal_writes_a_checkpoint_and_the_run_goes_on_from_it(
    ground, run, tmp_path, monkeypatch
):
    step, calls = module.PretrainTrainer.training_step, []

    def signalled(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, *args, **kwargs)

    output = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(module.PretrainTrainer, "training_step", signalled)
        with pytest.raises(Terminated) as caught:
            pretrain(config_of(ground, output, save_steps=9))
    assert "--resume' goes on with it" in caught.value.__notes__[0]
    assert (output / "checkpoints" / "checkpoint-3").is_dir()
    pretrain(config_of(ground, output, save_steps=9, resume=True))
    assert_bit_equal(output, run)


def test_a_run_killed_before_its_weights_stand_has_its_scores(ground, run, tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    output = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(module, "save_directory", killed)
        with pytest.raises(KeyboardInterrupt):
            pretrain(config_of(ground, output))
    assert (output / "metrics.json").is_file()
    assert (output / "history.json").is_file()
    pretrain(config_of(ground, output, resume=True))
    assert_bit_equal(output, run)


@pytest.mark.parametrize("name", ["run", "masking", "corpus"])
def test_another_run_does_not_go_on_with_this_one(
    ground, foreign_ground, tmp_path, monkeypatch, name
):
    output = tmp_path / "out"
    real = module.PretrainTrainer.__init__

    def interrupted(self, **kwargs):
        real(self, **kwargs)
        self.add_callback(Interrupt())

    with monkeypatch.context() as patch:
        patch.setattr(module.PretrainTrainer, "__init__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pretrain(config_of(ground, output))
    changes = {
        "run": {"run": replace(CPU, seed=1)},
        "masking": {"masking": MaskingConfig(rate=0.3)},
        "corpus": {"corpus": foreign_ground.corpus, "ggrams": None},
    }
    with pytest.raises(ConfigError, match=f"was begun with another {name}"):
        pretrain(config_of(ground, output, resume=True, **changes[name]))


FREE_OF_CHANCE = {
    "max_steps": 3,
    "eval_steps": 10,
    "save_steps": 10,
    "model": ShapeConfig(size="tiny", fusion="gated", hidden_dropout_prob=0.0),
}


@pytest.mark.slow
def test_two_processes_train_as_one_that_accumulates(ground, tmp_path):
    """Batches dealt to two gloo processes give one process' weights with twice the batches."""
    run = replace(CPU, gradient_accumulation=2)
    pretrain(config_of(ground, tmp_path / "one", run=run, **FREE_OF_CHANCE))
    script = tmp_path / "two.py"
    script.write_text(
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from conftest import Ground\n"
        "from training.test_pretrain import CPU, FREE_OF_CHANCE, config_of, run_pretrain\n"
        "if __name__ == '__main__':\n"
        "    ground = Ground(*map(Path, sys.argv[3:]))\n"
        "    run_pretrain(config_of(ground, Path(sys.argv[2]), run=CPU, **FREE_OF_CHANCE))\n"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    words = [str(Path(__file__).parents[1]), str(tmp_path / "two"), *map(str, ground)]
    processes = [
        subprocess.Popen(
            [sys.executable, str(script), *words],
            env={
                **os.environ,
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": "2",
                "LOCAL_WORLD_SIZE": "2",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    ends = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ends
    assert "eval_loss" in ends[0][0]
    assert ends[1][0] == ""
    one, two = weights_of(tmp_path / "one"), weights_of(tmp_path / "two")
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, atol=1e-5, rtol=0.0, msg=name)
    scores = [read_json(tmp_path / d / "metrics.json", "") for d in ("one", "two")]
    assert scores[0]["eval_predicted_tokens"] == scores[1]["eval_predicted_tokens"]
    assert scores[0]["eval_loss"] == pytest.approx(scores[1]["eval_loss"], abs=1e-4)


# -- variants


def test_without_ggrams_the_model_is_e4bu_and_its_twin_hides_the_same(
    ground, tmp_path, monkeypatch
):
    batches = {}
    real = module.PretrainTrainer.compute_loss

    def spy(self, model, inputs, *args, **kwargs):
        batches.setdefault(self.args.output_dir, []).append(inputs)
        return real(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(module.PretrainTrainer, "compute_loss", spy)
    changes = {"max_steps": 2, "eval_steps": 9, "save_steps": 9}
    pretrain(config_of(ground, tmp_path / "whole", **changes))
    pretrain(
        config_of(ground, tmp_path / "twin", ggrams=None, mask_ggrams=ground.ggrams, **changes)
    )
    assert open_directory(tmp_path / "twin").vocabulary is None
    assert not any("ggram" in name for name in weights_of(tmp_path / "twin"))
    whole, twin = batches.values()
    for one, other in zip(whole, twin, strict=True):
        for name in ("input_ids", "labels", "attention_mask"):
            assert torch.equal(one[name], other[name])
        assert "ggram_ids" in one
        assert "ggram_ids" not in other


@pytest.mark.parametrize(
    "run",
    [
        replace(CPU, precision="bf16"),
        replace(CPU, gradient_checkpointing=True),
    ],
    ids=["bf16", "checkpointing"],
)
def test_other_ways_to_run_finish(ground, tmp_path, run):
    metrics = pretrain(config_of(ground, tmp_path / "out", max_steps=2, run=run))
    assert math.isfinite(metrics["eval_loss"])
    stored = weights_of(tmp_path / "out")
    assert all(tensor.dtype == torch.float32 for tensor in stored.values())


def test_a_model_of_ours_is_trained_further(ground, run, tmp_path):
    start = {"init": run, "ggrams": None, "max_steps": 1}
    quiet = OptimizerConfig(learning_rate=1e-12, warmup_steps=0)
    pretrain(config_of(ground, tmp_path / "out", optimizer=quiet, **start))
    for name, tensor in weights_of(run).items():
        torch.testing.assert_close(weights_of(tmp_path / "out")[name], tensor)
    assert np.array_equal(
        open_directory(tmp_path / "out").vocabulary.tokens, open_directory(run).vocabulary.tokens
    )
    with pytest.raises(ConfigError, match="has G-grams of its own; leave --ggrams out"):
        pretrain(config_of(ground, tmp_path / "other", init=run))


def test_e4bu_of_dnabert2_gets_a_fresh_ggram_encoder(released, tmp_path, capsys):
    directory = as_dnabert2(released / "checkpoint", tmp_path / "dnabert2")
    genome = tmp_path / "g.fa"
    rng = np.random.default_rng(0)
    genome.write_text(">a\n" + "".join(rng.choice(list("ACGT"), 8000)) + "\n")
    build_corpus(
        settings_of(
            CorpusBuildCommand,
            genomes=(genome,),
            tokenizer=directory,
            output=tmp_path / "corpus",
            window_bp=200,
        )
    )
    corpus = Corpus.open(tmp_path / "corpus")
    vocabulary_of(commonest(corpus, 20), corpus.tokenizer).save(tmp_path / "g.tsv")
    config = settings_of(
        PretrainCommand,
        corpus=tmp_path / "corpus",
        output=tmp_path / "out",
        ggrams=tmp_path / "g.tsv",
        init=directory,
        max_steps=1,
        tokens_per_batch=400,
        max_tokens=64,
        heldout_fraction=0.1,
        model=ShapeConfig(fusion="gated"),
        optimizer=OptimizerConfig(learning_rate=1e-12, warmup_steps=0),
        run=CPU,
    )
    pretrain(config)
    told = capsys.readouterr().err
    assert "has no dnazen.ggram_embeddings, dnazen.ggram_layers, dnazen.fusions: starting" in told
    opened = open_directory(tmp_path / "out").config
    assert (opened.num_hidden_layers, opened.num_hidden_ggram_layers) == (4, 2)
    stored = weights_of(tmp_path / "out")
    assert stored["dnazen.ggram_embeddings.word_embeddings.weight"].shape == (21, 48)
    source = weights_of(released / "checkpoint")
    torch.testing.assert_close(
        stored["dnazen.layers.3.feed_forward.gated.weight"],
        source["bert.encoder.layer.3.mlp.gated_layers.weight"],
    )


# -- refusals


def test_what_does_not_belong_together_is_refused(ground, foreign_ground, tmp_path):
    random_directory(foreign_ground, tmp_path / "foreign")
    for changes in (
        {"ggrams": foreign_ground.ggrams},
        {"mask_ggrams": foreign_ground.ggrams},
        {"ggrams": None, "mask_ggrams": foreign_ground.ggrams},
    ):
        with pytest.raises(InputError, match="was mined with another tokenizer"):
            pretrain(config_of(ground, tmp_path / "out", **changes))
        assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="another tokenizer than this model's; build the corpus"):
        pretrain(config_of(ground, tmp_path / "out", ggrams=None, init=tmp_path / "foreign"))
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_damaged_is_refused_before_the_output_is_made(ground, tmp_path):
    random_directory(ground, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"x" * 50)
    with pytest.raises(InputError, match="not readable as weights"):
        pretrain(config_of(ground, tmp_path / "out", ggrams=None, init=tmp_path / "model"))
    assert not (tmp_path / "out").exists()


def test_a_corpus_of_one_window_is_refused(ground, tmp_path):
    (tmp_path / "g.fa").write_text(">a\n" + "ACGT" * 20 + "\n")
    build_corpus(
        settings_of(
            CorpusBuildCommand,
            genomes=(tmp_path / "g.fa",),
            tokenizer=ground.tokenizer,
            output=tmp_path / "corpus",
        )
    )
    with pytest.raises(InputError, match="a corpus of 1 windows cannot be split"):
        pretrain(config_of(ground, tmp_path / "out", corpus=tmp_path / "corpus"))
    assert not (tmp_path / "out").exists()


def test_an_occupied_output_is_left_alone(ground, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        pretrain(config_of(ground, tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_steps": 0}, "max_steps must be at least 1, got 0"),
        ({"eval_steps": 0}, "eval_steps must be at least 1, got 0"),
        ({"save_steps": 0}, "save_steps must be at least 1, got 0"),
        ({"heldout_tokens": 0}, "heldout_tokens must be at least 1, got 0"),
        ({"max_tokens": 3}, "max_tokens must be 4 to 1048576, got 3"),
        ({"tokens_per_batch": 63}, r"tokens_per_batch must be max_tokens \(64\) to .*, got 63"),
        ({"heldout_fraction": 1.0}, "strictly between 0 and 1, got 1.0"),
    ],
)
def test_settings_out_of_range_are_refused(ground, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        config_of(ground, tmp_path / "out", **changes)


@pytest.mark.parametrize("share", [0.5, 1.2], ids=["weights", "optimizer"])
def test_a_full_disk_is_one_line_and_no_finished_model(ground, run, tmp_path, share):
    """The weights do not fit, or they do and the optimizer's state, twice as large, does not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    room = int(share * (run / "model.safetensors").stat().st_size)
    config = config_of(ground, tmp_path / "out", max_steps=1)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
        with pytest.raises(OutputError, match=r"cannot be written.*; free some space") as caught:
            pretrain(config)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "model.safetensors").exists()
