"""``dnazen variants`` on VCFs as they are in the wild, read back by pysam and bcftools."""

from __future__ import annotations

import csv
import errno
import gzip
import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pysam.bcftools
import pytest

import dnazen
from directories import random_directory, rewrite
from dnazen.cli import main
from dnazen.model.modeling import DnazenForSequenceClassification
from dnazen.variation import annotation
from dnazen.variation.settings import ScoringConfig

W = 64
HEADER = [
    "##fileformat=VCFv4.3",
    '##FILTER=<ID=low,Description="Low, of \\"something\\"">',
    "##source=an odd caller, with = and ;",
    "##contig=<ID=a,length=6666>",
    "##contig=<ID=b>",
    '##INFO=<ID=AC,Number=A,Type=Integer,Description="Count">',
    '##INFO=<ID=DB,Number=0,Type=Flag,Description="Known">',
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">',
    '##ALT=<ID=DEL,Description="Deletion">',
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tone\ttwo",
]
NAMES = ("SKIPPED", "LLR", "LLR_CORRECTED", "DISTANCE", "GGRAMS_LOST", "GGRAMS_GAINED")
KEYS = [f"DNAZEN_{name}" for name in NAMES]


@pytest.fixture(scope="module")
def rows(contigs):
    """Sorted rows of all kinds, with samples; one whose REF disagrees, one off its contig."""
    a, b = contigs["a"], contigs["b"]
    other = {"A": "C", "C": "G", "G": "T", "T": "A"}
    rest = ["30.5", "PASS", "AC=1;DB", "GT", "0|1", "./."]
    found = [
        ["a", 1, "rs1", a[0], other[a[0]], *rest],
        ["a", 50, ".", a[49:52], f"{a[49]},<DEL>,*", ".", "low", ".", "GT", "1/2", "0"],
        ["a", 50, "x;y", a[49].lower(), f"{a[49]}ACGT", *rest],
        ["a", 60, ".", a[59], ".", *rest],
        ["a", 61, "wrong", other[a[60]], a[60], *rest],
        ["a", 70, ".", a[69:72], "".join(other[base] for base in a[69:72]), *rest],
        *(["a", p, ".", a[p - 1], other[a[p - 1]], *rest] for p in range(80, 96)),
        ["b", len(b), ".", b[-1], ",".join(x for x in "ACGT" if x != b[-1]), *rest],
        ["b", len(b) + 3, ".", "A", "C", *rest],
    ]
    return ["\t".join(map(str, row)) for row in found]


@pytest.fixture
def vcf(tmp_path, rows):
    return write(tmp_path / "in.vcf", rows)


def write(path: Path, rows, header=HEADER) -> Path:
    path.write_text("".join(line + "\n" for line in [*header, *rows]))
    return path


@pytest.fixture
def run(directory, ground, capsys):
    """Run the command; its status, and what it said on stderr."""

    def run(source, output, *flags, model=directory):
        words = ["variants", model, ground.genome, source, "-o", output, "--window-bp", W]
        status = main([*map(str, words), "--max-ref-mismatch", "0.5", *flags])
        return status, capsys.readouterr().err

    return run


def unzipped(path: Path) -> str:
    return gzip.decompress(path.read_bytes()).decode()


def info_of(line: str) -> dict[str, str]:
    fields = line.split("\t")[7].split(";")
    return dict(field.split("=") for field in fields if "=" in field)


