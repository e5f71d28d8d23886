"""BPE against its definition, replayed by hand; saving and hashing against the libraries."""

from __future__ import annotations

import json
import random
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnazen import cli
from dnazen.commands.tokenizer_train import TokenizerTrainCommand
from dnazen.errors import ConfigError, InputError
from dnazen.records import hash_file
from dnazen.tokens import tokenizer as tokenizer_module
from dnazen.tokens.special import SPECIAL_TOKENS
from dnazen.tokens.tokenizer import (
    encode,
    load_tokenizer,
    sample_lines,
    save_tokenizer,
    token_lengths,
    token_strings,
    tokenizer_sha256,
    train,
)

SHARED = Path(__file__).parents[3] / "shared"
DNABERT2 = SHARED / "data/tokenizer/DNABERT-2-117M"
FIXTURE = SHARED / "fixtures/released_format_tiny/checkpoint"


def random_lines(seed: int, lines: int, line_bp: int) -> list[str]:
    rng = random.Random(seed)
    return ["".join(rng.choices("ACGT", (5, 2, 2, 4), k=line_bp)) for _ in range(lines)]


def merges_of(tokenizer) -> list[tuple[str, str]]:
    return [tuple(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]


def merged(word: list[str], pair: tuple[str, str]) -> list[str]:
    """Replace every occurrence of the pair, from the left."""
    out: list[str] = []
    for symbol in word:
        if out and (out[-1], symbol) == pair and out[-1] is not None:
            out[-1] = "".join(pair)
            out.append(None)  # a merged symbol cannot merge again in the same pass
        else:
            out.append(symbol)
    return [symbol for symbol in out if symbol is not None]


def replayed(text: str, merges: list[tuple[str, str]]) -> list[str]:
    """BPE as defined: of the adjacent pairs, merge the one learnt first, until none is left."""
    rank = {pair: i for i, pair in enumerate(merges)}
    word = list(text)
    while ranks := [rank[pair] for pair in pairwise(word) if pair in rank]:
        word = merged(word, merges[min(ranks)])
    return word


@pytest.fixture(scope="module")
def small():
    return train(random_lines(1, 40, 500), vocab_size=120)


@settings(deadline=None)
@given(st.lists(st.text(alphabet="ACGT", max_size=80), max_size=6))
def test_encode_agrees_with_the_definition(small, texts):
    strings = token_strings(small)
    tokens, offsets = encode(small, texts)
    assert tokens.dtype == np.uint16
    assert offsets.dtype == np.int64
    assert offsets[0] == 0
    for text, (start, end) in zip(texts, pairwise(offsets), strict=True):
        assert [strings[t] for t in tokens[start:end]] == replayed(text, merges_of(small))


def test_training_merges_the_most_frequent_pair_each_time():
    lines = random_lines(2, 30, 60)
    tokenizer = train(lines, vocab_size=60)
    words = [list(line) for line in lines]
    checked = 0
    for pair in merges_of(tokenizer):
        counts = Counter(pair for word in words for pair in pairwise(word))
        # whether AAA holds (A, A) once or twice is a matter of accounting: left out
        distinct = {p: n for p, n in counts.items() if p[0] != p[1]}
        if pair in distinct:
            assert distinct[pair] == max(distinct.values())
            checked += 1
        words = [merged(word, pair) for word in words]
    assert checked > 40


def test_training_is_repeatable_and_says_its_size(small):
    again = train(random_lines(1, 40, 500), vocab_size=120)
    assert again.to_str() == small.to_str()
    assert small.get_vocab_size() == 120
    assert token_strings(small)[:9] == [*SPECIAL_TOKENS, "A", "C", "G", "T"]


def test_a_short_text_still_has_all_four_bases():
    tokenizer = train(["AAAA"], vocab_size=50)
    assert [token_strings(tokenizer)[t] for t in encode(tokenizer, ["CGT"]).tokens] == list("CGT")


def test_lengths_are_those_of_the_strings(small):
    lengths = token_lengths(small)
    assert lengths[:5].tolist() == [0] * 5
    text = random_lines(3, 1, 999)[0]
    tokens = encode(small, [text]).tokens
    assert int(lengths[tokens].sum()) == len(text)
    assert "".join(token_strings(small)[t] for t in tokens) == text


@pytest.mark.parametrize("chunk_bp", [1, 10, 1000])
def test_how_much_is_tokenised_at_a_time_changes_nothing(small, monkeypatch, chunk_bp):
    texts = ["ACGTTGCATT", "", "GATTACA" * 5, "T", ""]
    whole = encode(small, texts)
    monkeypatch.setattr(tokenizer_module, "CHUNK_BP", chunk_bp)
    for a, b in zip(whole, encode(small, texts), strict=True):
        assert a.tolist() == b.tolist()
        assert a.dtype == b.dtype


def test_nothing_to_encode(small):
    assert [a.tolist() for a in encode(small, [])] == [[], [0]]
    assert [a.tolist() for a in encode(small, ["", ""])] == [[], [0, 0, 0]]


def test_saved_directory_opens_with_both_libraries(small, tmp_path):
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    save_tokenizer(small, tmp_path / "t")
    text = random_lines(4, 1, 300)[0]
    inner = encode(small, [text]).tokens.tolist()
    assert Tokenizer.from_file(str(tmp_path / "t/tokenizer.json")).encode(text).ids == [
        1,
        *inner,
        2,
    ]
    auto = AutoTokenizer.from_pretrained(tmp_path / "t")
    assert auto(text)["input_ids"] == [1, *inner, 2]
    assert auto.decode(inner) == text
    named = [auto.unk_token_id, auto.cls_token_id, auto.sep_token_id]
    assert [*named, auto.pad_token_id, auto.mask_token_id] == [0, 1, 2, 3, 4]
    assert encode(load_tokenizer(tmp_path / "t"), [text]).tokens.tolist() == inner


def test_the_hash_is_of_the_content_not_of_the_layout(small, tmp_path):
    content = json.loads(small.to_str())

    def hash_of(content, **layout):
        path = tmp_path / "tokenizer.json"
        path.write_text(json.dumps(content, **layout))
        return tokenizer_sha256(load_tokenizer(path))

    assert hash_of(content, indent=7, sort_keys=True) == tokenizer_sha256(small)
    spelt = json.loads(small.to_str())
    spelt["model"]["merges"] = [" ".join(pair) for pair in spelt["model"]["merges"]]
    assert hash_of(spelt) == tokenizer_sha256(small)
    swapped = json.loads(small.to_str())
    first, second = swapped["model"]["merges"][:2]
    swapped["model"]["merges"][:2] = [second, first]
    assert hash_of(swapped) != tokenizer_sha256(small)


def test_released_tokenizers_load_unchanged():
    for path in (DNABERT2, FIXTURE):
        if not path.exists():
            pytest.skip(f"{path} is not here")
    ours = [load_tokenizer(path) for path in (DNABERT2, FIXTURE)]
    assert [t.get_vocab_size() for t in ours] == [4096, 4096]
    assert tokenizer_sha256(ours[0]) == tokenizer_sha256(ours[1])
    released = json.loads((DNABERT2 / "tokenizer.json").read_text())
    assert {t: i for i, t in enumerate(token_strings(ours[0]))} == released["model"]["vocab"]


def test_truncation_in_the_file_is_switched_off(small, tmp_path):
    copy = small.from_str(small.to_str())
    copy.enable_truncation(8)
    copy.enable_padding(length=16)
    copy.save(str(tmp_path / "tokenizer.json"))
    text = random_lines(5, 1, 400)[0]
    loaded = load_tokenizer(tmp_path)
    assert encode(loaded, [text]).tokens.tolist() == encode(small, [text]).tokens.tolist()


def rewritten(small, change) -> str:
    content = json.loads(small.to_str())
    change(content)
    return json.dumps(content)


def _rename(content, old, new):
    content["model"]["vocab"][new] = content["model"]["vocab"].pop(old)
    for token in content["added_tokens"]:
        if token["content"] == old:
            token["content"] = new


def _drop_cytosine(content):
    content["model"]["vocab"]["X"] = content["model"]["vocab"].pop("C")
    content["model"]["merges"] = []


def _gap(content):
    content["model"]["vocab"]["A"] = 500
    content["model"]["merges"] = []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: _rename(c, "[SEP]", "</s>"), r"special tokens have ids .*\[SEP\] None.*0 to 4"),
        (_drop_cytosine, r"no token for base C; expected A, C, G and T"),
        (_gap, r"token ids with gaps; expected ids 0 to 119"),
        (lambda c: c.pop("model"), r"has no 'model'; it is damaged, or not a tokenizer\.json"),
        (
            lambda c: c["model"].update(type="WordPiece"),
            r"a tokenizer of type 'WordPiece'; expected BPE",
        ),
        (lambda c: c["model"].update(dropout=0.1), r"BPE with dropout '0\.1'; expected plain BPE"),
        (
            lambda c: c["model"].update(dropout="often"),
            r"'model\.dropout' is \"often\", not a finite",
        ),
        (
            lambda c: c["model"].update(continuing_subword_prefix="../../etc"),
            r"BPE with continuing_subword_prefix '\.\./\.\./etc'",
        ),
        (
            lambda c: c["model"].update(end_of_word_suffix="</w>"),
            "BPE with end_of_word_suffix '</w>'",
        ),
        (lambda c: c["model"].update(ignore_merges=True), "BPE with ignore_merges 'True'"),
        (
            lambda c: c["model"]["merges"].append(["A", "XX"]),
            r"a merge .* expected two tokens that m",
        ),
        (lambda c: c["model"]["merges"].append([1, 2, 3]), r"a merge '\[1, 2, 3\]'"),
        (lambda c: c["model"].update(merges=7), r"a merge '7'"),
        (lambda c: c["model"]["vocab"].update(A=-1), r"'model\.vocab.*' is -1, not a whole number"),
        (
            lambda c: c.update(
                normalizer={"type": "Replace", "pattern": {"String": "A"}, "content": ""}
            ),
            r"a normalizer 'Replace'; expected none, or upper case and T for U",
        ),
        (lambda c: c.update(normalizer={"type": "Lowercase"}), "a normalizer 'Lowercase'"),
        (lambda c: c.update(normalizer=[]), r"'normalizer' is \[\], not an object"),
        (
            lambda c: c.update(pre_tokenizer={"type": "ByteLevel", "add_prefix_space": True}),
            "a pre-tokenizer 'ByteLevel'; expected none, or one that parts words at blanks",
        ),
        (
            lambda c: c["added_tokens"].append(
                c["added_tokens"][0] | {"id": 120, "content": "ACGT"}
            ),
            "an added token 'ACGT'; expected the special tokens alone",
        ),
        (lambda c: c["added_tokens"][0].update(id=3), r"an added token '\[UNK\]'"),
    ],
)
def test_foreign_tokenizers_are_refused(small, tmp_path, change, message):
    path = tmp_path / "tokenizer.json"
    path.write_text(rewritten(small, change))
    with pytest.raises(InputError, match=r"tokenizer\.json: " + message) as raised:
        load_tokenizer(tmp_path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, '{"model": 1e999}'])
