"""What do G-grams help to guess? Losses of pre-trained models on the same hidden tokens.

    python benchmarks/hidden.py STUDY/models/e4bu STUDY/models/dnazen ... \\
        --corpus CORPUS --ggrams STUDY/ggrams/pmi-1bit.tsv

reads batches of the corpus that come after those of the pre-training, so that no model has seen
them (the models must have been trained alike, for less than a pass). Whole G-grams of a vocabulary
are hidden, and then single tokens. Losses are told apart by what a model sees in the token's place:
``[MASK]``, a token drawn at random, or the token itself, kept. A row a model, masking and kind:
nats a token, and the difference from the first model with its standard error over batches.

A model is shown G-grams where its training showed them (``masking.matches``). ``--ablate`` reads
each that has some twice more: with the embeddings of the G-grams of a batch permuted, so that what
is covered is as it was but not by what, and without any.

A second table tells how unlike G-grams are to each model: the length of their mean state, after the
embeddings (0) and each layer of the G-gram encoder, and how far states lie from it.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
import tyro
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from dnazen.ggrams.masking import NO_LABEL
from dnazen.ggrams.matching import Matcher
from dnazen.ggrams.settings import MaskingConfig
from dnazen.ggrams.vocabulary import GGramVocabulary
from dnazen.model.batches import Collator
from dnazen.model.directory import open_directory
from dnazen.model.modeling import DnazenForMaskedLM
from dnazen.records import read_json
from dnazen.tokens.corpus import Corpus
from dnazen.tokens.special import MASK
from dnazen.training.batch_plan import BatchPlan, ExampleKey
from dnazen.training.examples import PretrainDataset, example_intervals, heldout_sequences

Ablation = Literal["permuted", "without"]
KINDS = ("[MASK]", "random", "kept")


@dataclass(frozen=True, kw_only=True)
class HiddenConfig:
    """Compare models on hidden tokens, by what stands in the tokens' place."""

    models: tyro.conf.Positional[tuple[Path, ...]]
    """Directories that 'dnazen pretrain' wrote with the same corpus, seed and batches."""
    corpus: Path
    """The corpus they were trained on."""
    ggrams: Path
    """The G-grams that are hidden whole."""
    batches: int = 60
    """Batches to read."""
    ablate: bool = False
    """Read the models with permuted G-grams, and with none, too."""


Sums = dict[tuple[str, str], list[tuple[float, int]]]
"""Summed nats and tokens of each batch, by masking and kind."""


def fresh_batches(config: HiddenConfig, settings: dict[str, Any], corpus: Corpus) -> list[Any]:
    """The examples of the batches that follow those of the pre-training."""
    seed = settings["run"]["seed"]
    heldout = heldout_sequences(
        corpus, settings["heldout_fraction"], settings["heldout_tokens"], seed
    )
    intervals = example_intervals(corpus.offsets, ~heldout, settings["max_tokens"] - 2)
    steps = settings["max_steps"] * settings["run"]["gradient_accumulation"]
    plan = BatchPlan(
        intervals.length + 2, settings["tokens_per_batch"], steps + config.batches, seed
    )
    keys: list[list[ExampleKey]] = list(plan)[steps:]
    if keys[-1][0].epoch:
        sys.exit("the models have seen the corpus more than once: nothing is fresh")
    dataset = PretrainDataset(corpus, intervals, seed)
    return [dataset.__getitems__(some) for some in keys]


def kinds_of(seen: Int[np.ndarray, "hidden"], truth: Int[np.ndarray, "hidden"]) -> list[Any]:
    """Which hidden tokens are of each of ``KINDS``."""
    masked, kept = seen == MASK, seen == truth
    return [masked, ~masked & ~kept, kept]


def permute(model: DnazenForMaskedLM) -> None:
    """Give every G-gram of a batch the embedding of another from now on."""

    def permuted(_: Any, __: Any, embeddings: Tensor) -> Tensor:
        order = torch.randperm(len(embeddings), generator=torch.Generator().manual_seed(0))
        return embeddings[order]

    model.dnazen.ggram_embeddings.register_forward_hook(permuted)


