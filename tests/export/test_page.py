"""The page in a browser without a network, from a file, against the library's own numbers."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from browser import CHROMIUM, Browser
from directories import classifier_with_views, random_directory
from dnazen.cli import main
from dnazen.export import runtime
from dnazen.library import load
from dnazen.variation.alignment import tokenise

pytest.importorskip("onnxscript")

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
needs_runtime = pytest.mark.skipif(
    not runtime.cached().exists(),
    reason="needs onnxruntime-web in the cache: run 'dnazen export MODEL --page FILE' once",
)
SEQUENCE = "GGCTATAAAAGGCGCacguNNNNGATCGGCTRGCTTAGCATTTT"
CLEAN = SEQUENCE.upper().replace("U", "T").replace("R", "N")


def made(place, folder):
    page = folder / "page.html"
    assert main(["export", str(place), "--page", str(page)]) == 0
    return place, page


@pytest.fixture(scope="module")
def classifier(ground, tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifier")
    return made(classifier_with_views(ground, folder / "m", strands="average"), folder)


@pytest.fixture(scope="module")
def masked(ground, tmp_path_factory):
    folder = tmp_path_factory.mktemp("masked")
    random_directory(ground, folder / "m", initializer_range=0.3, ggram_embedding="composed")
    return made(folder / "m", folder)


@pytest.fixture
def browse(tmp_path):
    browsers = []

    def start(page, **how):
        browsers.append(Browser(page, tmp_path / f"profile{len(browsers)}", **how))
        wait(browsers[-1], "ready")
        return browsers[-1]

    yield start
    for browser in browsers:
        browser.close()
    assert not any(browser.problems for browser in browsers)


def text_of(browser, name):
    return browser.evaluate(f"document.getElementById('{name}')?.textContent")


def wait(browser, word):
    """Until the page says a word, or what went wrong."""
    for _ in range(600):
        if problem := text_of(browser, "problem"):
            return problem
        if text_of(browser, "status") == word:
            return ""
        time.sleep(0.1)
    raise AssertionError(text_of(browser, "status"))


def put(browser, script):
    """Put text, a JavaScript expression, into the page, and have it read by the keyboard."""
    browser.evaluate(
        f"document.getElementById('sequences').value = {script};"
        "document.getElementById('status').textContent = '';"
        "document.getElementById('problem').textContent = '';"
        "document.getElementById('read').focus()"
    )
    enter = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
    for kind in ("keyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, **enter)
    return wait(browser, "done")


def rows_of(browser, name):
    lines = [line.split("\t") for line in browser.evaluate(f"SHOWN.{name}").splitlines()]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]


def numbers(rows, *columns):
    return np.array([[float(row[c].replace("NA", "nan")) for c in columns] for row in rows])


def assert_changes_are(place, rows):
    changes = numbers(rows, "to_A", "to_C", "to_G", "to_T")
    expected = load(place, "cpu").score_mutations(SEQUENCE)[:, :, 0]
    assert np.nanmax(np.abs(expected)) > 0.01
    assert np.allclose(changes, expected, atol=1e-4, equal_nan=True)


@needs_browser
@needs_runtime
@pytest.mark.slow
def test_a_classifier_on_a_page(classifier, browse):
    place, page = classifier
    browser = browse(page)
    assert put(browser, json.dumps(f">one\n{SEQUENCE}\n>two x\nACGT\nTTGA\n")) == ""
    model = load(place, "cpu")
    first, second = rows_of(browser, "text")
    one, two = model.predict([SEQUENCE, "ACGTTTGA"])
    for row, prediction in ((first, one), (second, two)):
        assert row["prediction"] == prediction.label
        for label, probability in prediction.probabilities.items():
            assert float(row[f"p_{label}"]) == pytest.approx(probability, abs=1e-4)
    rows = rows_of(browser, "bases")
    assert "".join(row["base"] for row in rows) == CLEAN
    hidden = [CLEAN[:n] + "N" + CLEAN[n + 1 :] for n in range(len(CLEAN))]
    odds = [p.logits[1] - p.logits[0] for p in model.predict([SEQUENCE, *hidden])]
    expected = odds[0] - np.array(odds[1:])
    assert np.abs(numbers(rows, "contribution")[:, 0] - expected).max() < 1e-4
    assert_changes_are(place, rows)


@needs_browser
@needs_runtime
@pytest.mark.slow
def test_a_masked_model_on_a_page(masked, browse):
    place, page = masked
    browser = browse(page)
    assert put(browser, json.dumps(SEQUENCE)) == ""
    rows = rows_of(browser, "bases")
    assert_changes_are(place, rows)
    model = load(place, "cpu")
    by_token = model.log_likelihood([SEQUENCE])[0].by_token
    clean = CLEAN.encode()
    ends = tokenise(model.tokenizer, [clean])[clean].ends
    expected = np.repeat(by_token, np.diff([0, *ends]))
    values = numbers(rows, "token_log_likelihood")[:, 0]
    assert np.allclose(values, expected, atol=1e-4, equal_nan=True)
    assert "G-gram" in text_of(browser, "detail")


@needs_browser
@needs_runtime
@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
def test_on_a_phone_nothing_is_cut_off(masked, browse, dark):
    browser = browse(masked[1], width=390, dark=dark)
    assert put(browser, json.dumps(SEQUENCE * 3)) == ""
    assert browser.evaluate("document.documentElement.scrollWidth") == 390
    background = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(20, 24, 28)" if dark else "rgb(255, 255, 255)")


@needs_browser
@needs_runtime
@pytest.mark.slow
def test_what_a_page_refuses(masked, browse):
    browser = browse(masked[1])
    assert "is no letter of DNA; is it a protein?" in put(browser, "'>p\\nMKVLAAGE'")
    assert "longer than 5 Mb" in put(browser, "'ACGTA'.repeat(1100000)")
    assert "this model reads 1024 at most" in put(browser, "'ACGTTGCATC'.repeat(1500)")
    assert "There is no sequence" in put(browser, "' '")
    assert "has no A, C, G or T" in put(browser, "'NNN'")
    assert put(browser, "'ACGT'") == ""  # and goes on


@needs_runtime
def test_a_damaged_runtime_is_refused(tmp_path, monkeypatch, ground, capsys):
    random_directory(ground, tmp_path / "m")
    (tmp_path / "dnazen").mkdir()
    shutil.copy(Path(__file__), tmp_path / "dnazen" / runtime.cached().name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["export", str(tmp_path / "m"), "--page", str(tmp_path / "p.html")]) == 2
    assert "not the file that the registry has" in capsys.readouterr().err
    assert not (tmp_path / "p.html").exists()


def test_without_a_network_it_says_where_to_put_the_runtime(tmp_path, monkeypatch, ground, capsys):
    random_directory(ground, tmp_path / "m")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(runtime, "_ADDRESS", "http://127.0.0.1:9/none.tgz")
    assert main(["export", str(tmp_path / "m"), "--page", str(tmp_path / "p.html")]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert f"put it at {tmp_path / 'dnazen'}" in message
