"""The tokenizer of a model directory as Hugging Face's tools take it: tokens with their G-grams.

After ``import dnazen`` the ``AutoTokenizer`` finds it. It gives all that the models read, so that
``model(**tokenizer(sequences, padding=True, return_tensors="pt"))`` is right, and pipelines and the
Trainer are with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, get_args

import numpy as np
from tokenizers import Encoding, Tokenizer
from transformers.models.auto.tokenization_auto import AutoTokenizer
from transformers.tokenization_utils_base import BatchEncoding
from transformers.tokenization_utils_tokenizers import TokenizersBackend
from transformers.utils import PaddingStrategy, is_torch_tensor, to_py_obj

from ..errors import ConfigError
from ..ggrams.matching import Matcher
from ..ggrams.vocabulary import GGramVocabulary
from ..sequences.alphabet import reverse_complement
from ..sequences.inputs import letters_of
from ..tokens.reading import reading_tokenizer
from ..tokens.special import SPECIAL_ROLES, SPECIAL_TOKENS
from ..tokens.tokenizer import TOKENIZER_FILE, load_tokenizer, save_tokenizer_json, tokenizer_sha256
from .configuration import DnazenConfig
from .files import GGRAMS_FILE
from .ggram_rows import GGRAM_INPUTS, rows_of_matches
from .inputs import REVERSE
from .settings import Strands

_SPECIAL_TOKEN = re.compile("(" + "|".join(map(re.escape, SPECIAL_TOKENS)) + ")")

_PADS = (PaddingStrategy.LONGEST, PaddingStrategy.MAX_LENGTH)

Text = str | Sequence[str]
"""A sequence, or the two of a pair."""


class DnazenTokenizer(TokenizersBackend):
    """Reads DNA as our commands do, and matches the G-grams of its directory.

    Letters in either case, U and IUPAC codes; a stretch of ambiguous letters is one [UNK]; special
    tokens such as [MASK] may stand in the text. With G-grams it gives their inputs too, one row a
    sequence (``ggram_rows``); where the model reads both strands, also those of the reverse
    complement (``inputs``), of the bases that truncation kept.

    Parameters
    ----------
    tokenizer_file
        ``tokenizer.json``; ``tokenizer_object`` in its place is one that is read already.
    ggrams_file
        ``ggrams.tsv``; ``vocabulary`` in its place are G-grams that are read already.
    max_ggrams
        As in ``DnazenConfig``.
    strands
        Likewise.

    Raises
    ------
    InputError
        If a file is damaged, or the G-grams are those of another tokenizer.
    ConfigError
        If there are no such strands, or tokens are to be added.
    """

    vocab_files_names = {"tokenizer_file": TOKENIZER_FILE, "ggrams_file": GGRAMS_FILE}  # noqa: RUF012
    model_input_names = ["input_ids", "attention_mask"]  # noqa: RUF012

    def __init__(
        self,
        tokenizer_file: str | Path | None = None,
        ggrams_file: str | Path | None = None,
        *,
        tokenizer_object: Tokenizer | None = None,
        vocabulary: GGramVocabulary | None = None,
        max_ggrams: int | None = None,
        strands: Strands = "forward",
        **kwargs: Any,
    ) -> None:
        if strands not in get_args(Strands):
            raise ConfigError(f"strands must be one of {get_args(Strands)}, got {strands!r}")
        if tokenizer_object is None:
            tokenizer_object = load_tokenizer(tokenizer_file or "")
        if vocabulary is None and ggrams_file is not None:
            vocabulary = GGramVocabulary.load(Path(ggrams_file))
        if vocabulary is not None:
            place = None if ggrams_file is None else Path(ggrams_file)
            vocabulary.require_tokenizer(tokenizer_sha256(tokenizer_object), place)
        self._plain = tokenizer_object
        self.vocabulary = vocabulary
        self._matcher = None if vocabulary is None else Matcher(vocabulary)
        super().__init__(
            tokenizer_object=reading_tokenizer(tokenizer_object),
            **{
                "clean_up_tokenization_spaces": False,
                **SPECIAL_ROLES,
                **kwargs,
                "max_ggrams": max_ggrams,
                "strands": strands,
            },
        )
        self.max_ggrams, self.strands = max_ggrams, strands

    @classmethod
    def of(
        cls, config: DnazenConfig, tokenizer: Tokenizer, vocabulary: GGramVocabulary | None
    ) -> Self:
        """The tokenizer of a model: its tokens, its G-grams, and how it is to be read."""
        longest: dict[str, Any] = {}
        if config.max_tokens is not None:
            longest["model_max_length"] = config.max_tokens
        return cls(
            tokenizer_object=tokenizer,
            vocabulary=vocabulary,
            max_ggrams=config.max_ggrams,
            strands=config.strands,
            **longest,
        )

    @classmethod
    def convert_to_native_format(cls, **kwargs: Any) -> dict[str, Any]:
        """The arguments as they are: the files are ours to read."""
        return kwargs

    def _add_tokens(self, new_tokens: Sequence[Any], special_tokens: bool = False) -> int:
        if strange := [str(token) for token in new_tokens if str(token) not in SPECIAL_TOKENS]:
            raise ConfigError(
                f"no tokens can be added to a model's: {', '.join(strange)}; train another "
                "tokenizer with 'dnazen tokenizer train'"
            )
        return 0

    def _encode_plus(
        self,
        text: Text | Sequence[Text],
        text_pair: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> BatchEncoding:
        """Encode one text or a list, with all inputs of a model."""
        if kwargs.get("is_split_into_words"):
            raise ConfigError("is_split_into_words: DNA has no words; give whole sequences")
        self._require_right(kwargs)
        alone = isinstance(text, str)
        pairs = [text_pair] if alone and text_pair is not None else text_pair
        texts = _examples([text] if alone else text, pairs)
        kind = kwargs.pop("return_tensors", None)
        batch = self._with_ggrams(super()._encode_plus(texts, **kwargs))
        if self.strands == "average":
            other = self._other_strands(texts, batch, kwargs)
            batch.update({f"{REVERSE}{name}": rows for name, rows in other.items()})
        if kind is not None or kwargs.get("padding_strategy") in _PADS:
            batch.update(_padded(batch))
        if alone and kind is None and not kwargs.get("return_overflowing_tokens"):
            return BatchEncoding({name: rows[0] for name, rows in batch.items()}, batch.encodings)
        return BatchEncoding(batch.data, batch.encodings, tensor_type=kind)

    def _with_ggrams(self, batch: BatchEncoding) -> BatchEncoding:
        """Add the G-gram inputs of the tokens, not padded."""
        if self._matcher is not None:
            rows = batch["input_ids"]
            offsets = np.cumsum([0, *map(len, rows)])
            tokens = np.fromiter((token for row in rows for token in row), np.int64, offsets[-1])
            matches = self._matcher.match(tokens, offsets, self.max_ggrams)
            batch.update(rows_of_matches(matches, offsets))
        return batch

    def _other_strands(
        self, texts: Sequence[Text], batch: BatchEncoding, kwargs: Mapping[str, Any]
    ) -> BatchEncoding:
        """The inputs of the reverse complements of what was kept of texts."""
        numbers = batch.get("overflow_to_sample_mapping", range(len(texts)))
        turned = [
            [
                _other_strand(_kept(part, place, encoding))
                for place, part in enumerate(_parts(texts[n]))
            ]
            for n, encoding in zip(numbers, batch.encodings, strict=True)
        ]
        wanted = ("add_special_tokens", "padding_strategy", "truncation_strategy", "max_length")
        how = {name: kwargs[name] for name in (*wanted, "pad_to_multiple_of") if name in kwargs}
        examples = [tuple(parts) if len(parts) == 2 else parts[0] for parts in turned]
        encoded = super()._encode_plus(examples, verbose=False, **how)
        return self._with_ggrams(encoded)

    def pad(
        self,
        encoded_inputs: Any,
        *args: Any,
        return_tensors: Any = None,
        **kwargs: Any,
    ) -> BatchEncoding:
        """Pad a batch, G-gram inputs and those of the other strand too."""
        self._require_right(kwargs)
        if isinstance(encoded_inputs, (list, tuple)) and encoded_inputs:
            first = encoded_inputs[0]
            encoded_inputs = {name: [row[name] for row in encoded_inputs] for name in first}
        batch = dict(encoded_inputs)
        turned = {
            name.removeprefix(REVERSE): batch.pop(name)
            for name in tuple(batch)
            if name.startswith(REVERSE)
        }
        own = {name: to_py_obj(batch.pop(name)) for name in GGRAM_INPUTS if name in batch}
        padded = super().pad(batch, *args, **kwargs)
        if return_tensors is None and not isinstance(padded["input_ids"], list):
            return_tensors = "pt" if is_torch_tensor(padded["input_ids"]) else "np"
        if turned:
            other = self.pad(turned, *args, **kwargs)
            padded.update({f"{REVERSE}{name}": rows for name, rows in other.items()})
        is_batch = any(isinstance(row, list) for rows in own.values() for row in rows)
        padded.update(_padded(own) if is_batch else own)
        return BatchEncoding(padded.data, tensor_type=return_tensors)

    def _require_right(self, kwargs: Mapping[str, Any]) -> None:
        """Raise ConfigError for padding on the left."""
        if (kwargs.get("padding_side") or self.padding_side) == "left":
            raise ConfigError("padding_side left: the models read [CLS] at place 0; leave it right")

    def _save_pretrained(
        self,
        save_directory: str | Path,
        file_names: tuple[str, ...],
        legacy_format: bool | None = None,
        filename_prefix: str | None = None,
    ) -> tuple[str, ...]:
        """Write ``tokenizer.json`` and ``ggrams.tsv`` as ``dnazen.load`` reads them."""
        if filename_prefix:
            raise ConfigError("filename_prefix: the files of a model have fixed names")
        directory = Path(save_directory)
        save_tokenizer_json(self._plain, directory)
        written = [directory / TOKENIZER_FILE]
        if self.vocabulary is not None:
            written.append(directory / GGRAMS_FILE)
            self.vocabulary.save(written[-1])
        return (*file_names, *map(str, written))


def _examples(texts: Iterable[Any], pairs: Iterable[Any] | None) -> list[Text]:
    """Texts, or pairs of texts, whose letters are nucleotides or special tokens.

    Raises
    ------
    InputError
        If one holds another character.
    """
    if pairs is not None:
        texts = zip(texts, pairs, strict=True)
    examples: list[Text] = list(texts)
    for number, example in enumerate(examples, 1):
        for part in _parts(example):
            letters_of(_SPECIAL_TOKEN.sub("", part), f"sequence {number}")
    return examples


def _parts(example: Text) -> Sequence[str]:
    return [example] if isinstance(example, str) else example


def _kept(text: str, place: int, encoding: Encoding) -> str:
    """What of a text its tokens hold."""
    spans = [
        span
        for span, sequence in zip(encoding.offsets, encoding.sequence_ids, strict=True)
        if sequence == place
    ]
    return text[min(start for start, _ in spans) : max(end for _, end in spans)] if spans else ""


def _other_strand(text: str) -> str:
    """The reverse complement; special tokens in it keep their names."""
    pieces = _SPECIAL_TOKEN.split(text)[::-1]
    turned = [
        piece if piece in SPECIAL_TOKENS else reverse_complement(piece.encode()).decode()
        for piece in pieces
    ]
    return "".join(turned)


def _padded(inputs: Mapping[str, Any]) -> dict[str, list[list[int]]]:
    """The G-gram inputs among ``inputs``, rows filled up with 0, to one place or more."""
    boxes = {}
    for name, rows in inputs.items():
        if name.removeprefix(REVERSE) in GGRAM_INPUTS:
            width = max(1, *map(len, rows))
            boxes[name] = [[*row, *[0] * (width - len(row))] for row in rows]
    return boxes


AutoTokenizer.register(DnazenConfig, DnazenTokenizer, exist_ok=True)
