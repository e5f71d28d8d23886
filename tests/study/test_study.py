"""A study end to end on a tiny genome, and what its arms stand for."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dnazen.cli import main
from dnazen.errors import ConfigError
from dnazen.ggrams.vocabulary import GGramVocabulary
from dnazen.gue.settings import BenchmarkConfig, BenchmarkModel, TaskSettings
from dnazen.model.settings import ShapeConfig
from dnazen.records import read_json, write_json
from dnazen.study.settings import StudyConfig
from dnazen.study.study import benchmark_models, is_pretrained, pretraining_of
from dnazen.training.pretrain import pretraining_identity
from dnazen.training.settings import OptimizerConfig, PretrainConfig, RunConfig

ARMS = {
    "ours": {"mining": {"max_size": 40}},
    "twin": {"ggrams": "none", "mining": {"max_size": 40}},
    "fresh": {"random_of": "ours"},
}


@pytest.fixture(scope="module")
def gue(tmp_path_factory) -> Path:
    """Two tasks in GUE's layout, told apart by their composition."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("gue")
    for task in ("mouse/3", "prom/prom_core_tata"):
        (folder / task).mkdir(parents=True)
        for split, rows in (("train", 40), ("dev", 20), ("test", 30)):
            lines = ["sequence,label"]
            for number in range(rows):
                odds = [0.4, 0.1, 0.1, 0.4] if number % 2 else [0.1, 0.4, 0.4, 0.1]
                lines.append(f"{''.join(rng.choice(list('ACGT'), 60, p=odds))},{number % 2}")
            (folder / task / f"{split}.csv").write_text("\n".join(lines) + "\n")
    return folder


def settings(ground, gue: Path, **changes) -> StudyConfig:
    return replace(
        StudyConfig(
            arms=ARMS,
            corpus=ground.corpus,
            pretrain=PretrainConfig(
                max_steps=4,
                tokens_per_batch=400,
                max_tokens=64,
                heldout_fraction=0.1,
                heldout_ggram_share=0.0,
                eval_steps=2,
                model=ShapeConfig(size="tiny"),
                optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=1),
                run=RunConfig(device="cpu", precision="float32"),
            ),
            gue=BenchmarkConfig(
                data=gue,
                tasks=("mouse/3",),
                seeds=(0, 1),
                common=TaskSettings(epochs=1),
                device="cpu",
            ),
        ),
        **changes,
    )


def arm_of(config: StudyConfig, table: dict):
    return replace(config, arms={"a": table}).resolved_arms["a"]


def test_arms_differ_in_what_they_name_and_nothing_else(ground, gue, tmp_path):
    config = settings(ground, gue)
    out = tmp_path / "out"
    plain = pretraining_of(config, out, "a", arm_of(config, {}))
    assert plain.inputs.ggrams == out / "ggrams" / "pmi-1bit.tsv"
    assert plain.inputs.mask_ggrams is None
    assert plain.config.masking.ggram_share == 0.8
    assert plain.output == out / "models" / "a"
    no_share = replace(plain.config.masking, ggram_share=0.0)
    changes = [
        ({"ggrams": "none"}, {"ggrams": None, "mask_ggrams": plain.inputs.ggrams}),
        ({"masking": {"ggram_share": 0}}, {"masking": no_share}),
        (
            {"ggrams": "none", "masking": {"ggram_share": 0.0}},
            {"ggrams": None, "masking": no_share},
        ),
        (
            {"masking": {"matches": "unhidden"}},
            {"masking": replace(plain.config.masking, matches="unhidden")},
        ),
        ({"model": {"fusion": "gated"}}, {"model": replace(plain.config.model, fusion="gated")}),
        (
            {"model": {"ggram-embedding": "shared", "num_hidden_ggram_layers": 0}},
            {
                "model": replace(
                    plain.config.model, ggram_embedding="shared", num_hidden_ggram_layers=0
                )
            },
        ),
        ({"model": {"max_ggrams": 30}}, {"model": replace(plain.config.model, max_ggrams=30)}),
        (
            {"optimizer": {"ggram_learning_rate": 0.1}},
            {"optimizer": replace(plain.config.optimizer, ggram_learning_rate=0.1)},
        ),
    ]
    for table, change in changes:
        run = pretraining_of(config, out, "a", arm_of(config, table))
        inputs = {k: v for k, v in change.items() if k in plain.inputs._fields}
        changed = {k: v for k, v in change.items() if k not in inputs}
        assert run.inputs == plain.inputs._replace(**inputs), table
        assert run.config == replace(plain.config, **changed), table