def test_all_comes_out_with_the_scores_of_the_library(run, vcf, rows, directory, ground, tmp_path):
    status, told = run(vcf, tmp_path / "out.vcf")
    assert status == 0
    reasons = "1 symbolic, 1 overlapping_deletion, 1 ref_mismatch, 1 off_contig"
    assert told.endswith(
        f"24 rows; REF of 1 of 22 disagrees with the genome; alleles without scores: {reasons}\n"
    )
    lines = (tmp_path / "out.vcf").read_text().splitlines()
    ours = [n for n, line in enumerate(lines) if "DNAZEN" in line and line.startswith("##")]
    assert lines[: len(HEADER) - 1] == HEADER[:-1]
    assert ours == list(range(len(HEADER) - 1, len(HEADER) + 6))
    assert lines[len(HEADER) + 6] == HEADER[-1]

    out = lines[len(HEADER) + 7 :]
    for before, after in zip(rows, out, strict=True):
        old, new = before.split("\t"), after.split("\t")
        assert new[:7] + new[8:] == old[:7] + old[8:]
        assert new[7].startswith("DNAZEN" if old[7] == "." else old[7])
    scored = iter(dnazen.score_variants(directory, ground.genome, vcf, ScoringConfig(window_bp=W)))
    for line in out:
        alts = line.split("\t")[4].split(",")
        info = {key: value.split(",") for key, value in info_of(line).items()}
        for n, _ in enumerate([] if alts == ["."] else alts):
            variant = next(scored)
            assert info.get(KEYS[0], ["."] * 9)[n] == (variant.skipped or ".")
            for key in KEYS[1:]:
                value = info.get(key, ["."] * 9)[n]
                name = key.removeprefix("DNAZEN_").lower()
                expected = variant.scores.get(name)
                assert (value == ".") == (expected is None)
                assert expected is None or float(value) == pytest.approx(
                    expected, rel=1e-5, abs=1e-5
                )
    assert info_of(out[1])["DNAZEN_SKIPPED"] == ".,symbolic,overlapping_deletion"
    assert not KEYS & info_of(out[3]).keys()
    assert info_of(out[4])["DNAZEN_SKIPPED"] == "ref_mismatch"
    assert info_of(out[-1])["DNAZEN_SKIPPED"] == "off_contig"
    assert not (tmp_path / "out.vcf.unfinished").exists()


def test_bgzip_output_is_indexed_and_read_by_pysam(run, vcf, rows, tmp_path):
    assert run(vcf, tmp_path / "out.vcf")[0] == 0
    assert run(vcf, tmp_path / "out.vcf.gz")[0] == 0
    zipped = tmp_path / "out.vcf.gz"
    assert unzipped(zipped) == (tmp_path / "out.vcf").read_text()
    with pysam.VariantFile(str(zipped)) as file:
        assert [r.pos for r in file.fetch("a", 79, 83)] == [80, 81, 82, 83]
        record = next(file.fetch("b"))
        assert len(record.info["DNAZEN_LLR"]) == 3
        assert list(file.header.info)[-6:] == KEYS
        assert [r.pos for r in file.fetch()] == [int(row.split("\t")[1]) for row in rows]


