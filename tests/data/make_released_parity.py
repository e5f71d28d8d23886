"""Make ``released_parity.safetensors`` from the full fixture of the released format.

``python tests/data/make_released_parity.py FIXTURE``, where FIXTURE holds ``checkpoint/`` (random
weights), ``inputs.json`` and ``expected.safetensors`` (what the released code computes from them).

What is kept: some sequences as token ids, the rows of the embedding tables that they use, all
other weights, and what must come out. Tokens and G-grams are numbered anew, so nothing of the
release's tokenizer is in the file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

ROWS = (0, 4, 5, 6, 7, 20, 21, 22)
"""Sequences that are kept: the first has logits, the others are short."""
SPECIAL = 5


def main(fixture: Path) -> None:
    weights = load_file(fixture / "checkpoint" / "model.safetensors")
    expected = load_file(fixture / "expected.safetensors")
    config = json.loads((fixture / "checkpoint" / "config.json").read_text())
    grams = json.loads((fixture / "checkpoint" / "ngram.json").read_text())
    tokenizer = Tokenizer.from_file(str(fixture / "checkpoint" / "tokenizer.json"))

    sequences = [
        expected["input_ids"][row][expected["attention_mask"][row].bool()].tolist() for row in ROWS
    ]
    tokens = [*range(SPECIAL), *sorted({t for s in sequences for t in s if t >= SPECIAL})]
    new_token = {token: number for number, token in enumerate(tokens)}
    texts = {"-".join(map(str, s)) + "-" for s in sequences}
    ggrams: list[tuple[int, list[int]]] = []
    for spelling, number in grams["vocab"].items():
        ids = [tokenizer.token_to_id(token) for token in spelling.split()]
        stands = "-".join(map(str, ids)) + "-"
        if number and any(f"-{stands}" in f"-{text}" for text in texts):
            ggrams.append((number, ids))
    ggrams.sort()
    new_ggram = {number: place for place, (number, _) in enumerate(ggrams, 1)}

    kept = dict(weights)
    for name, rows in (
        ("bert.embeddings.word_embeddings.weight", tokens),
        ("cls.predictions.decoder.bias", tokens),
        ("bert.ngram_embeddings.word_embeddings.weight", [0, *new_ggram]),
    ):
        kept[name] = weights[name][rows].contiguous()
    states = [
        expected["last_hidden_state"][row, : len(s)] for row, s in zip(ROWS, sequences, strict=True)
    ]
    slots = [expected["ggram_ids"][row][expected["ggram_mask"][row]].tolist() for row in ROWS]
    cover = [
        expected["position_matrix"][row, : len(s), : len(ids)].nonzero()
        for row, s, ids in zip(ROWS, sequences, slots, strict=True)
    ]
    out = {f"weights.{name}": tensor for name, tensor in kept.items()} | {
        "expected.states": torch.cat(states),
        "expected.logits": expected["mlm_logits"][0][:, tokens].contiguous(),
    }
    about = {
        "config": {
            **{k: v for k, v in config.items() if k not in ("id2label", "label2id")},
            "vocab_size": len(tokens),
            "ngram_vocab_size": len(ggrams) + 1,
            "max_ngram_count": grams["max_ngram_count"],
        },
        "sequences": [[new_token[t] for t in s] for s in sequences],
        "ggrams": [[new_token[t] for t in ids] for _, ids in ggrams],
        "slots": [[new_ggram[number] for number in ids] for ids in slots],
        "cover": [pairs.tolist() for pairs in cover],
    }
    path = Path(__file__).with_name("released_parity.safetensors")
    save_file(out, path, metadata={"parity": json.dumps(about)})
    print(f"{path}: {path.stat().st_size:,} bytes, {len(tokens)} tokens, {len(ggrams)} G-grams")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