def test_arms_and_other_models_are_compared(ground, gue, tmp_path):
    config = settings(ground, gue, models=(BenchmarkModel("bases", "kmer"),))
    assert [(m.name, m.kind, Path(m.source).name) for m in benchmark_models(config, tmp_path)] == [
        ("ours", "dnazen", "ours"),
        ("twin", "dnazen", "twin"),
        ("fresh", "random", "ours"),
        ("bases", "kmer", ""),
    ]


def test_an_arm_may_hide_the_ggrams_of_the_study_and_see_its_own(ground, gue, tmp_path):
    config = settings(ground, gue)
    arm = arm_of(config, {"hides": "study", "mining": {"max_size": 9}})
    run = pretraining_of(config, tmp_path / "out", "few", arm)
    assert run.inputs.ggrams == tmp_path / "out/ggrams/pmi-1bit-9.tsv"
    assert run.config.masking.ggram_share == 0.8
    hidden = GGramVocabulary.load(run.inputs.mask_ggrams)
    assert run.inputs.mask_ggrams == tmp_path / "out/ggrams/pmi-1bit.tsv"
    assert len(hidden) > 9


@pytest.mark.parametrize(
    ("table", "hidden"),
    [
        ({}, None),
        ({"ggrams": "none"}, "pmi-1bit.tsv"),
        ({"ggrams": "none", "mining": {"max_size": 9}}, "pmi-1bit-9.tsv"),
        ({"ggrams": "none", "masking": {"ggram_share": 0.0}}, None),
    ],
)
def test_a_twin_hides_what_it_does_not_see(ground, gue, tmp_path, table, hidden):
    config = settings(ground, gue)
    run = pretraining_of(config, tmp_path / "out", "a", arm_of(config, table))
    assert run.inputs.mask_ggrams == (None if hidden is None else tmp_path / "out/ggrams" / hidden)


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        ({}, "none is pre-trained"),
        ({"a": {"colour": "red"}}, "arms.a.colour: unknown setting"),
        ({"a": {"ggrams": "many"}}, "arms.a.ggrams: expected one of pmi, frequency"),
        (
            {"a": {"model": {"ggram_embedding": "none"}}},
            "arms.a.model.ggram_embedding: expected one of own, composed, shared",
        ),
        ({"a": {"mining": {"min_pmi": "high"}}}, "arms.a.mining.min_pmi: expected a number"),
        ({"a": {"mining": {"method": "random"}}}, "arms.a.mining: .*leave it out"),
        ({"a": {"masking": {"ggram_share": 1.5}}}, "^arms.a.masking.ggram_share: .*ggram_share"),
        ({"a": {"masking": 1}}, "arms.a.masking: is a table"),
        ({"a": {}, "b": {"random_of": "c"}}, "'c' is no arm that is pre-trained"),
        ({"a": {}, "b": {"random_of": "a", "model": {}}}, "random_of stands alone"),
        ({"../../evil": {}}, "'../../evil' cannot be a name"),
        ({"/absolute": {}}, "cannot be a name"),
        ({"..": {}}, "cannot be a name"),
        ({"": {}}, "cannot be a name"),
        ({"a" * 101: {}}, "cannot be a name"),
    ],
)
def test_arms_that_cannot_be_are_refused(ground, gue, arms, message):
    with pytest.raises(ConfigError, match=message):
        settings(ground, gue, arms=arms)


def test_names_of_arms_and_models_are_told_apart(ground, gue):
    config = settings(ground, gue)
    with pytest.raises(ConfigError, match="'ours' is the name of an arm"):
        replace(config, models=(BenchmarkModel("ours", "kmer"),))
    with pytest.raises(ConfigError, match="no arm 'nobody'"):
        replace(config, reference="nobody")


