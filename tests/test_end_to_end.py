"""The quick start, run as written on a 20 kb genome, the tutorials and the docs' Python on top."""

from __future__ import annotations

import csv
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dnazen.cli import main

ROOT = Path(__file__).parents[1]


def blocks(page: str, language: str, after: str = "") -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert after in text
    return re.findall(rf"```{language}\n(.*?)```", text[text.index(after) :], flags=re.DOTALL)


@pytest.fixture(scope="module")
def short_trainings() -> Iterator[None]:
    """Fine-tuning aims at few steps, not at a good model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dnazen.training.settings.AUTO_STEPS", 100)
        yield


@pytest.fixture(scope="module")
def quick_start(
    tmp_path_factory: pytest.TempPathFactory, few_draws: None, short_trainings: None
) -> Path:
    folder = tmp_path_factory.mktemp("quick_start")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for line in blocks("docs/quickstart.md", "sh")[0].splitlines():
            words = shlex.split(line)
            assert words[0] == "dnazen"
            assert main(words[1:]) == 0, line
    return folder


@pytest.mark.slow
def test_quick_start_predicts_every_test_sequence(quick_start: Path) -> None:
    with (quick_start / "predictions.tsv").open() as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    assert len(rows) == len((quick_start / "sim/test.csv").read_text().splitlines()) - 1
    for row in rows:
        chances = {name[2:]: float(p) for name, p in row.items() if name.startswith("p_")}
        assert sum(chances.values()) == pytest.approx(1, abs=1e-5)
        assert row["prediction"] == max(chances, key=lambda name: chances[name])


@pytest.mark.slow
def test_predict_agrees_with_the_test_predictions_of_finetune(quick_start: Path) -> None:
    def chances(path: Path) -> list[float]:
        with path.open() as handle:
            return [float(row["p_1"]) for row in csv.DictReader(handle, delimiter="\t")]

    mine = chances(quick_start / "finetuned/test_predictions.tsv")
    assert chances(quick_start / "predictions.tsv") == pytest.approx(mine, abs=1e-5)


@pytest.mark.slow
def test_reported_mcc_is_that_of_the_predictions(quick_start: Path) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    with (quick_start / "finetuned/test_predictions.tsv").open() as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    expected = sklearn.matthews_corrcoef(
        [row["label"] for row in rows], [row["prediction"] for row in rows]
    )
    scores = json.loads((quick_start / "finetuned/test_metrics.json").read_text())
    assert scores["mcc"] == pytest.approx(expected)


@pytest.mark.slow
def test_every_run_left_its_record(quick_start: Path) -> None:
    for run in ("pretrained", "finetuned"):
        record = json.loads((quick_start / run / "run.json").read_text())
        assert record["settings"]["run"]["seed"] == 0
        assert all(len(file["sha256"]) == 64 for file in record["inputs"])
        assert not (quick_start / run / "checkpoints").exists()


@pytest.mark.slow
def test_the_model_goes_to_the_released_format_and_back(quick_start: Path, tmp_path: Path) -> None:
    there, back = tmp_path / "released", tmp_path / "ours"
    assert (
        main(["convert", str(quick_start / "pretrained"), "--to", "released", "-o", str(there)])
        == 0
    )
    assert main(["convert", str(there), "-o", str(back)]) == 0
    for name in ("model.safetensors", "tokenizer.json"):
        assert (back / name).read_bytes() == (quick_start / "pretrained" / name).read_bytes()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set")
def test_python_of_the_model_page_runs(quick_start: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(quick_start)
    names: dict[str, Any] = {}
    inputs, tools, trainer = blocks("docs/model.md", "python")
    for block in (*blocks("README.md", "python"), inputs):
        exec(compile(block, "docs", "exec"), names)
    assert names["states"].shape[:2] == names["batch"]["input_ids"].shape
    exec(compile(tools, "docs", "exec"), names)
    expected = [prediction.probabilities for prediction in names["predictions"]]
    for scores, probabilities in zip(names["scores"], expected, strict=True):
        assert {s["label"]: s["score"] for s in scores} == pytest.approx(probabilities, abs=1e-5)
    chances = names["logits"].softmax(1).numpy()
    assert chances == pytest.approx(np.array([[*p.values()] for p in expected]), abs=1e-5)
    exec(compile(trainer, "docs", "exec"), names)
    assert Path("trained/ggrams.tsv").exists()


@pytest.mark.slow
def test_python_of_the_explain_page_runs(
    quick_start: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(quick_start)
    (block,) = blocks("docs/explain.md", "python")
    names: dict[str, object] = {}
    exec(compile(block, "docs", "exec"), names)
    explanation = names["explanation"]
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(explanation.ggrams)  # type: ignore[attr-defined]


@pytest.mark.slow
def test_the_variants_page_does_what_it_says(
    quick_start: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(quick_start)
    page = (ROOT / "docs/variants.md").read_text(encoding="utf-8")
    Path("in.vcf").write_text(blocks("docs/variants.md", "vcf")[0], encoding="utf-8")
    assert main(["variants", "pretrained", "sim/genome.fa", "in.vcf", "-o", "out.vcf"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] in page
    for line in "".join(blocks("docs/variants.md", "sh")).splitlines():
        assert main(shlex.split(line)[1:]) == 0, line
    assert Path("out.vcf.gz.tbi").exists()
    assert Path("mutated/llr.png").exists()
    for block in blocks("docs/variants.md", "python"):
        exec(compile(block, "docs", "exec"), {})
    assert "chr1 1000 T A " in capsys.readouterr().out


@pytest.mark.slow
def test_python_of_the_embedding_page_runs(
    quick_start: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(quick_start)
    names: dict[str, object] = {}
    for block in blocks("docs/embedding.md", "python"):
        exec(compile(block, "docs", "exec"), names)
    assert names["vectors"].shape[0] == 3  # type: ignore[attr-defined]
    assert "".join(token for _, _, token, _ in names["tokens"]) == "ACGTACGTTAGGC"  # type: ignore[attr-defined]


@pytest.mark.slow
def test_the_dataset_page_leads_to_a_classifier(
    quick_start: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(quick_start)
    for line in "".join(blocks("docs/dataset.md", "sh")).splitlines():
        assert main(shlex.split(line)[1:]) == 0, line
    with Path("data/test.csv").open() as handle:
        names = [row["name"] for row in csv.DictReader(handle)]
    with Path("data-predictions.tsv").open() as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    assert [row["name"] for row in rows] == names
    assert {row["prediction"] for row in rows} <= {"0", "1"}
    capsys.readouterr()
    (block,) = blocks("docs/dataset.md", "python")
    exec(compile(block, "docs", "exec"), {})
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "train",
        "dev",
        "test",
    ]


def follow(tutorial: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Run the blocks of a tutorial as its reader does; what they print, on both streams.

    A simulated genome that an earlier tutorial made is not made again.
    """
    page = f"docs/tutorials/{tutorial}.md"
    text = (ROOT / page).read_text(encoding="utf-8")
    names: dict[str, object] = {}
    capsys.readouterr()
    for language, block in re.findall(r"```(sh|python)\n(.*?)```", text, flags=re.DOTALL):
        if language == "python":
            exec(compile(block, page, "exec"), names)
            continue
        for line in block.splitlines():
            words = shlex.split(line)[1:]
            if words[0] != "simulate" or not Path("my").exists():
                assert main(words) == 0, line
    return "".join(capsys.readouterr())


@pytest.mark.slow
def test_the_tutorial_on_ggrams_prints_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("logomaker")
    monkeypatch.chdir(tmp_path)
    printed = follow("ggrams", capsys)
    for block in blocks("docs/tutorials/ggrams.md", "text"):
        for line in block.splitlines():
            assert line in printed


@pytest.mark.slow
def test_the_tutorials_on_models_do_what_they_say(
    quick_start: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a trained model says differs in digits from machine to machine."""
    pytest.importorskip("peft")
    monkeypatch.chdir(quick_start)
    data, *_ = blocks("docs/tutorials/bed.md", "text")
    printed = follow("bed", capsys)
    assert all(line in printed for line in data.splitlines())
    ranked = re.findall(r"^chr\S+ \d+ (\S+) [ACGT] [ACGT] [+-]", follow("vcf", capsys), flags=re.M)
    assert len(ranked) == 10
    assert sum(name != "anywhere" for name in ranked) > 5
    loaded, kind, *_ = blocks("docs/tutorials/library.md", "text")
    assert loaded + kind in follow("library", capsys)