@torch.inference_mode()
def sums_of(
    directory: Path,
    batches: list[Any],
    maskings: dict[str, MaskingConfig],
    shared: dict[str, Any],
    ablation: Ablation | None = None,
) -> Sums:
    """The losses of one model, with its G-grams permuted or without any."""
    parts = open_directory(directory)
    model = DnazenForMaskedLM.from_released(directory)
    if ablation == "permuted":
        permute(model)
    matcher = {"matcher": None} if ablation == "without" else {}
    trained = read_json(directory / "run.json", "a run's record")["settings"]["masking"]
    found: Sums = defaultdict(list)
    for name, masking in maskings.items():
        shown = replace(masking, matches=trained.get("matches", "corrupted"))
        collator = Collator.of(parts, masking=shown, **shared, **matcher)
        for examples in batches:
            batch = collator(examples)
            truth = batch["labels"].flatten()
            hidden = truth != NO_LABEL
            nats = cross_entropy(model(**batch).logits, truth[hidden], reduction="none").numpy()
            seen = batch["input_ids"].flatten()[hidden].numpy()
            for kind, here in zip(KINDS, kinds_of(seen, truth[hidden].numpy()), strict=True):
                found[name, kind].append((float(nats[here].sum()), int(here.sum())))
            found[name, "all"].append((float(nats.sum()), len(nats)))
    return found


@torch.inference_mode()
def spread_of(directory: Path, examples: list[Any]) -> list[tuple[float, float]]:
    """Length of the mean G-gram state of a batch, and distance from it (rms), by layer."""
    parts = open_directory(directory)
    model = DnazenForMaskedLM.from_released(directory)
    states = model.dnazen(**Collator.of(parts)(examples), output_hidden_states=True)
    means = [(layer.mean(0), layer) for layer in states.ggram_hidden_states or ()]
    return [(float(m.norm()), float((x - m).pow(2).sum(1).mean().sqrt())) for m, x in means]


def ratio_and_error(
    sums: Float[np.ndarray, "batches"], counts: Float[np.ndarray, "batches"]
) -> tuple[float, float]:
    """Mean a token, and its standard error over batches (of a ratio of sums)."""
    mean = sums.sum() / counts.sum()
    spread = np.sqrt(((sums - mean * counts) ** 2).sum() * len(sums) / (len(sums) - 1))
    return float(mean), float(spread / counts.sum())


def main(config: HiddenConfig) -> None:
    """Print the tables."""
    settings = read_json(config.models[0] / "run.json", "a run's record")["settings"]
    corpus = Corpus.open(config.corpus)
    batches = fresh_batches(config, settings, corpus)
    whole = MaskingConfig(**settings["masking"])
    shared = {
        "vocab_size": corpus.vocab_size,
        "masking_matcher": Matcher(GGramVocabulary.load(config.ggrams)),
    }
    maskings = {
        "whole G-grams": whole,
        "single tokens": replace(whole, ggram_share=0.0),
    }
    print("masking", "seen", "model", "tokens", "nats", "minus_first", "se", sep="\t")
    first: Sums = {}
    for directory, name, ablation in _readings(config):
        found = sums_of(directory, batches, maskings, shared, ablation)
        first = first or found
        for (masking, kind), pairs in found.items():
            sums, counts = np.array(pairs, dtype=float).T
            nats, _ = ratio_and_error(sums, counts)
            more, error = ratio_and_error(sums - np.array(first[masking, kind])[:, 0], counts)
            numbers = f"{int(counts.sum())}\t{nats:.4f}\t{more:+.4f}\t{error:.4f}"
            print(masking, kind, name, numbers, sep="\t", flush=True)
    print()
    print("model", "ggram_layer", "mean_length", "distance", sep="\t")
    for directory in config.models:
        for layer, (length, distance) in enumerate(spread_of(directory, batches[0])):
            print(directory.name, layer, f"{length:.3f}\t{distance:.3f}", sep="\t")


def _readings(config: HiddenConfig) -> Iterator[tuple[Path, str, Ablation | None]]:
    for directory in config.models:
        yield directory, directory.name, None
        if config.ablate and open_directory(directory).vocabulary is not None:
            for ablation in get_args(Ablation):
                yield directory, f"{directory.name}, {ablation}", ablation


if __name__ == "__main__":
    main(tyro.cli(HiddenConfig, description=__doc__))
