from __future__ import annotations

import contextlib
import csv
import io
import json
from pathlib import Path

import pytest

from dnazen.cli import main
from dnazen.commands.demo import DemoCommand, command_lines
from dnazen.ggrams.vocabulary import GGramVocabulary
from dnazen.tokens.tokenizer import load_tokenizer, token_strings
from report.test_document import read


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A demo of the smallest size, and what it printed on stdout."""
    out = tmp_path_factory.mktemp("demo") / "demo"
    words = ["demo", "-o", str(out), "--genome-bp", "20000", "--train", "100"]
    words += ["--pretrain-steps", "10"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            assert main(words) == 0
    return out, printed.getvalue()


@pytest.mark.slow
def test_report_tells_both_arms_and_fetches_nothing(run: tuple[Path, str]) -> None:
    out, _ = run
    page = read((out / "report.html").read_text(encoding="utf-8"))
    assert page.tags.count("svg") == 2  # curves, and a sequence with what lies on it
    assert page.fetched == []
    for arm in ("ggrams", "e4bu"):
        mcc = json.loads((out / f"finetuned-{arm}/test_metrics.json").read_text())["mcc"]
        assert f"{mcc:.3f}" in page.cells
    for line in command_lines(DemoCommand(genome_bp=20000, train=100, pretrain_steps=10)):
        assert any(line in text for text in page.cells)


@pytest.mark.slow
def test_table_on_stdout_has_a_row_an_arm(run: tuple[Path, str]) -> None:
    out, printed = run
    rows = list(csv.reader(printed.splitlines(), delimiter="\t"))
    assert [row[0] for row in rows] == ["arm", "with G-grams", "without (E4BU alone)", "report"]
    assert len({len(row) for row in rows[:3]}) == 1
    for row, arm in zip(rows[1:3], ("ggrams", "e4bu"), strict=True):
        scores = json.loads((out / f"finetuned-{arm}/test_metrics.json").read_text())
        by_column = dict(zip(rows[0], row, strict=True))
        assert by_column["test MCC"] == f"{scores['mcc']:.3f}"
        assert by_column["MCC of k-mers"] == f"{scores['baselines']['k-mers']['mcc']:.3f}"


@pytest.mark.slow
def test_arms_differ_in_their_ggrams_alone(run: tuple[Path, str]) -> None:
    out, _ = run
    rows = {}
    for arm in ("ggrams", "e4bu"):
        config = json.loads((out / f"pretrained-{arm}/config.json").read_text())
        rows[arm] = config["ggram_vocab_size"]
        settings = json.loads((out / f"pretrained-{arm}/run.json").read_text())["settings"]
        settings.pop("output"), settings.pop("ggrams"), settings.pop("mask_ggrams")
        rows[arm, "settings"] = settings
    assert rows["e4bu"] == 0
    assert rows["ggrams"] == len(GGramVocabulary.load(out / "ggrams.tsv")) + 1
    assert rows["ggrams", "settings"] == rows["e4bu", "settings"]


@pytest.mark.slow
def test_ggrams_are_spelt_as_their_tokens(run: tuple[Path, str]) -> None:
    out, _ = run
    vocabulary = GGramVocabulary.load(out / "ggrams.tsv")
    strings = token_strings(load_tokenizer(out / "tokenizer"))
    for number, bases in enumerate(vocabulary.bases, start=1):
        assert "".join(strings[token] for token in vocabulary.ggram(number)) == bases


def test_a_folder_that_is_no_demo_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "precious.txt").write_text("x")
    (tmp_path / "simulated").mkdir()
    assert main(["demo", "-o", str(tmp_path), "--overwrite"]) == 2
    assert "not empty" in capsys.readouterr().err
    assert (tmp_path / "precious.txt").read_text() == "x"


@pytest.mark.parametrize("words", [["--train", "1"], ["--seed", "-1"], ["--pretrain-steps", "0"]])
def test_a_setting_that_no_step_could_use_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert main(["demo", "-o", str(tmp_path / "d"), *words]) == 2
    assert f"{words[0][2:].replace('-', '_')} must be" in capsys.readouterr().err
    assert not (tmp_path / "d").exists()