def test_an_interrupted_arm_goes_on_with_the_same_settings_alone(ground, gue, tmp_path):
    config = settings(ground, gue)
    run = pretraining_of(config, tmp_path / "out", "a", arm_of(config, {}))
    assert not is_pretrained(run)
    run.output.mkdir(parents=True)
    identity = pretraining_identity(run.inputs, run.config)
    write_json(run.output / "run.json", {"identity": identity})
    assert not is_pretrained(run)  # begun, and the same
    assert not is_pretrained(run._replace(config=replace(run.config, save_steps=7)))
    optimizer = replace(run.config.optimizer, learning_rate=0.05)
    with pytest.raises(ConfigError, match=r"optimizer\.learning_rate: 0\.001, now 0\.05"):
        is_pretrained(run._replace(config=replace(run.config, optimizer=optimizer)))
    few = arm_of(config, {"mining": {"max_size": 9}})
    with pytest.raises(ConfigError, match="another ggrams"):
        is_pretrained(pretraining_of(config, tmp_path / "out", "a", few))


RECIPE = """
reference = "twin"
[models.bases]
kind = "kmer"
[arms.ours.mining]
max-size = 40
[arms.twin]
ggrams = "none"
mining = { max_size = 40 }
[arms.fresh]
random_of = "ours"
[pretrain]
max-steps = 4
tokens-per-batch = 400
max-tokens = 64
heldout-fraction = 0.1
heldout-ggram-share = 0.0
eval-steps = 2
model.size = "tiny"
run.device = "cpu"
run.precision = "float32"
[gue]
tasks = ["mouse/3"]
seeds = [0, 1]
epochs = 1
device = "cpu"
"""


@pytest.mark.slow
def test_a_study_goes_from_a_corpus_to_a_report_and_goes_on(ground, gue, tmp_path, capsys):
    (tmp_path / "study.toml").write_text(RECIPE)
    out = tmp_path / "out"
    words = ["study", str(tmp_path / "study.toml"), "--corpus", str(ground.corpus)]
    words += ["--gue.data", str(gue), "-o", str(out)]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1] == f"report\t{out / 'report' / 'report.html'}"
    vocabulary = GGramVocabulary.load(next((out / "ggrams").glob("*.tsv")))
    excluded = [Path(f["path"]).name for f in vocabulary.provenance["excluded"]["files"]]
    assert excluded == ["dev.csv", "test.csv"]
    twin = read_json(out / "models" / "twin" / "run.json", "")["settings"]
    assert (twin["ggrams"], twin["mask_ggrams"] is None) == (None, False)
    predicted = {
        read_json(path, "")["eval_predicted_tokens"] for path in out.glob("models/*/metrics.json")
    }
    assert len(predicted) == 1  # the same masks
    page = (out / "report" / "report.html").read_text()
    assert "Pre-training" in page
    for name in ("ours", "twin", "fresh", "bases"):
        assert f">{name}<" in page

    # Again: nothing is done anew; with another task only that is.
    before = {path: path.stat().st_mtime_ns for path in out.glob("models/*/model.safetensors")}
    cells = {path: path.stat().st_mtime_ns for path in out.glob("gue/cells/**/cell.json")}
    assert len(cells) == 8
    more = ["--gue.tasks", "mouse/3", "prom/prom_core_tata"]
    assert main(words + more) == 2  # the G-grams were mined without leaving its test out
    assert "was mined without leaving out" in capsys.readouterr().err
    shutil.rmtree(out / "gue" / "cells" / "ours")
    assert main([*words, "--report-only"]) == 0
    assert not (out / "gue" / "cells" / "ours").exists()
    part = (out / "report" / "report.html").read_text()
    assert "Pre-training" in part
    assert part != page
    assert main(words) == 0
    assert before == {path: path.stat().st_mtime_ns for path in before}
    kept = [path for path in cells if "ours" not in path.parts]
    assert all(path.stat().st_mtime_ns == cells[path] for path in kept)
    assert len(list(out.glob("gue/cells/ours/**/cell.json"))) == 2

    nowhere = ["-o", str(tmp_path / "nowhere"), "--report-only"]
    assert main([*words[:-2], *nowhere]) == 2
    assert not (tmp_path / "nowhere").exists()
    assert main([*words, "--pretrain.max-steps", "5"]) == 2
    assert "another max_steps" in capsys.readouterr().err
    assert main([*words, "--mining.min-count", "7"]) == 2
    assert "another min_count" in capsys.readouterr().err
