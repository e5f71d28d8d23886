"""Train and load BPE tokenizers of DNA, and turn sequences to token ids in bulk."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
from jaxtyping import Int, UInt16
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from ..errors import InputError
from ..records import write_json
from ..sequences.alphabet import BASES
from .special import SPECIAL_ROLES, SPECIAL_TOKENS
from .tokenizer_json import FOLDING, read_tokenizer_json

Item = TypeVar("Item")

TOKENIZER_FILE = "tokenizer.json"

CHUNK_BP = 4_000_000
"""Bases tokenised at a time: some 100 MB of working memory, and enough to busy many cores."""


class Encoded(NamedTuple):
    """A ragged batch of tokenised sequences."""

    tokens: UInt16[np.ndarray, "total"]
    offsets: Int[np.ndarray, "sequences+1"]
    """Sequence s is ``tokens[offsets[s]:offsets[s + 1]]``."""


class _WithIds(Protocol):
    @property
    def ids(self) -> list[int]:
        """Of the tokens of a sequence."""


class BaseTokenizer(Protocol):
    """What reading needs of a tokenizer: tokens that spell A, C, G and T, one after the other.

    ``Tokenizer`` is one; ids 0 to 4 are those of ``SPECIAL_TOKENS``.
    """

    def encode_batch_fast(
        self, /, input: Sequence[str], *, add_special_tokens: bool
    ) -> Sequence[_WithIds]:
        """The tokens of each of some sequences."""

    def get_vocab(self) -> dict[str, int]:
        """The id of every token."""


def load_tokenizer(path: str | Path) -> Tokenizer:
    """Load ``tokenizer.json``, or the one in a directory, and check that it fits DNAZEN.

    Truncation and padding that the file asks for are switched off: what is too long is the
    caller's business, and is never cut in silence. So is a normalizer, which has nothing to do on
    upper-case bases.

    Raises
    ------
    InputError
        If there is no such file, it is not plain BPE (see ``tokenizer_json``), its special tokens
        are not ``SPECIAL_TOKENS`` with ids 0 to 4, it lacks one of the four bases, or its ids do
        not fit 2 bytes.
    """
    path = Path(path)
    if path.is_dir():
        path = path / TOKENIZER_FILE
    if not path.is_file():
        raise InputError("no such tokenizer", path=path, expected=f"a {TOKENIZER_FILE}")
    content = read_tokenizer_json(path)
    try:
        tokenizer = Tokenizer.from_str(json.dumps(content))
    except Exception as error:  # the library raises bare Exception for whatever it cannot read
        raise InputError(f"not a tokenizer ({error})", path=path) from None
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, directory: Path, *, folding: bool = True) -> None:
    """Write the files that ``tokenizers`` and ``transformers.AutoTokenizer`` open.

    The directory is made if absent; ``tokenizer.json``, ``tokenizer_config.json`` and
    ``special_tokens_map.json`` in it are replaced.

    Parameters
    ----------
    folding
        Opened by these libraries, the tokenizer turns bases to upper case and U to T by itself;
        released ones do not.
    """
    directory.mkdir(parents=True, exist_ok=True)
    save_tokenizer_json(tokenizer, directory, folding=folding)
    write_json(directory / "special_tokens_map.json", SPECIAL_ROLES)
    write_json(
        directory / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
            **SPECIAL_ROLES,
        },
    )


def save_tokenizer_json(tokenizer: Tokenizer, directory: Path, *, folding: bool = True) -> None:
    """Write ``tokenizer.json`` alone, as ``save_tokenizer`` does."""
    content = json.loads(tokenizer.to_str()) | {"normalizer": FOLDING if folding else None}
    # not by the library's own save, which gives a full disk a bare Exception
    text = json.dumps(content, indent=2, ensure_ascii=False)
    (directory / TOKENIZER_FILE).write_text(text, encoding="utf-8")


def tokenizer_sha256(tokenizer: Tokenizer) -> str:
    """SHA-256 of the vocabulary in id order and the merges in rank order.

    These say all that decides on tokens: ``load_tokenizer`` refuses what something else would
    change.

    Two files that differ in layout only, or in how merges are spelt (``"A C"`` or
    ``["A", "C"]``), hash equally.
    """
    merges = json.loads(tokenizer.to_str())["model"].get("merges", [])
    pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in merges]
    canonical = json.dumps({"vocab": token_strings(tokenizer), "merges": pairs})
    return hashlib.sha256(canonical.encode()).hexdigest()


def token_strings(tokenizer: BaseTokenizer) -> list[str]:
    """The string of every token, by id."""
    vocabulary = tokenizer.get_vocab()
    return sorted(vocabulary, key=vocabulary.__getitem__)


def token_lengths(tokenizer: BaseTokenizer) -> Int[np.ndarray, "vocab"]:
    """Bases that each token stands for, by id; 0 for special tokens."""
    strings = token_strings(tokenizer)[len(SPECIAL_TOKENS) :]
    return np.array([0] * len(SPECIAL_TOKENS) + [len(text) for text in strings], dtype=np.int64)


def encode(tokenizer: BaseTokenizer, sequences: Sequence[str]) -> Encoded:
    """Tokenise sequences of upper-case ACGT on all cores, without special tokens.

    An empty sequence has no tokens. Time is near linear for sequences of up to a few kb. Beyond
    what comes in and goes out, memory is that of ``CHUNK_BP`` bases.
    """
    blocks: list[UInt16[np.ndarray, "tokens"]] = []
    counts = [0]
    for chunk in grouped(sequences, len, CHUNK_BP):
        encodings = tokenizer.encode_batch_fast(chunk, add_special_tokens=False)
        ids = [encoding.ids for encoding in encodings]
        sizes = list(map(len, ids))
        flat = itertools.chain.from_iterable(ids)
        blocks.append(np.fromiter(flat, dtype=np.uint16, count=sum(sizes)))
        counts += sizes
    tokens = np.concatenate(blocks) if blocks else np.empty(0, dtype=np.uint16)
    return Encoded(tokens, np.cumsum(counts, dtype=np.int64))


def grouped(items: Iterable[Item], size: Callable[[Item], int], most: int) -> Iterator[list[Item]]:
    """Group items, in order, to lists; each ends with the item that brings its sizes to ``most``.

    Examples
    --------
    >>> list(grouped(["AC", "GTT", "A"], len, 4))
    [['AC', 'GTT'], ['A']]
    """
    group: list[Item] = []
    total = 0
    for item in items:
        group.append(item)
        total += size(item)
        if total >= most:
            yield group
            group, total = [], 0
    if group:
        yield group


def train(lines: Iterable[str], *, vocab_size: int = 4096, min_frequency: int = 2) -> Tokenizer:
    """Train BPE on lines of upper-case ACGT; the same lines give the same tokenizer.

    Tokens come fewer than ``vocab_size`` when no pair is left that was seen ``min_frequency``
    times. The tokenizer adds ``[CLS]`` before and ``[SEP]`` after a sequence unless told not to,
    and decodes to bases without blanks between.
    """
    tokenizer = Tokenizer(models.BPE(unk_token=SPECIAL_TOKENS[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.Fuse()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=list(BASES.decode()),
        show_progress=sys.stderr.isatty(),
    )
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, SPECIAL_TOKENS.index(token)) for token in ("[CLS]", "[SEP]")],
    )
    return tokenizer


def sample_lines(lines: Iterable[bytes], size: int | None, seed: int) -> list[str]:
    """Draw ``size`` lines, each equally likely, in one pass and memory for ``size`` lines.

    Reservoir sampling (Vitter 1985, algorithm R). ``None`` takes every line.
    """
    stream = iter(lines)
    kept = [line.decode() for line in itertools.islice(stream, size)]
    rng = random.Random(seed)
    for seen, line in enumerate(stream, len(kept) + 1):
        place = rng.randrange(seen)
        if place < len(kept):
            kept[place] = line.decode()
    return kept
