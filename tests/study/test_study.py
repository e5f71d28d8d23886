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
from dnazen.gue.settings import BenchmarkConfig
from dnazen.model.settings import ShapeConfig
from dnazen.records import read_json
from dnazen.study.study import (
    StudyConfig,
    gue_arms,
    hidden_ggrams,
    parse_study_arms,
    pretrain_config,
)
from dnazen.training.settings import OptimizerConfig, PretrainConfig, RunConfig

ARMS = ("ours: max_size=40", "twin: ggrams=none max_size=40", "fresh: random_of=ours")


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


def settings(ground, gue: Path, output: Path, **changes) -> StudyConfig:
    return replace(
        StudyConfig(
            arms=ARMS,
            corpus=ground.corpus,
            output=output,
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
            gue=BenchmarkConfig(data=gue, tasks=("mouse/3",), seeds=(0, 1), epochs=1, device="cpu"),
        ),
        **changes,
    )


def test_arms_differ_in_what_they_name_and_nothing_else(ground, gue, tmp_path):
    config = settings(ground, gue, tmp_path / "out")
    plain = pretrain_config(config, "a", parse_study_arms(["a:"])["a"], Path("v.tsv"), None)
    assert plain.inputs.ggrams == Path("v.tsv")
    assert plain.inputs.mask_ggrams is None
    assert plain.config.masking.ggram_share == 0.8
    assert plain.output == tmp_path / "out" / "models" / "a"
    masking, model, optimizer = (
        plain.config.masking,
        plain.config.model,
        plain.config.optimizer,
    )
    changes = {
        "ggrams=none": {"ggrams": None},
        "masking=plain": {"masking": replace(masking, ggram_share=0.0)},
        "ggrams=none masking=plain": {
            "ggrams": None,
            "masking": replace(masking, ggram_share=0.0),
        },
        "matches=unhidden": {"masking": replace(masking, matches="unhidden")},
        "fusion=gated": {"model": replace(model, fusion="gated")},
        "ggram_embedding=shared": {"model": replace(model, ggram_embedding="shared")},
        "ggram_layers=0": {"model": replace(model, num_hidden_ggram_layers=0)},
        "max_ggrams=30": {"model": replace(model, max_ggrams=30)},
        "ggram_learning_rate=0.1": {"optimizer": replace(optimizer, ggram_learning_rate=0.1)},
    }
    for text, change in changes.items():
        arm = parse_study_arms([f"a: {text}"])["a"]
        run = pretrain_config(config, "a", arm, Path("v.tsv"), None)
        inputs = plain.inputs._replace(**{k: v for k, v in change.items() if k == "ggrams"})
        settings_changed = {k: v for k, v in change.items() if k != "ggrams"}
        assert run.inputs == inputs, text
        assert run.config == replace(plain.config, **settings_changed), text
    models = gue_arms(replace(config, models=("bases: kmer",)), parse_study_arms(ARMS))
    assert [(m.name, m.kind, Path(m.source).name) for m in models] == [
        ("ours", "dnazen", "ours"),
        ("twin", "dnazen", "twin"),
        ("fresh", "random", "ours"),
        ("bases", "kmer", ""),
    ]


def test_an_arm_may_hide_the_ggrams_of_the_study_and_see_its_own(ground, gue, tmp_path):
    config = settings(ground, gue, tmp_path / "out")
    arm = parse_study_arms(["few: max_size=9 masking=pmi"])["few"]
    run = pretrain_config(config, "few", arm, Path("few.tsv"), hidden_ggrams(config, arm))
    assert run.inputs.ggrams == Path("few.tsv")
    assert run.config.masking.ggram_share == 0.8
    hidden = GGramVocabulary.load(run.inputs.mask_ggrams)
    assert run.inputs.mask_ggrams == tmp_path / "out/ggrams/pmi-1bit.tsv"
    assert len(hidden) > 9


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("", None),
        ("ggrams=none", "pmi-1bit.tsv"),
        ("ggrams=none max_size=9", "pmi-1bit-9.tsv"),
        ("ggrams=none masking=plain", None),
    ],
)
def test_a_twin_hides_what_it_does_not_see(ground, gue, tmp_path, text, hidden):
    config = settings(ground, gue, tmp_path / "out")
    found = hidden_ggrams(config, parse_study_arms([f"a: {text}"])["a"])
    assert found == (None if hidden is None else tmp_path / "out/ggrams" / hidden)


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        ((), "none is pre-trained"),
        (("a: colour=red",), "unknown setting 'colour'"),
        (("a: ggrams=many",), "ggrams must be one of pmi, frequency"),
        (("a: ggram_embedding=none",), "ggram_embedding must be one of own, composed, shared"),
        (("a: min_pmi=high",), "min_pmi cannot be 'high'"),
        (("a:", "a:"), "two are called 'a'"),
        (("a:", "b: random_of=c"), "'c' is no arm that is pre-trained"),
        (("a:", "b: random_of=a fusion=mean"), "random_of stands alone"),
        (("a: fusion",), "expected 'NAME: key=value key=value ...'"),
    ],
)
def test_arms_of_another_form_are_refused(arms, message):
    with pytest.raises(ConfigError, match=message):
        parse_study_arms(arms)


def test_names_of_arms_and_models_are_told_apart(ground, gue, tmp_path):
    config = settings(ground, gue, tmp_path / "out")
    with pytest.raises(ConfigError, match="'ours' is the name of an arm"):
        replace(config, models=("ours: kmer",))
    with pytest.raises(ConfigError, match="no arm 'nobody'"):
        replace(config, reference="nobody")


RECIPE = """
arms = ["ours: max_size=40", "twin: ggrams=none max_size=40", "fresh: random_of=ours"]
models = ["bases: kmer"]
reference = "twin"
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
    assert "was made with another max_steps" in capsys.readouterr().err
    assert main([*words, "--mining.min-count", "7"]) == 2
    assert "was made with another min_count" in capsys.readouterr().err
