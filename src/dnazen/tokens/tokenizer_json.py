"""What a ``tokenizer.json`` may hold: plain BPE, so that vocabulary and merges say all.

Artefacts know a tokenizer by the hash of these two. What else would change tokens (another model,
a normalizer, a pre-tokenizer, added tokens, dropout) is refused. What is not as the tokenizers
library expects is told here, since the library panics on some of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..records import COUNT, read_json
from ..sequences.alphabet import BASES
from .special import MAX_VOCAB_SIZE, SPECIAL_TOKENS

FOLDING: dict[str, Any] = {
    "type": "Sequence",
    "normalizers": [
        {"type": "Replace", "pattern": {"String": letter}, "content": content}
        for letter, content in zip("acgtuU", "ACGTTT", strict=True)
    ],
}
"""The normalizer of files that we write: bases in upper case, T for U, as commands read them.

It is for those who open the file with ``tokenizers`` or ``transformers``; commands normalise before
they tokenise.
"""

_HARMLESS_NORMALIZERS = ("NFC", "NFD", "NFKC", "NFKD", "Strip", "StripAccents")
_HARMLESS_PRE_TOKENIZERS = ("Whitespace", "WhitespaceSplit", "BertPreTokenizer")
"""On a run of A, C, G and T these do nothing."""

_FORM = {
    "added_tokens": [{"id": COUNT, "content": str}],
    "normalizer?": dict,
    "pre_tokenizer?": dict,
    "model": {
        "type": str,
        "vocab": {str: COUNT},
        "dropout?": float,
        "continuing_subword_prefix?": str,
        "end_of_word_suffix?": str,
        "ignore_merges?": bool,
    },
}


def read_tokenizer_json(path: Path) -> dict[str, Any]:
    """The content of a ``tokenizer.json`` that fits DNAZEN, without truncation and padding.

    Raises
    ------
    InputError
        If there is no such file, or it holds something else.
    """
    content = read_json(path, "a tokenizer.json", _FORM)
    for problem, expected, fix in _problems(content):
        raise InputError(problem, path=path, expected=expected, fix=fix)
    return content | {"truncation": None, "padding": None, "normalizer": None}


def _problems(content: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What does not fit, what was expected, and what to do; each if those before are not."""
    model = content["model"]
    if model["type"] != "BPE":
        yield f"a tokenizer of type {model['type'][:40]!r}", "BPE", ""
    vocabulary: dict[str, int] = model["vocab"]
    ids = [vocabulary.get(token) for token in SPECIAL_TOKENS]
    if ids != list(range(len(SPECIAL_TOKENS))):
        pairs = ", ".join(f"{t} {i}" for t, i in zip(SPECIAL_TOKENS, ids, strict=True))
        yield (
            f"special tokens have ids {pairs}",
            "0 to 4 in this order",
            "train one with 'dnazen tokenizer train', or take DNABERT-2's",
        )
    if missing := [base for base in BASES.decode() if base not in vocabulary]:
        yield f"no token for base {', '.join(missing)}", "A, C, G and T", ""
    size = len(vocabulary)
    if size > MAX_VOCAB_SIZE:
        yield f"{size} tokens", f"at most {MAX_VOCAB_SIZE}", ""
    if sorted(vocabulary.values()) != list(range(size)):
        yield "token ids with gaps", f"ids 0 to {size - 1}", ""
    for token in content["added_tokens"]:
        if token["content"] not in SPECIAL_TOKENS or vocabulary[token["content"]] != token["id"]:
            yield f"an added token {token['content'][:40]!r}", "the special tokens alone", ""
    merges = model.get("merges") or []
    for merge in merges if isinstance(merges, list) else [merges]:
        parts = merge.split(" ") if isinstance(merge, str) else merge
        if not _is_merge(parts, vocabulary):
            yield f"a merge {str(merge)[:40]!r}", "two tokens that make a third", ""
    yield from _what_changes_tokens(content)


def _is_merge(parts: Any, vocabulary: dict[str, int]) -> bool:
    return (
        isinstance(parts, list)
        and len(parts) == 2
        and all(isinstance(part, str) and part in vocabulary for part in parts)
        and "".join(parts) in vocabulary
    )


def _what_changes_tokens(content: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What of the file alters bases or tokens and is not in the hash of vocabulary and merges."""
    model, plain = content["model"], "plain BPE, which vocabulary and merges describe"
    for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges"):
        if model.get(name):
            yield f"BPE with {name} {str(model[name])[:40]!r}", plain, ""
    normalizer = content.get("normalizer")
    if normalizer not in (None, FOLDING) and normalizer.get("type") not in _HARMLESS_NORMALIZERS:
        yield (
            f"a normalizer {str(normalizer.get('type'))[:40]!r}",
            "none, or upper case and T for U",
            "",
        )
    before = content.get("pre_tokenizer")
    if before is not None and before.get("type") not in _HARMLESS_PRE_TOKENIZERS:
        yield (
            f"a pre-tokenizer {str(before.get('type'))[:40]!r}",
            "none, or one that parts words at blanks",
            "",
        )