@pytest.mark.skipif(shutil.which("bcftools") is None, reason="bcftools is not here: pysam alone")
def test_bcftools_reads_and_filters_it(run, vcf, rows, tmp_path):
    out = tmp_path / "out.vcf.gz"
    assert run(vcf, out)[0] == 0

    def bcftools(*words):
        done = subprocess.run(["bcftools", *words], capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return done.stdout.splitlines()

    assert bcftools("view", "-H", "--no-version", str(out)) == [
        line for line in unzipped(out).splitlines() if not line.startswith("#")
    ]
    assert bcftools("index", "--stats", str(out))[0].split("\t")[::2] == ["a", "22"]
    assert len(bcftools("view", "-H", str(out), "a:80-83")) == 4
    found = bcftools("query", "-i", 'DNAZEN_SKIPPED="ref_mismatch"', "-f", "%POS\n", str(out))
    assert found == ["61"]
    below = bcftools("query", "-i", "DNAZEN_LLR<0", "-f", "%DNAZEN_LLR\n", str(out))
    assert all(min(float(x) for x in line.split(",") if x != ".") < 0 for line in below)


def test_the_table_has_a_line_an_allele(run, vcf, rows, tmp_path):
    assert run(vcf, tmp_path / "out.vcf")[0] == 0
    assert run(vcf, tmp_path / "out.tsv")[0] == 0
    assert run(vcf, tmp_path / "out.tsv.gz")[0] == 0
    text = (tmp_path / "out.tsv").read_text()
    assert unzipped(tmp_path / "out.tsv.gz") == text
    table = list(csv.DictReader(io.StringIO(text), delimiter="\t"))
    alleles = [
        (*row.split("\t")[:4], alt)
        for row in rows
        for alt in row.split("\t")[4].split(",")
        if alt != "."
    ]
    assert [(r["chrom"], r["pos"], r["id"], r["ref"], r["alt"]) for r in table] == alleles
    in_vcf = [
        value
        for line in (tmp_path / "out.vcf").read_text().splitlines()
        if not line.startswith("#") and line.split("\t")[4] != "."
        for value in info_of(line).get("DNAZEN_LLR", ".").split(",")
    ]
    assert [row["llr"] for row in table] == [
        x.replace(".", "NA") if x == "." else x for x in in_vcf
    ]
    assert {row["skipped"] for row in table} == {
        "NA", "symbolic", "overlapping_deletion", "ref_mismatch", "off_contig"
    }  # fmt: skip


def test_packings_of_the_input_change_nothing(run, vcf, tmp_path, monkeypatch):
    assert run(vcf, tmp_path / "plain.vcf")[0] == 0
    expected = (tmp_path / "plain.vcf").read_bytes()
    text = vcf.read_bytes()
    (tmp_path / "in.vcf.gz").write_bytes(gzip.compress(text))
    (tmp_path / "crlf.vcf").write_bytes(text.replace(b"\n", b"\r\n"))
    for name in ("in.vcf.gz", "crlf.vcf"):
        assert run(tmp_path / name, tmp_path / "out.vcf")[0] == 0
        assert (tmp_path / "out.vcf").read_bytes() == expected
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert run("-", tmp_path / "out.vcf")[0] == 0
    assert (tmp_path / "out.vcf").read_bytes() == expected


def test_bcf_in_gives_the_rows_of_its_vcf(run, vcf, rows, tmp_path):
    bcf = tmp_path / "in.bcf"
    pysam.bcftools.view("-Ob", "-o", str(bcf), str(vcf), catch_stdout=False)
    assert run(bcf, tmp_path / "bcf.vcf")[0] == 0
    assert run(vcf, tmp_path / "vcf.vcf")[0] == 0
    both = [(tmp_path / name).read_text().splitlines() for name in ("bcf.vcf", "vcf.vcf")]
    bodies = [[line for line in lines if not line.startswith("#")] for lines in both]
    assert bodies[0] == bodies[1]


def test_stdout_gets_what_a_file_would(directory, ground, run, vcf, tmp_path):
    assert run(vcf, tmp_path / "out.vcf")[0] == 0
    words = ["variants", directory, ground.genome, vcf, "--window-bp", W, "--max-ref-mismatch", 1]
    done = subprocess.run(
        [sys.executable, "-m", "dnazen.cli", *map(str, words)], capture_output=True, check=True
    )
    assert done.stdout == (tmp_path / "out.vcf").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.vcf", "out.vcf"]


COLUMNS = "expected 8 or more, with tabs between: CHROM POS ID REF ALT QUAL ..."

KILLED = """
import os, signal, sys
from dnazen import cli
from dnazen.variation import journal
from dnazen.variation import annotation
annotation.CHUNK_ROWS = 5
whole = journal.Journal.append
calls = 0
def append(self, lines):
    global calls
    calls += 1
    if calls == 3:  # part of the third block is on the disk
        with self._path.open("ab") as handle:
            handle.write(b"\\n".join(line.encode() for line in list(lines)[:3])[:-4])
        os.kill(os.getpid(), signal.SIGKILL)
    whole(self, lines)
journal.Journal.append = append
cli.main(sys.argv[1:])
"""


@pytest.mark.parametrize("name", ["out.vcf", "out.vcf.gz", "out.tsv"])
def test_a_killed_run_goes_on_to_the_same_bytes(
    run, directory, ground, vcf, rows, tmp_path, monkeypatch, name
):
    monkeypatch.setattr(annotation, "CHUNK_ROWS", 5)
    whole, out = tmp_path / f"whole.{name}", tmp_path / name
    assert run(vcf, whole)[0] == 0
    words = ["variants", directory, ground.genome, vcf, "-o", out, "--window-bp", W]
    words = [*map(str, words), "--max-ref-mismatch", "0.5"]
    killed = subprocess.run([sys.executable, "-c", KILLED, *words], capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert not out.exists()

    status, told = run(vcf, out)
    assert status == 2
    assert "an interrupted run; add --resume to go on with it" in told
    status, told = run(vcf, out, "--resume", "--strands", "average")
    assert status == 2
    assert "was begun with another strands: forward, now average" in told

    asked = []
    original = annotation.score_rows
    monkeypatch.setattr(
        annotation, "score_rows", lambda *args: asked.extend(args[2]) or original(*args)
    )
    assert run(vcf, out, "--resume")[0] == 0
    assert len(asked) == len(rows) - 10
    assert out.read_bytes() == whole.read_bytes()
    assert not (tmp_path / f"{name}.unfinished").exists()


def test_a_fine_tuned_model_gives_its_deltas(run, ground, vcf, tmp_path):
    folder = tmp_path / "model"
    kind = DnazenForSequenceClassification
    random_directory(
        ground, folder, kind=kind, initializer_range=0.3, id2label={0: "no", 1: "bound-by X"}
    )
    assert run(vcf, tmp_path / "out.vcf", "--prefix", "TF", model=folder)[0] == 0
    with pysam.VariantFile(str(tmp_path / "out.vcf")) as file:
        assert "TF_LLR" not in file.header.info
        assert file.header.info["TF_DELTA_BOUND_BY_X"].description == (
            "Change of the log-odds of bound-by X in the fine-tuned model"
        )
        assert next(file).info["TF_DELTA_BOUND_BY_X"][0] != 0


@pytest.mark.parametrize(
    ("labels", "keys"),
    [
        (["a", "x\n##FILTER=<ID=EVIL>"], {"D_DELTA_LABEL_1"}),
        (["+", "*", "a"], {"D_DELTA_0", "D_DELTA_1", "D_DELTA_2"}),
        (["a b", "A_B", "c"], {"D_DELTA_0", "D_DELTA_1", "D_DELTA_2"}),
        (["a", "x" * 300], {"D_DELTA_1"}),
        (["a", ""], {"D_DELTA_"}),
    ],
)
def test_whatever_labels_are_called(run, ground, vcf, tmp_path, labels, keys):
    folder, kind = tmp_path / "model", DnazenForSequenceClassification
    random_directory(ground, folder, kind=kind, id2label=dict(enumerate(labels)))
    assert run(vcf, tmp_path / "out.vcf", "--prefix", "D", model=folder)[0] == 0
    assert "EVIL" not in (tmp_path / "out.vcf").read_text()
    with pysam.VariantFile(str(tmp_path / "out.vcf")) as file:
        assert {key for key in file.header.info if "DELTA" in key} == keys
        assert keys <= set(next(file).info)


def test_a_row_with_our_field_undeclared_is_refused_before_work(run, vcf, tmp_path):
    lines = vcf.read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    columns = lines[first].split("\t")
    lines[first] = "\t".join([*columns[:7], "DNAZEN_LLR=1", *columns[8:]])
    written = tmp_path / "undeclared.vcf"
    written.write_text("\n".join(lines) + "\n")
    status, err = run(written, tmp_path / "out.vcf")
    assert status == 2
    assert f"undeclared.vcf:{first + 1}: INFO holds DNAZEN_LLR already" in err
    assert not (tmp_path / "out.vcf").exists()
    assert run(written, tmp_path / "out.vcf", "--prefix", "D")[0] == 0


def test_two_models_share_a_file_by_prefixes(run, vcf, tmp_path):
    once, twice = tmp_path / "once.vcf", tmp_path / "twice.vcf"
    assert run(vcf, once)[0] == 0
    status, told = run(once, twice)
    assert status == 2
    assert "has INFO fields DNAZEN_DISTANCE, DNAZEN_GGRAMS_GAINED" in told
    assert "choose another --prefix" in told
    assert run(once, twice, "--prefix", "again", "--strands", "average")[0] == 0
    line = twice.read_text().splitlines()[-2]
    assert {"DNAZEN_LLR", "AGAIN_LLR"} <= info_of(line).keys()


def test_unsorted_rows_stay_as_they_are_without_an_index(run, rows, tmp_path):
    out = tmp_path / "out.vcf.gz"
    assert run(write(tmp_path / "sorted.vcf", rows), out)[0] == 0
    assert (tmp_path / "out.vcf.gz.tbi").exists()
    status, told = run(write(tmp_path / "in.vcf", rows[::-1]), out)
    assert status == 0
    assert "in.vcf is not sorted: its rows come out as they stand, without an index" in told
    assert not (tmp_path / "out.vcf.gz.tbi").exists()
    ids = [line.split("\t")[:2] for line in unzipped(out).splitlines() if not line.startswith("#")]
    assert ids == [row.split("\t")[:2] for row in rows[::-1]]


def test_no_rows_give_a_header_and_an_index(run, tmp_path):
    out = tmp_path / "out.vcf.gz"
    status, told = run(write(tmp_path / "in.vcf", []), out)
    assert (status, told.splitlines()[-1][:7]) == (0, "0 rows;")
    with pysam.VariantFile(str(out)) as file:
        assert list(file) == []
        assert list(file.fetch("a")) == []
    assert run(write(tmp_path / "in.vcf", []), tmp_path / "out.tsv")[0] == 0
    assert (tmp_path / "out.tsv").read_text().count("\n") == 1


def test_contigs_that_the_header_leaves_out_are_declared(run, rows, ground, tmp_path):
    header = [line for line in HEADER if "contig" not in line]
    out = tmp_path / "out.vcf"
    more = [*rows, "zz\t5\t.\tA\tC\t.\t.\t.\tGT\t0\t0"]
    assert run(write(tmp_path / "in.vcf", more, header), out, "--skip-unknown-contigs")[0] == 0
    with pysam.VariantFile(str(out)) as file:
        assert list(file.header.contigs) == ["a", "b", "zz"]
        assert file.header.contigs["zz"].length is None
        lengths = {name: file.header.contigs[name].length for name in "ab"}
        assert list(file)[-1].info["DNAZEN_SKIPPED"] == ("unknown_contig",)
    with pysam.FastaFile(str(ground.genome)) as genome:
        assert lengths == {name: genome.get_reference_length(name) for name in "ab"}


def test_what_is_wrong_is_said_before_anything_is_scored(run, vcf, rows, tmp_path, monkeypatch):
    monkeypatch.setattr(annotation, "score_rows", None)
    out = tmp_path / "out.vcf"
    two = [*rows, "chrb\t5\t.\tA\tC\t.\t.\t.\tGT\t0\t0", "zz\t5\t.\tA\tC\t.\t.\t.\tGT\t0\t0"]
    zipped = tmp_path / "cut.vcf.gz"
    with pysam.BGZFile(str(zipped), "w") as handle:
        handle.write(vcf.read_bytes())
    zipped.write_bytes(zipped.read_bytes()[:-28])
    for source, flags, message in [
        (write(tmp_path / "1.vcf", two), [], "1.vcf:35: no contig 'chrb', 'zz' in "),
        (vcf, ["--max-ref-mismatch", "0.04"], "REF of 1 of 22 rows disagrees with the genome"),
        (zipped, [], "cut.vcf.gz:35: gzip data ends early or is damaged"),
        (write(tmp_path / "2.vcf", rows, []), [], "2.vcf:1: no VCF header"),
        (write(tmp_path / "3.vcf", ["a\t1\t.\tA"]), [], "3.vcf:11: 4 columns; expected 8"),
        (tmp_path / "absent.vcf", [], "absent.vcf: no such file; expected a VCF or BCF file"),
        (tmp_path, [], "is a directory; expected a VCF or BCF file"),
        (vcf, ["--prefix", "9x"], "prefix must be letters, digits and _"),
        (vcf, ["--window-bp", "8"], "window_bp must be 16 to 100000, got 8"),
        (vcf, ["--tokens-per-batch", "0"], "tokens_per_batch must be at least 1"),
    ]:
        status, told = run(source, out, *flags)
        assert (status, message in told) == (2, True), told
        assert told.splitlines()[-1].startswith("dnazen: error: ")
        assert not any(tmp_path.glob("out*"))


def test_outputs_that_cannot_be(run, vcf, directory, tmp_path):
    assert "expected a name in .vcf, .vcf.gz" in run(vcf, tmp_path / "out.txt")[1]
    assert "--resume goes with an output file" in run(vcf, "-", "--resume")[1]
    (tmp_path / "file").touch()
    status, told = run(vcf, tmp_path / "file" / "out.vcf")
    assert (status, "cannot be written" in told or "Not a directory" in told) == (2, True), told
    status, told = run(vcf, tmp_path / "out.vcf", model=tmp_path / "absent")
    assert (status, "absent" in told) == (2, True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(run, vcf, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    status, told = run(vcf, tmp_path / "locked" / "out.vcf")
    assert (status, "cannot be written" in told) == (2, True)


def test_an_index_never_stands_beside_another_file(run, vcf, rows, tmp_path, monkeypatch):
    out, index = tmp_path / "out.vcf.gz", tmp_path / "out.vcf.gz.tbi"
    assert run(write(tmp_path / "old.vcf", rows[:3]), out)[0] == 0
    pair = out.read_bytes(), index.read_bytes()
    states = []

    def watched(change):
        def call(*args, **named):
            result = change(*args, **named)
            files = [path.read_bytes() if path.exists() else None for path in (out, index)]
            states.append(tuple(files))
            return result

        return call

    monkeypatch.setattr(os, "replace", watched(os.replace))
    monkeypatch.setattr(Path, "unlink", watched(Path.unlink))
    assert run(vcf, out)[0] == 0
    new = out.read_bytes(), index.read_bytes()
    assert new[1] != pair[1]
    assert set(states) == {pair, (pair[0], None), (new[0], None), new}


def test_a_failed_run_leaves_output_and_index_as_they_were(run, vcf, tmp_path, monkeypatch):
    out, index = tmp_path / "out.vcf.gz", tmp_path / "out.vcf.gz.tbi"
    assert run(vcf, out)[0] == 0
    before = out.read_bytes(), index.read_bytes()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pysam, "tabix_index", full)
    status, told = run(vcf, out, "--prefix", "OTHER")
    assert status == 2
    assert "out.vcf.gz.tbi: cannot be written (No space left on device)" in told
    assert (out.read_bytes(), index.read_bytes()) == before
    assert not list(tmp_path.glob(".*partial"))


@pytest.mark.parametrize("name", ["out.vcf.gz", "out.tsv.gz"])
def test_what_htslib_keeps_to_itself_is_said(run, vcf, tmp_path, monkeypatch, name):
    part = []

    class Full:
        """As ``pysam.BGZFile`` on a full disk: it fails, and says neither where nor why."""

        def __init__(self, path, *_):
            part.append(Path(path))

        def __enter__(self):
            return self

        def __exit__(self, *_):
            raise OSError("Error closing BGZFile object")

        def write(self, _):
            raise OSError("BGZFile write failed")

    whole = pysam.BGZFile
    some = lambda path, mode, *rest: (Full if mode == "w" else whole)(path, mode, *rest)  # noqa: E731
    monkeypatch.setattr(pysam, "BGZFile", some)
    opened = Path.open

    def full(path, mode="r", **named):
        if mode == "ab" and path in part:
            raise OSError(errno.ENOSPC, "No space left on device")
        return opened(path, mode, **named)

    monkeypatch.setattr(Path, "open", full)
    status, told = run(vcf, tmp_path / name)
    assert status == 2
    written = f"{name}.tbi" if name.endswith(".vcf.gz") else name
    assert f"{written}: cannot be written (No space left on device)" in told


def test_rows_with_nothing_to_score_keep_their_place(run, tmp_path, ground):
    with pysam.FastaFile(str(ground.genome)) as genome:
        a = genome.fetch("a")
    rest = [".", ".", ".", "GT", "0", "0"]
    other = "C" if a[4] != "C" else "G"
    body = [
        ["a", 0, "tel", "N", "<DUP>", *rest],
        ["a", 5, "gvcf", ".", "<*>", *rest],
        ["a", 5, "same", a[4].lower(), a[4], *rest],
        ["a", 5, "twice", a[4], other, *rest],
        ["a", 5, "twice", a[4], other, *rest],
        ["a", 5, "none", a[4], ".", *rest],
        ["a", 5, "odd", a[4], f"{other},.,A/C", *rest],
        ["a", len(a) + 1, "end", "N", "A", *rest],
        ["a", 5_000_000_000, "far", "A", "C", *rest],
    ]
    lines = ["\t".join(map(str, row)) for row in body]
    source, out = write(tmp_path / "in.vcf", lines), tmp_path / "out.vcf"
    status, told = run(source, out, "--max-ref-mismatch", "0")
    assert status == 0, told
    assert "9 rows; REF of 0 of 4 disagrees with the genome; alleles without scores: 3 off" in told
    kept = [line for line in out.read_text().splitlines() if not line.startswith("#")]
    assert [line.split("\t")[:5] for line in kept] == [line.split("\t")[:5] for line in lines]
    reasons = [info_of(line).get("DNAZEN_SKIPPED") for line in kept]
    assert (
        reasons
        == ["off_contig", "missing", *[None] * 4, ".,missing,malformed"] + ["off_contig"] * 2
    )
    assert float(info_of(kept[2])["DNAZEN_LLR"]) == 0
    assert kept[3] == kept[4]
    assert info_of(kept[5]) == {}
    status, told = run(source, tmp_path / "out.vcf.gz", "--max-ref-mismatch", "0")
    assert (
        status,
        "has a POS above 4,294,967,296: its rows come out without an index" in told,
    ) == (
        0,
        True,
    )
    assert not list(tmp_path.glob("*.tbi")) + list(tmp_path.glob("*.csi"))


def test_nothing_to_compare_is_said(run, rows, tmp_path):
    rest = "\t.\t.\t.\tGT\t0\t0"
    source = write(tmp_path / "in.vcf", [f"a\t5\t.\tN\t<DEL>{rest}", f"a\t0\t.\tN\tA{rest}"])
    status, told = run(source, tmp_path / "out.tsv")
    assert status == 0
    assert "no row of" in told
    assert "has an allele to score on this genome, so no REF was compared" in told


def test_a_pipe_is_copied_to_a_place_without_a_name(run, vcf, rows, tmp_path, monkeypatch):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    assert run(vcf, tmp_path / "plain.vcf")[0] == 0
    bcf = tmp_path / "in.bcf"
    pysam.bcftools.view("-Ob", "-o", str(bcf), str(vcf), catch_stdout=False)
    assert run(bcf, tmp_path / "of-bcf.vcf")[0] == 0
    left = []
    scored = annotation.score_rows
    monkeypatch.setattr(
        annotation,
        "score_rows",
        lambda *args: left.extend((tmp_path / "tmp").iterdir()) or scored(*args),
    )
    for source, whole in ((vcf, "plain.vcf"), (bcf, "of-bcf.vcf")):
        stdin = io.TextIOWrapper(io.BytesIO(source.read_bytes()))
        monkeypatch.setattr(sys, "stdin", stdin)
        assert run("-", tmp_path / "out.vcf")[0] == 0
        assert (tmp_path / "out.vcf").read_bytes() == (tmp_path / whole).read_bytes()
    if Path("/proc/self/fd").is_dir():
        assert left == []
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\n".join([b"x"]))))
    assert "dnazen: error: -:1: no VCF header" in run("-", tmp_path / "out.vcf")[1]


def test_a_process_substitution_is_called_by_its_name(run, rows, tmp_path):
    read, written = os.pipe()
    os.write(written, "\n".join([*HEADER, "a\tx"]).encode())
    os.close(written)
    status, told = run(f"/dev/fd/{read}", tmp_path / "out.vcf")
    os.close(read)
    assert (status, told) == (2, f"dnazen: error: /dev/fd/{read}:11: 2 columns; {COLUMNS}\n")


@pytest.mark.parametrize("name", ["x\n##y", "\x1b[31m"])
def test_a_models_name_is_one_line_of_the_header(run, vcf, directory, tmp_path, name):
    folder = tmp_path / name
    shutil.copytree(directory, folder)
    status, told = run(vcf, tmp_path / "out.vcf", model=folder)
    assert status == 0, told
    lines = (tmp_path / "out.vcf").read_text().splitlines()
    [line] = [line for line in lines if line.startswith("##DNAZEN_variants=")]
    assert ascii(name)[1:-1].replace("\\\\", "\\") in line
    assert "##y" not in lines


def test_names_that_are_no_text_come_out_in_one_cell(run, rows, tmp_path):
    source = tmp_path / "in.vcf"
    write(source, rows[:1])
    row = rows[0].encode().replace(b"rs1", b"n\xe9\x1b\x0b")
    source.write_bytes(source.read_bytes().replace(rows[0].encode(), row))
    assert run(source, tmp_path / "out.tsv")[0] == 0
    cells = (tmp_path / "out.tsv").read_bytes().split(b"\n")[1].split(b"\t")
    assert cells[2] == rb"n\xe9\x1b\x0b"
    assert run(source, tmp_path / "out.vcf")[0] == 0
    assert row.split(b"\t")[2] in (tmp_path / "out.vcf").read_bytes()


def test_contigs_of_other_names(run, rows, ground, tmp_path):
    """The rows come out as they were, with the scores of the genome's own contigs."""
    other = [f"chr{row}" for row in rows]
    header = [line.replace("ID=a,", "ID=chra,") for line in HEADER]
    source, names = write(tmp_path / "in.vcf", other, header), tmp_path / "names.txt"
    assert run(write(tmp_path / "own.vcf", rows), tmp_path / "own.tsv")[0] == 0
    own = (tmp_path / "own.tsv").read_text().splitlines()
    status, told = run(source, tmp_path / "out.vcf")
    assert (status, "no contig 'chra', 'chrb' in" in told) == (2, True)
    names.write_text("chra\ta\nchrb\tb\n")
    for given in ("chr", names):
        out = tmp_path / f"{Path(given).stem}.tsv"
        status, told = run(source, out, "--contig-names", str(given))
        assert status == 0, told
        assert "2 of 2 contigs are called otherwise in the genome: chra as a, chrb as b" in told
        lines = out.read_text().splitlines()
        assert lines == [own[0], *(f"chr{line}" for line in own[1:])]
    assert run(source, tmp_path / "out.vcf", "--contig-names", "chr")[0] == 0
    with (
        pysam.VariantFile(str(tmp_path / "out.vcf")) as file,
        pysam.FastaFile(str(ground.genome)) as genome,
    ):
        assert file.header.contigs["chrb"].length == genome.get_reference_length("b")
        assert {record.chrom for record in file} == {"chra", "chrb"}


def test_outputs_that_are_inputs(run, vcf, rows, directory, ground, tmp_path):
    before = vcf.read_bytes()
    status, told = run(vcf, vcf)
    assert (status, "is an input too" in told, vcf.read_bytes()) == (2, True, before)
    model = tmp_path / "model"
    shutil.copytree(directory, model)
    (model / "x.tsv").symlink_to(model / "ggrams.tsv")
    status, told = run(vcf, model / "ggrams.tsv", model=model)
    assert (status, "is an input too" in told) == (2, True)
    (tmp_path / "link.vcf").symlink_to(vcf)
    status, told = run(vcf, tmp_path / "link.vcf")
    assert (status, "is an input too" in told) == (2, True)
    status, told = run(tmp_path / "link.vcf", vcf)
    assert (status, "is an input too" in told, vcf.read_bytes()) == (2, True, before)
    assert not list(tmp_path.glob("*unfinished"))


def test_weights_that_give_no_numbers(run, ground, vcf, tmp_path):
    folder = tmp_path / "model"
    random_directory(ground, folder)
    rewrite(folder, lambda weights: weights["head.decoder.bias"].fill_(float("nan")))
    status, told = run(vcf, tmp_path / "out.vcf", model=folder)
    assert status == 2, told
    assert not (tmp_path / "out.vcf").exists()