def test_what_is_no_tokenizer_at_all(tmp_path, text):
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(InputError, match=r"tokenizer\.json:.* tokenizer\.json$"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("normalizer", [None, {"type": "NFC"}])
def test_harmless_parts_change_nothing(small, tmp_path, normalizer):
    def change(content):
        content.update(normalizer=normalizer, pre_tokenizer=None)

    (tmp_path / "tokenizer.json").write_text(rewritten(small, change))
    loaded = load_tokenizer(tmp_path)
    assert tokenizer_sha256(loaded) == tokenizer_sha256(small)
    text = random_lines(6, 1, 200)[0]
    assert encode(loaded, [text]).tokens.tolist() == encode(small, [text]).tokens.tolist()


def test_a_saved_tokenizer_reads_lower_case_and_uracil(small, tmp_path):
    from transformers import AutoTokenizer

    save_tokenizer(small, tmp_path)
    auto = AutoTokenizer.from_pretrained(tmp_path)
    upper = random_lines(7, 1, 200)[0]
    lower = "".join("uU"[i % 2] if base == "T" else base.lower() for i, base in enumerate(upper))
    expected = [1, *encode(small, [upper]).tokens.tolist(), 2]
    assert auto(lower)["input_ids"] == auto(upper)["input_ids"] == expected
    assert 0 not in expected
    again = load_tokenizer(tmp_path)
    assert tokenizer_sha256(again) == tokenizer_sha256(small)
    save_tokenizer(again, tmp_path / "again")
    assert (tmp_path / "again/tokenizer.json").read_bytes() == (
        tmp_path / "tokenizer.json"
    ).read_bytes()


def test_an_absent_tokenizer_is_told(tmp_path):
    with pytest.raises(InputError, match=r"no such tokenizer; expected a tokenizer\.json"):
        load_tokenizer(tmp_path)


def test_sampling_takes_each_line_equally_often():
    lines = [str(i).encode() for i in range(10)]
    drawn = Counter(line for seed in range(2000) for line in sample_lines(lines, 3, seed))
    # 600 expected each, standard deviation 20
    assert all(500 < drawn[str(i)] < 700 for i in range(10))
    assert all(len(set(sample_lines(lines, 3, seed))) == 3 for seed in range(50))


def test_sampling_is_seeded_and_may_take_everything():
    lines = [str(i).encode() for i in range(100)]
    assert sample_lines(lines, 7, 1) == sample_lines(lines, 7, 1) != sample_lines(lines, 7, 2)
    assert (
        sample_lines(lines, None, 0) == sample_lines(lines, 100, 0) == [str(i) for i in range(100)]
    )
    assert sample_lines([], 5, 0) == []


def test_the_command_writes_a_tokenizer_and_how_it_was_made(tmp_path, capsys):
    genome = tmp_path / "g.fa"
    genome.write_text(">a\n" + "\nNNN\n".join(random_lines(6, 20, 300)).lower() + "\n")
    out = tmp_path / "out"
    assert cli.main(["tokenizer", "train", str(genome), "-o", str(out), "--vocab-size", "64"]) == 0
    record = json.loads((out / "dnazen.json").read_text())
    tokenizer = load_tokenizer(out)
    assert record["tokens"] == tokenizer.get_vocab_size() == 64
    assert record["tokenizer_sha256"] == tokenizer_sha256(tokenizer)
    assert record["inputs"] == [hash_file(genome)._asdict()]
    assert record["training_bp"] == 6000
    assert record["normalisation"] == {
        "bases": 6057,
        "lower_case": 6057,
        "uracil": 0,
        "ambiguous": 57,
    }
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "64 tokens from 6,000 of 6,057 bp" in captured.err


def test_too_little_text_for_the_vocabulary_is_noted(tmp_path, capsys):
    genome = tmp_path / "g.txt"
    genome.write_text("ACGTTGCA\n")
    assert cli.main(["tokenizer", "train", str(genome), "-o", str(tmp_path / "out")]) == 0
    assert "note: 4096 tokens were asked for" in capsys.readouterr().err


def test_a_sample_bounds_the_text(tmp_path):
    genome = tmp_path / "g.txt"
    genome.write_text("\n".join(random_lines(7, 50, 100)))
    words = f"tokenizer train {genome} -o {tmp_path}/out --line-bp 100 --max-bp 1000"
    assert cli.main([*words.split(), "--vocab-size", "30"]) == 0
    assert json.loads((tmp_path / "out/dnazen.json").read_text())["training_bp"] == 1000


def test_an_input_without_bases_leaves_no_output(tmp_path, capsys):
    genome = tmp_path / "g.fa"
    genome.write_text(">a\nNNNN\n")
    assert cli.main(["tokenizer", "train", str(genome), "-o", str(tmp_path / "out")]) == 2
    assert "no A, C, G or T in the input" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["g.fa"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"genomes": ()}, "no genome given"),
        ({"vocab_size": 8}, "vocab_size must be 9 to 65536, got 8"),
        ({"vocab_size": 65537}, "vocab_size must be 9 to 65536"),
        ({"line_bp": 20_000}, "line_bp must be 1 to 10000"),
        ({"max_bp": 10}, "max_bp must be at least line_bp"),
        ({"min_frequency": 0}, "min_frequency must be at least 1"),
    ],
)
def test_settings_are_checked(changes, message):
    with pytest.raises(ConfigError, match=message):
        TokenizerTrainCommand(**({"genomes": (Path("x"),), "output": Path("y")} | changes))
