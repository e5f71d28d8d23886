"""A tokenizer that reads text as our commands read it, in the tokenizers library alone.

``encoding.encode_examples`` does it on bytes, in bulk. Here the same rules stand in the library's
own words, so that offsets are those of the text and its users find what they know. The tests hold
the two together.
"""

from __future__ import annotations

import json
from typing import Any

from tokenizers import Tokenizer

from ..sequences.alphabet import AMBIGUOUS
from .encoding import TILE_BP
from .special import SPECIAL_TOKENS
from .tokenizer_json import FOLDING

_UNREAD = "?"
"""Stands for N and other ambiguous letters; no token of DNA holds it, while some hold N."""

_CLS, _SEP = ({"SpecialToken": {"id": token, "type_id": 0}} for token in ("[CLS]", "[SEP]"))
_FIRST, _SECOND = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")

_RULES: dict[str, Any] = {
    "normalizer": {
        "type": "Sequence",
        "normalizers": [
            *FOLDING["normalizers"],
            {
                "type": "Replace",
                "pattern": {"Regex": f"[{(AMBIGUOUS + AMBIGUOUS.lower()).decode()}]"},
                "content": _UNREAD,
            },
        ],
    },
    "pre_tokenizer": {
        "type": "Split",
        "pattern": {"Regex": f"[ACGT]{{1,{TILE_BP}}}|[{_UNREAD}]+"},
        "behavior": "Isolated",
        "invert": False,
    },
    "post_processor": {
        "type": "TemplateProcessing",
        "single": [_CLS, _FIRST, _SEP],
        "pair": [_CLS, _FIRST, _SEP, _SECOND, _SEP],
        "special_tokens": {
            token: {"id": token, "ids": [SPECIAL_TOKENS.index(token)], "tokens": [token]}
            for token in ("[CLS]", "[SEP]")
        },
    },
    "decoder": {"type": "Fuse"},
}


def reading_tokenizer(tokenizer: Tokenizer) -> Tokenizer:
    """The same tokens, of text as it is given: in either case, with U, N and special tokens.

    A stretch of N or other ambiguous letters is one [UNK]. The two sequences of a pair have the
    type 0. Other characters are for the caller to refuse.

    Parameters
    ----------
    tokenizer
        As ``tokenizer.load_tokenizer`` gives it.

    Examples
    --------
    >>> from tokenizers import models
    >>> ids = {name: i for i, name in enumerate((*SPECIAL_TOKENS, *"ACGT", "AC"))}
    >>> plain = Tokenizer(models.BPE(ids, [("A", "C")], unk_token="[UNK]"))
    >>> reading_tokenizer(plain).encode("acNrG").offsets
    [(0, 0), (0, 2), (2, 4), (4, 5), (0, 0)]
    """
    content = json.loads(tokenizer.to_str()) | _RULES
    content["model"] = content["model"] | {"unk_token": "[UNK]", "fuse_unk": True}
    content["added_tokens"] = [
        {**_SPECIAL, "id": number, "content": token} for number, token in enumerate(SPECIAL_TOKENS)
    ]
    return Tokenizer.from_str(json.dumps(content))


_SPECIAL = {
    "single_word": False,
    "lstrip": False,
    "rstrip": False,
    "normalized": False,
    "special": True,
}
