"""Tables of labelled sequences: what is read, and what is refused with which words."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnazen.errors import ConfigError, InputError
from dnazen.sequences.labelled import Task, labels_of, read_labelled, task_of
from dnazen.sequences.settings import LabelConfig

SINGLE = "single_label_classification"
MULTI = "multi_label_classification"
NUMBERS = "regression"
SHARED = Path(__file__).parents[3] / "shared"


@pytest.fixture
def table(tmp_path):
    def write(text, name="table.csv"):
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def refused(path, **kwargs):
    with pytest.raises(InputError) as caught:
        read_labelled(path, **kwargs)
    return str(caught.value).removeprefix(str(path))


def test_columns_are_found_by_name_in_any_order(table):
    read = read_labelled(table("Label,split,ID,Sequence\n1,x,a,acgu\n0,x,b,NNAN\n"))
    assert [row.sequences for row in read.rows] == [(b"acgu",), (b"NNAN",)]
    assert [row.labels for row in read.rows] == [("1",), ("0",)]
    assert [row.name for row in read.rows] == ["a", "b"]
    assert [row.line for row in read.rows] == [2, 3]
    assert read.columns == ("Label",)
    assert read.rows[0].split is None


def test_names_are_whole(table):
    read = read_labelled(table('name,sequence,label\n patient 1,A,0\n,C,0\n"a\tb",G,1\n'))
    assert [row.name for row in read.rows] == ["patient 1", "2", r"a\tb"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", ["", "end"])
@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
@pytest.mark.parametrize("zipped", [False, True])
def test_files_as_they_are_in_the_wild(table, end, last, delimiter, zipped):
    lines = ["\ufeffsequence,label", "ACGT,0", "", '"AC GT","b;c"']
    text = end.join(line.replace(",", delimiter) for line in lines) + (end if last else "")
    data = gzip.compress(text.encode()) if zipped else text.encode()
    read = read_labelled(table(data, "any.name"))
    assert [(row.line, row.name, row.sequences, row.labels) for row in read.rows] == [
        (2, "1", (b"ACGT",), ("0",)),
        (4, "2", (b"ACGT",), ("b;c",)),
    ]
    assert read.source.size == len(data)
    assert read.source.sha256 == hashlib.sha256(data).hexdigest()


def test_pairs(table):
    read = read_labelled(table("sequence_2,label,sequence_1\nCC,0,AA\n"))
    assert read.rows[0].sequences == (b"AA", b"CC")


def test_a_split_column_is_read_when_named(table):
    path = table("sequence,label,Fold\nA,0,TRAIN\nA,0,valid\nA,0,Test\n")
    assert [r.split for r in read_labelled(path, split_column="fold").rows] == [
        "train",
        "dev",
        "test",
    ]
    assert [r.split for r in read_labelled(path).rows] == [None] * 3


@settings(deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.text("ACGTUNRYacgtun", min_size=1).map(lambda s: s + "A"),
            st.text(st.characters(codec="utf-8", exclude_characters="\x00\r")).map(str.strip),
        ),
        min_size=1,
    )
)
def test_what_csv_writes_is_read_back(rows, tmp_path_factory):
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("sequence", "label"), *rows])
    path = tmp_path_factory.mktemp("round") / "t.csv"
    path.write_bytes(text.getvalue().encode())
    assert [(r.sequences[0].decode(), r.labels[0]) for r in read_labelled(path).rows] == rows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ":1: empty file; expected a header line such as sequence,label"),
        (
            "seq,label\nA,0\n",
            ":1: no column 'sequence' among seq, label; expected a header line such as "
            "sequence,label",
        ),
        ("ACGT,0\n", ":1: no column 'sequence' among ACGT, 0; expected a header line such as "
         "sequence,label"),
        (
            "sequence,y\nA,0\n",
            ":1: no column 'label' among sequence, y; expected a header line such as "
            "sequence,label",
        ),
        (
            "sequence_1,label\nA,0\n",
            ":1: no column 'sequence' among sequence_1, label; expected a header line such as "
            "sequence,label",
        ),
        ("sequence,label\n", ": no rows; expected labelled sequences below the header"),
        ("sequence,label\nA,0\nACGT\n", ":3: 1 fields; expected 2, as in the header"),
        (
            "sequence,label\nA,0\nAC-T,1\n",
            ":3: column 'sequence': character '-' is no nucleotide; expected A C G T U, N or "
            "another IUPAC code; remove gaps and other symbols; is it a protein or no sequence "
            "file?",
        ),
        (
            "sequence,label\nÄ,0\n",
            ":2: column 'sequence': character 'Ä' is no nucleotide; expected A C G T U, N or "
            "another IUPAC code; remove gaps and other symbols; is it a protein or no sequence "
            "file?",
        ),
        (
            "sequence,label\nnN,0\n",
            ":2: column 'sequence': no A, C, G or T; expected a sequence; remove the row",
        ),
        (
            "sequence,label\n,0\n",
            ":2: column 'sequence': no A, C, G or T; expected a sequence; remove the row",
        ),
        ('sequence,label\n"A,0\n', ":2: not a readable table (unexpected end of data)"),
        (b"sequence,label\nA,\xff\n", ":2: not UTF-8 text; save it as UTF-8"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_refused_in_one_line(table, text, message):
    assert refused(table(text)) == message


def test_files_that_cannot_be_read(table, tmp_path):
    assert refused(tmp_path / "none.csv") == ": no such file; expected a CSV or TSV table"
    assert refused(tmp_path) == (": is a directory; expected a CSV or TSV table; name its files")
    cut = gzip.compress(b"sequence,label\nACGT,0\n")[:-9]
    message = refused(table(cut))
    assert message.startswith(":1: gzip data ends early or is damaged (")
    assert message.endswith("; copy or compress the file anew")


def test_an_unknown_split_is_refused(table):
    path = table("sequence,label,split\nA,0,train\nA,0,tset\n")
    assert refused(path, split_column="split") == (
        ":3: 'tset' is no split; expected train, dev, test"
    )


def task_and_labels(path, problem, columns=("label",)):
    read = read_labelled(path, label_columns=columns)
    task = task_of(read, problem)
    return task.label_names, labels_of(read, task)


def test_classes_stand_in_numeric_or_alphabetic_order(table):
    rows = table("sequence,label\nA,10\nA,9\nA,-1\n")
    assert task_and_labels(rows, SINGLE) == (("-1", "9", "10"), [2, 1, 0])
    rows = table("sequence,label\nA,10\nA,9\nA,b\n")
    assert task_and_labels(rows, SINGLE) == (("10", "9", "b"), [0, 1, 2])


def test_label_names_in_one_cell(table):
    rows = table("sequence,label\nA,b; a\nA,\nA,c;\n")
    expected = [[1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    assert task_and_labels(rows, MULTI) == (("a", "b", "c"), expected)


def test_a_column_per_label_or_target(table):
    rows = table("H3,sequence,H4ac\n1,A,0\n0,A,0\n")
    assert task_and_labels(rows, MULTI, ("h4ac", "H3")) == (
        ("H4ac", "H3"),
        [[0.0, 1.0], [0.0, 0.0]],
    )
    assert task_and_labels(rows, NUMBERS, ("H3",)) == (("H3",), [[1.0], [0.0]])


def test_numbers(table):
    rows = table("sequence,label\nA,1e-3\nA,-2\n")
    assert task_and_labels(rows, NUMBERS) == (("label",), [[0.001], [-2.0]])


@pytest.mark.parametrize(
    ("problem", "labels", "message"),
    [
        (SINGLE, ["0", ""], ":3: column 'label': label ''; expected a class"),
        (SINGLE, ["0", "0"], ": only one class, '0'; expected two or more"),
        (MULTI, ["", ";"], ": no row has a label; expected label names"),
        (NUMBERS, ["1", "high"], ":3: column 'label': label 'high'; expected a finite number"),
        (NUMBERS, ["1", "nan"], ":3: column 'label': label 'nan'; expected a finite number"),
    ],
)
def test_labels_that_do_not_parse(table, problem, labels, message):
    path = table("sequence,label\n" + "".join(f"A,{label}\n" for label in labels))
    with pytest.raises(InputError) as caught:
        task_and_labels(path, problem)
    assert str(caught.value) == str(path) + message


@pytest.mark.parametrize(
    ("no", "yes"), [("0", "1"), ("0.0", "1.0"), ("False", "True"), ("FALSE", "TRUE")]
)
def test_indicators_as_pandas_and_r_write_them(table, no, yes):
    read = read_labelled(
        table(f"sequence,a,b\nA,{yes},{no}\nC,{no},{no}\n"), label_columns=("a", "b")
    )
    assert labels_of(read, Task(MULTI, ("a", "b"))) == [[1.0, 0.0], [0.0, 0.0]]


def test_a_decimal_comma_is_named(table):
    read = read_labelled(table("sequence;label\nA;0,5\n"))
    with pytest.raises(InputError, match=r":2: .* label '0,5'; .*number; write decimal points"):
        labels_of(read, Task(NUMBERS, ("label",)))


def test_indicator_columns_hold_0_and_1(table):
    path = table("sequence,a,b\nA,0,1\nA,1,2\n")
    with pytest.raises(InputError, match=r":3: column 'b': label '2'; expected 0 or 1"):
        task_and_labels(path, MULTI, ("a", "b"))


def test_a_label_that_train_lacks(table):
    read = read_labelled(table("sequence,label\nA,2\n"))
    with pytest.raises(InputError, match=r":2: column 'label': label '2'; expected a class of "):
        labels_of(read, Task(SINGLE, ("0", "1")))
    with pytest.raises(InputError, match=r"expected labels of train \(a, b\) joined by ';'"):
        labels_of(read, Task(MULTI, ("a", "b")))


def test_settings_that_contradict():
    with pytest.raises(ConfigError, match="names 2 columns for one class"):
        LabelConfig(columns=("a", "b"))
    with pytest.raises(ConfigError, match="is empty"):
        LabelConfig(columns=())


def test_real_tables_have_the_published_rows():
    task = SHARED / "data" / "gue" / "prom" / "prom_core_tata"
    if not task.is_dir():
        pytest.skip(f"needs {task}")
    read = read_labelled(task / "train.csv")
    assert len(read.rows) == 4904
    assert {len(row.sequences[0]) for row in read.rows} == {70}
    assert task_of(read, SINGLE).label_names == ("0", "1")
