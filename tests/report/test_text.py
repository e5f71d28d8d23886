from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dnazen.report.text import clean, file_name, one_line

texts = st.text(st.characters(exclude_categories=()), max_size=120)


@given(st.sets(texts, max_size=8))
def test_different_texts_have_different_files(tmp_path_factory, some) -> None:
    folder = tmp_path_factory.mktemp("files")
    names = [file_name(text) for text in some]
    assert len(set(names)) == len(some)
    for name in names:
        assert not set(name) & set("/\\\0 \n")
        assert name.strip(".")
        (folder / f"{name}.bedgraph").touch()
    assert len(list(folder.iterdir())) == len(some)


def test_plain_names_stay() -> None:
    assert [file_name(name) for name in ("yes", "H3K4me1_2", "a.b-c")] == [
        "yes",
        "H3K4me1_2",
        "a.b-c",
    ]


@given(texts)
def test_clean_text_can_be_written_and_shows_all_that_can_be_seen(text) -> None:
    written = clean(text)
    written.encode("utf-8")
    assert clean(written) == written
    assert [c for c in written if c.isalnum()] == [c for c in text if c.isalnum()]
    assert len(one_line(text, 20)) <= 20
    assert "\n" not in one_line(text)
