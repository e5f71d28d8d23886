"""Tiny models of other makers, random, as transformers saves them."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BertConfig,
    BertForMaskedLM,
    EsmConfig,
    EsmForMaskedLM,
    EsmTokenizer,
    PreTrainedTokenizerFast,
)

TINY = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "initializer_range": 0.3,
}  # fmt: skip


def bert(folder: Path, tokenizer_file: Path, **changes) -> Path:
    """A masked language model with BERT's layers and our BPE tokenizer."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(tokenizer_file),
        unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]",
        mask_token="[MASK]", model_max_length=64,
    )  # fmt: skip
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), max_position_embeddings=64, **{**TINY, **changes}
    )
    BertForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def esm(folder: Path, k: int = 2, **changes) -> Path:
    """As Nucleotide Transformer is: ESM with rotary positions over k-mers, nothing behind them."""
    kmers = map("".join, product("ACGT", repeat=k))
    words = ["<unk>", "<pad>", "<mask>", "<cls>", *kmers, *"ACGTN"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer = EsmTokenizer(str(folder / "vocab.txt"), eos_token=None, model_max_length=100)
    torch.manual_seed(0)
    config = EsmConfig(
        vocab_size=len(words), max_position_embeddings=102, pad_token_id=1, mask_token_id=2,
        **{**TINY, "position_embedding_type": "rotary", "token_dropout": False, **changes},
    )  # fmt: skip
    EsmForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def single_bases(folder: Path, mask: bool = True) -> Path:
    """BERT over single bases, no token before or after them, ids in an order of its own."""
    words = ["T", "G", "<pad>", "N", "C", "A", *(["<mask>"] if mask else [])]
    ids = {word: number for number, word in enumerate(words)}
    inner = Tokenizer(models.WordLevel(ids, unk_token="N"))
    inner.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    special = {"mask_token": "<mask>"} if mask else {}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", unk_token="N", model_max_length=80, **special
    )
    torch.manual_seed(0)
    config = BertConfig(vocab_size=8, max_position_embeddings=80, pad_token_id=2, **TINY)
    BertForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
