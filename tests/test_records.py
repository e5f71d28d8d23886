"""Settings as JSON, recipes as flags, and the record of a run."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import pytest
import tyro
from hypothesis import given
from hypothesis import strategies as st

from dnazen.errors import ConfigError, InputError
from dnazen.records import (
    COUNT,
    hash_file,
    plain,
    read_json,
    run_record,
    write_json,
)
from dnazen.settings import recipe_flags


class Count(NamedTuple):
    bases: int
    dropped: int


@dataclass(frozen=True, kw_only=True)
class Inner:
    """Inner settings."""

    rate: float = 0.5
    """A rate."""
    kind: Literal["plain", "fancy-one"] = "plain"
    """A kind."""
    fast: bool = True
    """A switch."""


@dataclass(frozen=True, kw_only=True)
class Outer:
    """Outer settings."""

    max_steps: int = 3
    """Steps."""
    output: Path = Path("out")
    """A path."""
    files: tuple[Path, ...] = ()
    """Paths."""
    cap: int | None = None
    """A cap."""
    resume: bool = False
    """A switch."""
    deep_part: Inner = field(default_factory=Inner)
    """A table."""


def recipe(folder: Path, text: str) -> Path:
    path = folder / "r.toml"
    path.write_text(text)
    return path


def toml_of(settings: Outer) -> str:
    """The recipe of some settings, spelt by hand."""
    inner = settings.deep_part
    cap = "" if settings.cap is None else f"cap = {settings.cap}\n"
    return (
        f"max_steps = {settings.max_steps}\n{cap}"
        f"output = {json.dumps(str(settings.output))}\n"
        f"files = {json.dumps([str(p) for p in settings.files])}\n"
        f"resume = {str(settings.resume).lower()}\n"
        f"[deep_part]\nrate = {inner.rate!r}\nkind = '{inner.kind}'\n"
        f"fast = {str(inner.fast).lower()}\n"
    )


names = st.just(Path("-")) | st.text("abXY01._/- ", max_size=12).map(lambda s: Path(f"x{s}"))


@given(
    settings=st.builds(
        Outer,
        max_steps=st.integers(-(2**62), 2**62),
        output=names,
        files=st.lists(names, min_size=1, max_size=3).map(tuple),
        cap=st.none() | st.integers(-5, 5),
        resume=st.booleans(),
        deep_part=st.builds(
            Inner,
            rate=st.floats(-1e9, 1e9),
            kind=st.sampled_from(["plain", "fancy-one"]),
            fast=st.booleans(),
        ),
    )
)
def test_a_recipe_gives_the_settings_it_was_written_from(tmp_path_factory, settings):
    path = recipe(tmp_path_factory.getbasetemp(), toml_of(settings))
    assert tyro.cli(Outer, args=recipe_flags(path, Outer)) == settings


def test_a_flag_wins_over_a_recipe_and_a_recipe_over_the_default(tmp_path):
    path = recipe(tmp_path, "max_steps = 7\n[deep-part]\nrate = 0.25\nfast = false\n")
    flags = recipe_flags(path, Outer)
    assert tyro.cli(Outer, args=flags) == Outer(max_steps=7, deep_part=Inner(rate=0.25, fast=False))
    over = [*flags, "--max-steps", "9", "--deep-part.fast"]
    assert tyro.cli(Outer, args=over) == Outer(max_steps=9, deep_part=Inner(rate=0.25, fast=True))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_step = 3", "unknown setting 'max_step'; expected one of cap, deep_part, files"),
        ("[deep_part]\nrates = 1", "unknown setting 'deep_part.rates'; expected one of fast, kind"),
        ("[max_steps]\na = 1", "'max_steps' is one value, not a table"),
    ],
)
def test_a_wrong_key_is_named_with_its_file(tmp_path, text, message):
    path = recipe(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        recipe_flags(path, Outer)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


def test_a_table_of_its_own_takes_no_single_value(tmp_path):
    with pytest.raises(ConfigError, match="'deep_part' is a table, not one value"):
        recipe_flags(recipe(tmp_path, "deep_part = 3"), Outer)


def test_a_recipe_that_cannot_be_read_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"absent\.toml: no such recipe; expected a TOML file"):
        recipe_flags(tmp_path / "absent.toml", Outer)
    for content in (b"max_steps = ", b"\xff\xfe", b"a = 1\na = 2"):
        path = tmp_path / "r.toml"
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"r\.toml: not valid TOML"):
            recipe_flags(path, Outer)


def test_plain_is_what_json_can_hold():
    settings = Outer(files=(Path("a"), Path("b")))
    expected = {
        "max_steps": 3,
        "output": "out",
        "files": ["a", "b"],
        "cap": None,
        "resume": False,
        "deep_part": {"rate": 0.5, "kind": "plain", "fast": True},
    }
    assert plain(settings) == expected
    assert json.loads(json.dumps(plain(settings))) == expected
    assert plain({1: Count(5, 2), "x": [(Path("p"),)]}) == {
        "1": {"bases": 5, "dropped": 2},
        "x": [["p"]],
    }


def test_json_comes_back_in_the_order_written(tmp_path):
    value = {"z": 1, "a": {"path": Path("x"), "list": (1, 2)}}
    write_json(tmp_path / "v.json", value)
    assert read_json(tmp_path / "v.json", "a value") == {"z": 1, "a": {"path": "x", "list": [1, 2]}}
    assert list(read_json(tmp_path / "v.json", "a value")) == ["z", "a"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file; expected a thing"),
        (b"{\n\n oops}", "3: not valid JSON; expected a thing"),
        (b"\xff\xff", "not valid JSON; expected a thing"),
        (b"[1, 2]", "not a JSON object; expected a thing"),
        (b"[" * 100_000, "nested too deeply; expected a thing"),
    ],
)
def test_json_that_cannot_be_read_is_one_line(tmp_path, content, message):
    path = tmp_path / "v.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_json(path, "a thing")
    assert str(caught.value).startswith(f"{path}:")
    assert str(caught.value).endswith(message)


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_a_hash_is_that_of_the_whole_file(tmp_path, size):
    content = bytes(i % 251 for i in range(size))
    path = tmp_path / "f"
    path.write_bytes(content)
    assert hash_file(path) == (str(path), size, hashlib.sha256(content).hexdigest())


def test_the_record_of_a_run_says_what_ran_on_what(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"x")
    record = run_record("thing do", Outer(), [hash_file(path)], counts=Count(5, 2))
    assert record["command"] == "thing do"
    assert record["settings"] == plain(Outer())
    assert record["inputs"] == [plain(hash_file(path))]
    assert record["counts"] == {"bases": 5, "dropped": 2}
    assert record["dnazen"]
    assert json.loads(json.dumps(record)) == record


FORM = {
    "tokens": COUNT,
    "rate": float,
    "name": str,
    "done?": bool,
    "seed?": int,
    "files": [{"path": str}],
    "by_task": {str: {"mcc": float}},
}
GOOD = {
    "tokens": 3,
    "rate": 1,
    "name": "x",
    "done": None,
    "files": [{"path": "a", "more": 1}, {"path": "b"}],
    "by_task": {"H3": {"mcc": 0.5}},
    "more": 2,
}


def test_a_value_of_the_form_is_read_as_it_is(tmp_path):
    write_json(tmp_path / "x.json", GOOD)
    assert read_json(tmp_path / "x.json", "a thing", FORM) == GOOD


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": -1}, "'tokens' is -1, not a whole number from 0"),
        ({"tokens": True}, "'tokens' is true, not a whole number from 0"),
        ({"tokens": 1.5}, "'tokens' is 1.5, not a whole number from 0"),
        ({"tokens": 10**17}, "'tokens' is 100000000000000000, not a whole"),
        ({"rate": None}, "'rate' is null, not a finite number"),
        ({"rate": float("inf")}, "'rate' is Infinity, not a finite number"),
        ({"rate": "1"}, "'rate' is \"1\", not a finite number"),
        ({"name": ["x" * 99]}, "'name' is \\[\"x{38}\\.\\.\\., not a text"),
        ({"done": 1}, "'done' is 1, not true or false"),
        ({"seed": 1.0}, "'seed' is 1.0, not a whole number"),
        ({"files": {}}, "'files' is {}, not a list"),
        ({"files": [{"path": "a"}, 3]}, r"'files\[1\]' is 3, not an object"),
        ({"files": [{}]}, r"has no 'files\[0\]\.path'"),
        ({"by_task": {"H3": {"mcc": "nan"}}}, r"'by_task\.H3\.mcc' is \"nan\", not a finite"),
    ],
)
def test_a_value_of_another_form_is_named(tmp_path, change, message):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(GOOD | change))
    expected = f"x.json: {message}.*; it is damaged, or not a thing"
    with pytest.raises(InputError, match=expected):
        read_json(path, "a thing", FORM)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": ' + "9" * 5000 + "}", r"Exceeds the limit \(4300 digits\)"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": "\xff"}', "not valid JSON"),
        ("{", "x.json:1: not valid JSON"),
    ],
)
def test_json_out_of_this_world_is_one_line(tmp_path, text, message):
    path = tmp_path / "x.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=f"{message}.*; expected a thing"):
        read_json(path, "a thing")


def test_numbers_that_json_lacks_are_null(tmp_path):
    write_json(tmp_path / "x.json", {"a": [float("nan"), 1.0], "b": float("-inf")})
    text = (tmp_path / "x.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {"a": [None, 1.0], "b": None}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_steps = " + "9" * 5000, r"r\.toml: not valid TOML \(Exceeds the limit \(4300 digits"),
        ("max_steps = 0x" + "f" * 5000, r"r\.toml: 'max_steps' is a number of too many digits"),
        ("cap = [[0x" + "f" * 5000 + "]]", r"r\.toml: 'cap' is a number of too many digits"),
        ("a = " + "[" * 2000 + "]" * 2000, r"r\.toml: not valid TOML \(nested too deeply\)"),
        ('output = "a\\u0000b"', r"r\.toml: 'output' holds a NUL character"),
        ('[deep_part]\nkind = "a\\u0000"', r"r\.toml: 'deep_part\.kind' holds a NUL character"),
    ],
)
def test_recipes_out_of_this_world_are_one_line(tmp_path, text, message):
    with pytest.raises((ConfigError, InputError), match=message):
        recipe_flags(recipe(tmp_path, text), Outer)
