"""MEME files, beside memelite's own reader."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from memelite.io import read_meme, write_meme

from dnazen.errors import InputError
from dnazen.ggrams.motifs.meme import Motif, read_motifs
from dnazen.ggrams.motifs.page import draw_logo
from dnazen.sequences.alphabet import reverse_complement

SHARED = Path(__file__).parents[4] / "shared" / "data" / "motifs"

HEAD = "MEME version 4\n\nALPHABET= ACGT\n\nstrands: + -\n\n"
MATRIX = "letter-probability matrix: alength= 4 w= 2 nsites= 9 E= 0\n0.5 0.5 0 0\n0 0 0 1\n"

PROTEIN = 'ALPHABET "tiny" PROTEIN-LIKE\nA "Alanine"\nD "Aspartate"\nX = AD\nEND ALPHABET\n'
DNA = """ALPHABET "DNA" DNA-LIKE
A "Adenine" CC0000 ~ T "Thymine" 008000
C "Cytosine" 0000CC ~ G "Guanine" FFB300
N "Any base" = ACGT
X = ACGT
R "Purine = AG" = AG
U = T
END ALPHABET"""
BANNER = f"{60 * '*'}\nMEME - Motif discovery tool\n{60 * '*'}\n"
DREME = "# DREME 5.1.0\n#     command: dreme -dna -p x.fa\n#        host: here\n\n"


def turned(bases: str) -> str:
    return reverse_complement(bases.encode()).decode()


def sharp(consensus: str, name: str = "m") -> Motif:
    matrix = np.full((len(consensus), 4), 0.01)
    matrix[np.arange(len(consensus)), ["ACGT".index(base) for base in consensus]] = 0.97
    return Motif("db", name, "", matrix)


def random_motifs(rng, count: int) -> list[Motif]:
    return [
        Motif("db", f"m{n}", "", rng.dirichlet([0.2] * 4, size=rng.integers(6, 15)))
        for n in range(count)
    ]


@given(
    st.lists(st.lists(st.lists(st.floats(0, 1), min_size=4, max_size=4), min_size=1, max_size=9))
)
@settings(max_examples=30, deadline=None)
def test_what_memelite_writes_is_read(tmp_path_factory, some):
    matrices = [np.array(rows) + 0.01 for rows in some]
    matrices = [m / m.sum(axis=1, keepdims=True) for m in matrices]
    path = tmp_path_factory.mktemp("meme") / "x.meme"
    write_meme(str(path), {f"m{n} other{n}": m.T for n, m in enumerate(matrices)})
    if not matrices:
        with pytest.raises(InputError, match="no motif"):
            read_motifs(path)
        return
    found = read_motifs(path)
    assert [m.title for m in found] == [f"m{n} other{n}" for n in range(len(matrices))]
    assert {m.database for m in found} == {"x"}
    for motif, matrix in zip(found, matrices, strict=True):
        np.testing.assert_allclose(motif.matrix, matrix, atol=1e-12)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the motif databases are not here")
def test_the_databases_in_the_wild_read_as_memelite_reads_them():
    files = sorted(SHARED.rglob("*.meme"))
    assert files
    for file in files:
        ours, theirs = read_motifs(file), read_meme(str(file))
        assert [m.title for m in ours] == list(theirs)
        for motif, matrix in zip(ours, theirs.values(), strict=True):
            np.testing.assert_allclose(motif.matrix, matrix.T, atol=0.02)
            np.testing.assert_allclose(motif.matrix.sum(axis=1), 1)


def test_other_matrices_blank_lines_and_crlf_are_passed_over(tmp_path):
    path = tmp_path / "x.meme"
    logs = "log-odds matrix: alength= 4 w= 1 E= 0\n-40 -57 -72 77\n\n"
    text = f"{HEAD}MOTIF A\n\n{logs}{MATRIX}\nURL http://x\n\nMOTIF B b extra\n{MATRIX}"
    path.write_bytes(text.replace("\n", "\r\n").encode())
    first, second = read_motifs(path)
    assert (first.title, second.title) == ("A", "B b")
    assert first.matrix.tolist() == second.matrix.tolist() == [[0.5, 0.5, 0, 0], [0, 0, 0, 1]]
    assert first.consensus == "AT"


@pytest.mark.parametrize(
    ("head", "title", "names"),
    [
        (BANNER + HEAD, "GAG MEME-1\twidth = 2  sites = 9  llr = 9", ("GAG", "MEME-1")),
        (BANNER + HEAD, " 1 MEME\twidth =   2   sites =  9", ("1", "MEME")),
        (BANNER + HEAD, " 1\twidth =   2   sites =  9", ("1", "")),
        (DREME + HEAD, "GGGYGK DREME", ("GGGYGK", "DREME")),
        (DREME + HEAD.replace("ALPHABET= ACGT", DNA), "TTTCY DREME-1", ("TTTCY", "DREME-1")),
        (BANNER.replace("MEME", "STREME") + HEAD, "1-AAG STREME-1", ("1-AAG", "STREME-1")),
        (HEAD, "\x1b]0;title\x07 b\u202ec", ("\\x1b]0;title\\x07", "b\\u202ec")),
        ("\ufeff" + HEAD, "width w=2", ("width", "w=2")),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_text_of_the_meme_suite(tmp_path, head, title, names, end):
    text = f"{head}MOTIF {title}\n{60 * '*'}\nBL   MOTIF 1 width=2 seqs=9\n{MATRIX}{60 * '-'}\n"
    (tmp_path / "x.meme.gz").write_bytes(gzip.compress(text.replace("\n", end).encode()))
    (motif,) = read_motifs(tmp_path / "x.meme.gz")
    assert (motif.database, motif.name, motif.alternate) == ("x", *names)
    assert motif.matrix.tolist() == [[0.5, 0.5, 0, 0], [0, 0, 0, 1]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ":1: no line 'MEME version'; expected a MEME motif file"),
        (">MA0004.1 Arnt\nA [ 4 19 ]\n", ":1: no line 'MEME version'; JASPAR's and HOMER's"),
        ("VV  TRANSFAC MATRIX TABLE\nXX\n", "; TRANSFAC's matrices: convert them with transfac"),
        ("AC  OTF0001.1\nXX\nID  OTF0001.1\nP0  A C G T\n", "; TRANSFAC's matrices"),
        ("<?xml version='1.0'?>\n<MEME/>\n", "; it is HTML or XML: take the text"),
        (HEAD, "no motif; expected a MEME motif file of DNA"),
        (HEAD.replace("ACGT", "ACDEFGHIKLMNPQRSTVWY"), ":3: another alphabet; expected ALPHABET="),
        (f"{HEAD}MOTIF A\nMOTIF B\n{MATRIX}", ":7: motif A has no letter-probability matrix"),
        (f"{HEAD}MOTIF A a\n", ":7: motif A a has no letter-probability matrix"),
        (f"{HEAD}MOTIF A\n{MATRIX[:-8]}", ":8: 1 rows; expected 2, as it says"),
        (f"{HEAD}MOTIF A\nletter-probability matrix:\n\n", ":8: 0 rows; expected at least one"),
        (f"{HEAD}MOTIF A\n{MATRIX.replace('0 0 0 1', '0 0 1')}", ":10: not a row of probabilities"),
        (f"{HEAD}MOTIF A\n{MATRIX.replace('0 0 0 1', '0 0 0 7')}", ":10: not a row of"),
        (f"{HEAD}MOTIF A\n{MATRIX.replace('0 0 0 1', '2 0 0 -1')}", ":10: not a row of"),
        (f"{HEAD}MOTIF A\n{MATRIX.replace('0 0 0 1', '0 0 0 nan')}", ":10: not a row of"),
        (f"{HEAD}MOTIF A\n{MATRIX.replace('0 0 0 1', 'nan 0 0 1')}", ":10: not a row of"),
        (f"{HEAD}MOTIF A\n{MATRIX.replace('0 0 0 1', '0 0 x 1')}", ":10: not a row of"),
        (f"{HEAD}MOTIF A\n{MATRIX.replace('0 0 0 1', '-inf 0 inf 1')}", ":10: not a row of"),
        (f"{HEAD}MOTIF A\n{MATRIX.replace('0 0 0 1', '0 0 0 ' + 5000 * '9')}", ":10: not a row of"),
        (f"{HEAD}MOTIF A\n{MATRIX.replace('w= 2', 'w= ' + 5000 * '2')}", ":8: 2 rows; expected 22"),
        (f"{HEAD}MOTIF A\n{MATRIX.replace('w= 2', 'w= 1001')}" + 999 * "0 0 0 1\n", "1001 columns"),
        (f"{HEAD}MOTIF\n{MATRIX}", ":7: motif without a name"),
        (f"{HEAD}{MATRIX}", "no motif"),
        (HEAD.replace("ALPHABET= ACGT", PROTEIN) + f"MOTIF A\n{MATRIX}", ":3: another alphabet"),
        (HEAD.replace("ACGT", "ACGU") + f"MOTIF A\n{MATRIX}", ":3: another alphabet"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_by_line(tmp_path, text, message):
    path = tmp_path / "x.meme"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(message)):
        read_motifs(path)


def test_files_that_are_no_text(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_motifs(tmp_path / "absent")
    with pytest.raises(InputError, match="is a directory"):
        read_motifs(tmp_path)
    (tmp_path / "x").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"UTF-16 text, or a binary file|not UTF-8 text"):
        read_motifs(tmp_path / "x")


def test_logo_heights_by_hand():
    motif = Motif("d", "n", "", np.array([[1, 0, 0, 0], [0.5, 0, 0, 0.5], [0.25] * 4]))
    np.testing.assert_allclose(motif.bits, [[2, 0, 0, 0], [0.5, 0, 0, 0.5], [0, 0, 0, 0]])
    axes = Figure().subplots()
    draw_logo(axes, motif)
    assert axes.get_ylim() == (0, 2)
