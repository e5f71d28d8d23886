"""Explanations as tables and genome tracks, written record by record."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TextIO

from ..ggrams.motifs.meme import Motif
from ..ggrams.motifs.similarity import Hit
from ..inference.labels import MISSING
from ..report.text import file_name, one_line
from ..report.tracks import shade
from ..sequences.inputs import InputRecord
from ..tokens.special import UNK
from .explanation import Explanation
from .strands import GGramEffect

SUMMARY = "ggram_summary.tsv"

_SEQUENCES = (
    *("record", "name", "bases", "tokens", "ggrams", "prediction", "target", "probability"),
    *("output", "baseline", "gap", "from_tokens", "from_ggrams", "from_bases"),
    *("without_ggrams", "agreement"),
)
_TOKENS = (
    *("record", "name", "index", "start", "end", "token"),
    *("attribution", "from_token", "from_ggrams", "from_bases", "occlusion", "target"),
)
_GGRAMS = (
    *("record", "name", "ggram_id", "bases", "places", "strand"),
    *("attribution", "removal", "target"),
)
_SUMMARY = (
    *("target", "ggram_id", "bases", "sequences", "occurrences"),
    *("mean_removal", "sd_removal", "total_removal", "mean_attribution"),
)
_MOST_SCORE = 1000  # of BED
_BED_HEADER = (
    "#chrom\tchromStart\tchromEnd\tname\tscore\tstrand\tthickStart\tthickEnd\titemRgb"
    "\tremoval\tattribution\ttarget\n"
)


class Effects(NamedTuple):
    """What one G-gram did to one target over the sequences that hold it."""

    target: str
    ggram_id: int
    bases: str
    sequences: int = 0
    occurrences: int = 0
    removal: float = 0.0
    """Summed over sequences."""
    squares: float = 0.0
    """Of its removals, summed."""
    attribution: float = 0.0
    """Summed over sequences."""

    def plus(self, effect: GGramEffect) -> Effects:
        """With one more sequence."""
        return self._replace(
            sequences=self.sequences + 1,
            occurrences=self.occurrences + len(effect.intervals),
            removal=self.removal + effect.removal,
            squares=self.squares + effect.removal**2,
            attribution=self.attribution + effect.attribution,
        )

    @property
    def mean(self) -> float:
        """Mean removal."""
        return self.removal / self.sequences

    @property
    def sd(self) -> float:
        """Standard deviation of the removals; NaN of one sequence."""
        n = self.sequences
        if n < 2:
            return math.nan
        return math.sqrt(max(0.0, self.squares - n * self.mean**2) / (n - 1))


class ExplanationFiles:
    """Writes explanations into a directory as they come.

    - ``sequences.tsv``: a row a record, ``NA`` for one without A, C, G or T.
    - ``tokens.tsv``, ``ggrams.tsv``: a row a token, and a distinct G-gram, of each record.
    - ``attribution.TARGET.bedgraph``, ``occlusion.TARGET.bedgraph``: the value of each base. Rows
      come record by record; N has none, as it may lie off the contig.
    - ``ggrams.bed``: a row an occurrence, red where the G-gram raises the output and blue where it
      lowers it; behind BED's nine columns removal, attribution and target.
    - ``motifs.bed``: hits of motifs, if there are motifs; the score is -10 log10(p).
    - ``ggram_summary.tsv``, on leaving: what each G-gram did over all records.

    Places in tables are in the sequence as read, those of tracks in the genome, on its forward
    strand; all are 0-based and half-open. Memory grows with the distinct G-grams.
    """

    def __init__(self, directory: Path, motifs: Sequence[Motif] = ()) -> None:
        self.directory = directory
        self.motifs = motifs
        self.effects: dict[tuple[str, int], Effects] = {}
        self._handles: dict[str, TextIO] = {}
        self._stack = ExitStack()
        self._sequences = self._table("sequences.tsv", _SEQUENCES)
        self._tokens = self._table("tokens.tsv", _TOKENS)
        self._ggrams = self._table("ggrams.tsv", _GGRAMS)
        self._open("ggrams.bed").write(_BED_HEADER)
        if motifs:
            self._open("motifs.bed")

    def __enter__(self) -> ExplanationFiles:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._stack:
            if kind is None:
                self._write_summary()

    def ranked(self) -> list[Effects]:
        """What each G-gram did, those that mattered most in all first."""
        return sorted(self.effects.values(), key=lambda e: (-abs(e.removal), e.ggram_id, e.target))

    def write(
        self,
        number: int,
        record: InputRecord,
        explanation: Explanation | None,
        hits: Sequence[Hit] = (),
    ) -> None:
        """Write one record, the ``number``-th from 0."""
        if explanation is None:
            rest = [MISSING] * (len(_SEQUENCES) - 3)
            self._sequences.writerow([number, record.name, len(record.sequence), *rest])
            return
        self._sequences.writerow([number, record.name, *_sequence_cells(explanation)])
        self._tokens.writerows([number, record.name, *row] for row in _token_rows(explanation))
        for effect in explanation.ggrams:
            places = ",".join(f"{start}-{end}" for start, end in effect.intervals)
            numbers = _number(effect.attribution), _number(effect.removal)
            self._ggrams.writerow(
                [
                    *(number, record.name, *effect[:2], places, effect.strand),
                    *(*numbers, explanation.target),
                ]
            )
        for effect in _by_ggram(explanation.ggrams):
            key = explanation.target, effect.ggram_id
            earlier = self.effects.get(key, Effects(*key, effect.bases))
            self.effects[key] = earlier.plus(effect)
        self._write_tracks(record, explanation, hits)

    def _write_tracks(
        self, record: InputRecord, explanation: Explanation, hits: Sequence[Hit]
    ) -> None:
        target = file_name(explanation.target)
        tracks = {"attribution": explanation.by_token, "occlusion": explanation.occlusion}
        for name, values in tracks.items():
            if values is not None:
                handle = self._open(f"{name}.{target}.bedgraph")
                handle.writelines(_bedgraph(record, explanation, values.tolist()))
        most = max((abs(effect.removal) for effect in explanation.ggrams), default=0.0)
        for effect in explanation.ggrams:
            numbers = _number(effect.removal), _number(effect.attribution)
            colour = ",".join(map(str, shade(effect.removal, most)))
            more = (colour, *numbers, one_line(explanation.target))
            for start, end in effect.intervals:
                self._handles["ggrams.bed"].write(
                    _bed(record, start, end, effect.bases, 0, effect.strand, *more)
                )
        for hit in hits:
            score = min(_MOST_SCORE, round(-10 * math.log10(max(hit.p_value, 1e-300))))
            name = self.motifs[hit.motif].title
            line = _bed(record, hit.start, hit.end, name, score, hit.strand)
            self._handles["motifs.bed"].write(line)

    def _write_summary(self) -> None:
        table = self._table(SUMMARY, _SUMMARY)
        for e in self.ranked():
            numbers = (e.mean, e.sd, e.removal, e.attribution / e.sequences)
            table.writerow([*e[:5], *map(_number, numbers)])

    def _table(self, name: str, header: Sequence[str]) -> Any:
        table = csv.writer(self._open(name), delimiter="\t", lineterminator="\n")
        table.writerow(header)
        return table

    def _open(self, name: str) -> TextIO:
        if name not in self._handles:
            handle = (self.directory / name).open("w", encoding="utf-8", newline="")
            self._handles[name] = self._stack.enter_context(handle)
        return self._handles[name]


def _by_ggram(effects: Sequence[GGramEffect]) -> Iterator[GGramEffect]:
    """One effect for each G-gram of a sequence, those on its two strands put together."""
    together: dict[int, GGramEffect] = {}
    for effect in effects:
        other = together.get(effect.ggram_id)
        together[effect.ggram_id] = (
            effect
            if other is None
            else other._replace(
                intervals=other.intervals + effect.intervals,
                attribution=other.attribution + effect.attribution,
                removal=other.removal + effect.removal,
            )
        )
    yield from together.values()


def _sequence_cells(explanation: Explanation) -> list[Any]:
    attribution = explanation.attribution
    numbers = (
        explanation.probability,
        attribution.output,
        attribution.baseline,
        attribution.gap,
        float(attribution.tokens.sum()),
        float(attribution.ggrams.sum()),
        float(attribution.bases.sum()),
        attribution.output - explanation.removal.together,
        explanation.agreement,
    )
    return [
        len(explanation.sequence),
        len(explanation.tokens),
        len(explanation.ggrams),
        explanation.prediction,
        explanation.target,
        *map(_number, numbers),
    ]


def _token_rows(explanation: Explanation) -> Iterator[list[Any]]:
    hidden = explanation.occlusion
    columns = zip(
        explanation.by_token.tolist(),
        explanation.attribution.tokens.tolist(),
        explanation.from_ggrams.tolist(),
        explanation.attribution.bases.tolist(),
        [math.nan] * len(explanation.tokens) if hidden is None else hidden.tolist(),
        strict=True,
    )
    places = zip(explanation.spans, explanation.texts, columns, strict=True)
    for index, ((start, end), text, numbers) in enumerate(places):
        yield [index, start, end, text, *map(_number, numbers), explanation.target]


def _bedgraph(
    record: InputRecord, explanation: Explanation, values: Sequence[float]
) -> Iterator[str]:
    """A line a token, in the order of the genome's forward strand: the value of each base."""
    rows = list(zip(explanation.spans, values, explanation.tokens.tolist(), strict=True))
    for (start, end), value, token in rows if record.region.strand == "+" else rows[::-1]:
        if token != UNK:
            chrom, left, right, _ = record.region.part(start, end)
            yield f"{chrom}\t{left}\t{right}\t{value / (end - start):.6g}\n"


def _bed(
    record: InputRecord,
    start: int,
    end: int,
    name: str,
    score: int,
    strand: str,
    colour: str = "",
    *more: str,
) -> str:
    """A line of BED's six columns or, with a colour, of nine and more; all of it is drawn thick."""
    chrom, left, right, read_on = record.region.part(start, end)
    strand = "+" if strand == read_on else "-"
    place = [str(left), str(right)]
    coloured = [*place, colour, *more] if colour else []
    return "\t".join([chrom, *place, name, str(score), strand, *coloured]) + "\n"


def _number(value: float) -> str:
    return MISSING if math.isnan(value) else f"{value:.6g}"
