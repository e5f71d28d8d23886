"""Whether an index is of its file: htslib, which makes it, is the judge."""

from __future__ import annotations

import pysam
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pysam.utils import SamtoolsError

from dnazen.sequences.fai import index_fits

contigs = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", "chr1", "chr1 of a yeast"]),
        st.text("ACGTN", max_size=40),
    ),
    min_size=1,
    max_size=5,
)
layouts = st.tuples(
    st.integers(1, 20),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", "\n", "\n\n"]),
    st.booleans(),
)


def fasta(contigs, layout) -> bytes:
    width, end, between, closed = layout
    text = ""
    for name, bases in contigs:
        text += f">{name}{end}"
        text += "".join(bases[i : i + width] + end for i in range(0, len(bases), width)) + between
    return (text if closed else text.rstrip("\r\n")).encode()


def meaning(fai) -> list:
    """What an index says, without the line width of a contig of one line."""
    rows = [line.split("\t") for line in fai.read_text().splitlines()]
    return [row if int(row[1]) > int(row[3]) else row[:3] for row in rows]


def indexed(data: bytes, path, packing: str) -> list:
    """The file and its index as samtools makes it; nothing where it cannot."""
    if packing == "bgzip":
        with pysam.BGZFile(str(path), "wb") as out:
            for start in range(0, len(data), 50):  # blocks of a few bytes, as bgzip has of 64 KiB
                out.write(data[start : start + 50])
                out.flush()
    else:
        path.write_bytes(data)
    parts = [path.with_name(path.name + ".fai"), path.with_name(path.name + ".gzi")]
    parts = parts[: 2 if packing == "bgzip" else 1]
    flags = ["--fai-idx", str(parts[0]), "--gzi-idx", str(parts[-1])][: 2 * len(parts)]
    try:
        before = pysam.set_verbosity(0)
        pysam.faidx(str(path), *flags)
    except SamtoolsError:
        return []
    finally:
        pysam.set_verbosity(before)
    return parts


@pytest.mark.parametrize("packing", ["plain", "bgzip"])
def test_an_index_fits_its_own_file_and_no_file_that_has_another(tmp_path_factory, packing):
    @settings(deadline=None, max_examples=150)
    @given(contigs, layouts, contigs, layouts)
    @example(  # shorter lines that add up to ours
        [("a", "A" * 8)],
        (8, "\n", "", False),
        [("a", "AAA"), ("a", ""), ("a", "A")],
        (1, "\n", "", False),
    )
    def check(contigs, layout, others, other_layout):
        folder = tmp_path_factory.mktemp("fai")
        ours, theirs = folder / "ours", folder / "theirs"
        index = indexed(fasta(contigs, layout), ours, packing)
        if index:
            assert index_fits(ours, *index)
        other = indexed(fasta(others, other_layout), theirs, packing)
        if index and other and meaning(index[0]) != meaning(other[0]):
            assert not index_fits(theirs, *index)
            assert not index_fits(ours, *other)

    check()
