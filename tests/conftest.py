"""Tiny ground that several test modules stand on: a genome, its tokenizer, corpus and G-grams."""

from __future__ import annotations

import os
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: threads cost tiny models more

import numpy as np
import pytest
from tokenizers import Tokenizer

from dnazen.commands.corpus_build import CorpusBuildCommand
from dnazen.commands.corpus_build import run as build_corpus
from dnazen.ggrams.vocabulary import GGramVocabulary
from dnazen.tokens.corpus import Corpus
from dnazen.tokens.tokenizer import save_tokenizer, tokenizer_sha256, train
from settings_of import settings_of


class Ground(NamedTuple):
    """Paths of one tiny genome on its way to a model."""

    genome: Path
    tokenizer: Path
    corpus: Path
    ggrams: Path


def vocabulary_of(grams, tokenizer: Tokenizer) -> GGramVocabulary:
    """A vocabulary of the G-grams given, in their order."""
    return GGramVocabulary(
        tokens=np.array([t for gram in grams for t in gram], dtype=np.uint16),
        offsets=np.cumsum([0, *map(len, grams)]).astype(np.int64),
        counts=np.full(len(grams), 7, dtype=np.int64),
        pmi=np.ones(len(grams), dtype=np.float32),
        vocab_size=tokenizer.get_vocab_size(),
        tokenizer_sha256=tokenizer_sha256(tokenizer),
    )


def commonest(corpus: Corpus, size: int):
    """The commonest pairs and triples of tokens of a corpus; enough of a mine for these tests."""
    counts = Counter()
    for i in range(len(corpus)):
        tokens = corpus[i].tolist()
        counts.update(pairwise(tokens))
        counts.update(zip(tokens, tokens[1:], tokens[2:], strict=False))
    return [gram for gram, _ in counts.most_common(size)]


def make_ground(folder: Path, seed: int, vocab_size: int = 64, bases: int = 20_000) -> Ground:
    """20 kb in two records, half of it copies of eight motifs, so that there is much to learn."""
    rng = np.random.default_rng(seed)
    motifs = ["".join(rng.choice(list("ACGT"), 30)) for _ in range(8)]
    text = "".join(
        motifs[rng.integers(8)] if rng.random() < 0.5 else "".join(rng.choice(list("ACGT"), 30))
        for _ in range(bases // 30)
    )
    cut = len(text) // 3
    ground = Ground(folder / "g.fa", folder / "tokenizer", folder / "corpus", folder / "ggrams.tsv")
    ground.genome.write_text(f">a\n{text[:cut]}\n>b\n{text[cut:]}\n")
    lines = [text[i : i + 500] for i in range(0, len(text), 500)]
    tokenizer = train(lines, vocab_size=vocab_size)
    save_tokenizer(tokenizer, ground.tokenizer)
    build_corpus(
        settings_of(
            CorpusBuildCommand,
            genomes=(ground.genome,),
            tokenizer=ground.tokenizer,
            output=ground.corpus,
            window_bp=200,
        )
    )
    grams = commonest(Corpus.open(ground.corpus), 60)
    vocabulary_of(grams, tokenizer).save(ground.ggrams)
    return ground


@pytest.fixture(autouse=True)
def threads_as_they_were():
    """What a benchmark under test sets is undone: with more threads sums differ in a last digit."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


@pytest.fixture(scope="session")
def ground(tmp_path_factory) -> Ground:
    return make_ground(tmp_path_factory.mktemp("ground"), seed=1)


@pytest.fixture(scope="session")
def foreign_ground(tmp_path_factory) -> Ground:
    """Another genome with another tokenizer: nothing of it goes with ``ground``."""
    return make_ground(tmp_path_factory.mktemp("foreign"), seed=2, vocab_size=50, bases=6_000)


@pytest.fixture(scope="session")
def released() -> Path:
    """The released-format checkpoints with the outputs of the released code."""
    folder = Path(__file__).parents[2] / "shared" / "fixtures" / "released_format_tiny"
    if not folder.is_dir():
        pytest.skip("the released_format_tiny fixture is not here")
    return folder


@pytest.fixture(scope="module")
def few_draws():
    """Intervals of a few draws, where a fine-tuning is run for another reason than these."""
    from dnazen.training import intervals

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intervals, "DRAWS", 5)
        patch.setattr(intervals, "_LEAST_DRAWS", 5)
        yield


@pytest.fixture
def flex_goes_backward(monkeypatch):
    """FlexAttention's reference implementation knows the way back on CPUs, but may not be asked."""
    from torch.nn.attention import flex_attention

    monkeypatch.setattr(flex_attention, "_validate_device", lambda *tensors: None)
