"""Names of models, looked up in directories, in the package, and on a hub on the loopback."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

from directories import as_dnabert2, assert_bit_equal, random_directory
from dnazen.cli import main
from dnazen.errors import InputError
from dnazen.inference.opened import OpenedModel
from dnazen.model import source
from dnazen.model.source import find_model, shipped
from loopback_hub import COMMITS, serving, use


@pytest.fixture(scope="module")
def ours(ground, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ours") / "model"
    random_directory(ground, folder, hidden_size=32, intermediate_size=32)
    return folder


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with serving() as hub:
        use(monkeypatch, hub.url, tmp_path / "cache")
        yield hub


@pytest.fixture
def no_waiting(monkeypatch):
    """The client waits a second before it asks again."""
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)


def again() -> None:
    """As another process would look names up."""
    source._of_hub.cache_clear()


def test_a_model_of_the_hub_is_the_model_of_its_directory(hub, ours):
    hub.add("org/name", ours, README__md=b"read me", evil__py=b"raise SystemExit")
    found = find_model("org/name")
    assert (found.repository, found.commit) == ("org/name", COMMITS["main"])
    assert found.pinned == f"org/name@{COMMITS['main']}"
    names = {path.name for path in found.directory.iterdir()}
    assert names == {path.name for path in ours.iterdir()}  # no README, no code
    assert [file._replace(path="") for file in found.files] == [
        file._replace(path="") for file in find_model(ours).files
    ]
    one, other = (OpenedModel.open(name, "cpu") for name in ("org/name", ours))
    assert_bit_equal(one.encoder.state_dict(), other.encoder.state_dict())
    assert one.source == "org/name"


def test_what_is_in_the_cache_is_not_downloaded_again(hub, ours):
    hub.add("org/name", ours)
    find_model("org/name")
    hub.requests.clear()
    assert find_model("org/name").commit == COMMITS["main"]
    assert hub.requests == []  # of one process
    again()
    find_model("org/name")
    assert hub.requests == [  # whether main has moved
        "GET /api/models/org/name",
        "HEAD /org/name/resolve/main/config.json",
    ]


@pytest.mark.parametrize("revision", ["v1", "refs/pr/2", COMMITS["v1"]])
def test_a_revision_is_a_branch_a_tag_or_a_commit(hub, ours, revision):
    hub.add("org/name", ours)
    changed = {"config__json": (ours / "config.json").read_bytes() + b" "}
    for tag in ("v1", "refs/pr/2"):
        hub.add("org/name", ours, tag, **changed)
    found = find_model(f"org/name@{revision}")
    assert found.commit == COMMITS.get(revision, revision)
    assert found.directory.joinpath("config.json").read_bytes().endswith(b" ")


def test_one_run_reads_one_commit_though_the_branch_moves(hub, ours):
    hub.add("org/name", ours)
    before = find_model("org/name")
    hub.files["org/name"]["d" * 40] = hub.files["org/name"][COMMITS["main"]]
    del hub.files["org/name"][COMMITS["main"]]
    assert find_model("org/name") == before


def test_a_directory_of_that_name_wins(hub, ours, tmp_path, monkeypatch):
    (tmp_path / "org").mkdir()
    (tmp_path / "org/name").symlink_to(ours)
    monkeypatch.chdir(tmp_path)
    assert find_model(Path("org/name")).repository == ""
    assert find_model("org/name").directory == Path("org/name")
    assert hub.requests == []


@pytest.mark.parametrize("name", ["gone", "/org/name", "a/b/c", "../name", "./a/b/", "org/na me"])
def test_what_cannot_be_a_name_of_the_hub_is_a_directory_that_is_not_there(hub, name):
    assert find_model(name) == (name, Path(name), "", "")
    with pytest.raises(InputError, match=r"no such model directory; expected .* or ORG/NAME"):
        OpenedModel.open("gone")
    assert hub.requests == []


def test_models_that_ship_with_the_package(ours, tmp_path, monkeypatch):
    assert source.SHIPPED.parent.name == "dnazen"
    assert shipped("mini") is None or shipped("mini").is_dir()
    monkeypatch.setattr(source, "SHIPPED", tmp_path / "models")
    (tmp_path / "models").mkdir()
    (tmp_path / "models/mini").symlink_to(ours)
    assert shipped("mini") == tmp_path / "models/mini"
    for name in ("other", "", ".", "..", "mini/.", "../models/mini"):
        assert shipped(name) is None
    assert OpenedModel.open("mini", "cpu").origin.directory == tmp_path / "models/mini"
    monkeypatch.chdir(tmp_path / "models")
    assert find_model("mini").directory == Path("mini")  # a directory of that name wins


def test_safetensors_come_before_pickles_and_the_other_is_left_there(hub, ours):
    hub.add("org/name", ours, pytorch_model__bin=b"not read")
    find_model("org/name")
    assert not [request for request in hub.requests if ".bin" in request]
    assert hub.requests[-1] == f"GET /org/name/resolve/{COMMITS['main']}/model.safetensors"


def test_weights_in_several_files_come_with_their_index_last(hub, ours):
    shards = {f"model-0000{n}-of-00002.safetensors": b"%d" % n for n in (1, 2)}
    hub.add("org/name", ours)
    files = hub.files["org/name"][COMMITS["main"]]
    del files["model.safetensors"]
    files |= {"model.safetensors.index.json": b"{}", "sub/model.safetensors": b"", **shards}
    names = [file.path.rpartition("/")[2] for file in find_model("org/name").files]
    assert names[-3:] == [*shards, "model.safetensors.index.json"]


def test_dnabert2_by_name_its_code_neither_fetched_nor_run(hub, released, tmp_path):
    folder = as_dnabert2(released / "checkpoint", tmp_path / "dnabert2")
    settings = json.loads((folder / "config.json").read_text())
    settings["auto_map"] = {"AutoModel": "bert_layers.BertModel"}
    (folder / "config.json").write_text(json.dumps(settings))
    hub.add("zhihan1996/DNABERT-2-117M", folder, bert_layers__py=b"raise SystemExit")
    by_name = OpenedModel.open("zhihan1996/DNABERT-2-117M", "cpu")
    assert_bit_equal(
        by_name.masked_lm.state_dict(), OpenedModel.open(folder, "cpu").masked_lm.state_dict()
    )
    assert not [request for request in hub.requests if ".py" in request]


def test_the_released_dnazen_by_name(hub, released):
    hub.add("oomics/DNAZEN-1.0-base", released / "checkpoint")
    model = OpenedModel.open("oomics/DNAZEN-1.0-base", "cpu")
    local = OpenedModel.open(released / "checkpoint", "cpu")
    assert model.vocabulary.bases == local.vocabulary.bases
    assert "ngram.json" in {Path(file.path).name for file in model.origin.files}


def test_a_pickle_with_code_is_refused(hub, ours, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "evil"),)

    hub.add("org/name", ours, pytorch_model__bin=pickle.dumps({"x": Evil()}))
    del hub.files["org/name"][COMMITS["main"]]["model.safetensors"]
    with pytest.raises(InputError, match="not readable as weights"):
        OpenedModel.open("org/name", "cpu")
    torch.save({"x": Evil()}, tmp_path / "evil.bin")
    hub.add("org/zip", ours, pytorch_model__bin=(tmp_path / "evil.bin").read_bytes())
    del hub.files["org/zip"][COMMITS["main"]]["model.safetensors"]
    with pytest.raises(InputError, match="not readable as weights"):
        OpenedModel.open("org/zip", "cpu")
    assert not (tmp_path / "evil").exists()


def test_what_the_hub_does_not_give_is_one_line(hub, ours, no_waiting):
    def problem(name):
        again()
        with pytest.raises(InputError) as error:
            find_model(name)
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "no such directory, and no such model on http" in problem("org/gone")
    hub.add("org/name", ours)
    assert "no such revision of it; name a branch" in problem("org/name@v9")
    hub.add("org/empty")
    assert "the repository holds no config.json" in problem("org/empty")
    hub.add("org/bare", config__json=b"{}")
    assert "the repository holds no weights" in problem("org/bare")
    hub.add("org/gated", ours)
    hub.gated.add("org/gated")
    assert "only to those it has let in; ask for access" in problem("org/gated")
    assert "no name of the hub's; give a directory or ORG/NAME" in problem("org/a--b")
    hub.cut.add("model.safetensors")
    assert "the download broke off" in problem("org/name")
    hub.cut.clear()
    assert OpenedModel.open("org/name", "cpu")  # goes on where it broke off
    hub.status = 500
    assert "gives no answer; download it once with network" in problem("org/other")
    assert find_model("org/name").commit == COMMITS["main"]  # out of the cache


def test_without_network_the_cache_is_read(hub, ours, monkeypatch, no_waiting):
    hub.add("org/name", ours)
    first = find_model("org/name")
    again()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.requests.clear()
    assert find_model("org/name") == first
    assert find_model(first.pinned).directory == first.directory
    with pytest.raises(InputError, match="and HF_HUB_OFFLINE is set; download it once with netw"):
        find_model("org/other")
    with pytest.raises(InputError, match="not whole in the cache"):
        find_model("org/name@v1")
    assert hub.requests == []


def test_a_download_that_was_killed_is_not_taken_for_whole(hub, ours, monkeypatch, no_waiting):
    hub.add("org/name", ours)
    hub.cut.add("model.safetensors")
    with pytest.raises(InputError, match="broke off"):
        find_model("org/name")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="not whole in the cache of the hub, and HF_HUB_OFFLINE"):
        find_model("org/name")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_file_of_the_cache_that_was_damaged_is_named(hub, ours, name):
    hub.add("org/name", ours)
    blob = find_model("org/name").directory.joinpath(name).resolve()
    blob.write_bytes(blob.read_bytes()[:-1])
    again()
    with pytest.raises(InputError, match=rf"{name} of org/name is damaged.*remove this file") as e:
        find_model("org/name")
    blob.unlink()
    assert str(blob) in str(e.value)
    again()
    assert OpenedModel.open("org/name", "cpu")  # it came again


def test_an_adapter_finds_its_base_on_the_hub(hub, ours, tmp_path):
    from dnazen.model.weights import adapter_base

    hub.add("org/base", ours, "v1")
    named = {"base_model_name_or_path": "org/base", "revision": COMMITS["v1"]}
    (tmp_path / "adapter_config.json").write_text(json.dumps(named))
    base = adapter_base(tmp_path)
    assert base == find_model(f"org/base@{COMMITS['v1']}").directory


def test_the_command_line_takes_names_and_records_the_commit(hub, ours, tmp_path):
    hub.add("org/name", ours, "v1")
    output = tmp_path / "converted"
    assert main(["convert", "org/name@v1", "-o", str(output)]) == 0
    assert json.loads((output / "convert.json").read_text())["commit"] == COMMITS["v1"]
    words = ["mutagenesis", "org/name@v1", "ACGTACGTAC", "-o", str(tmp_path / "m")]
    assert main(words) == 0
    record = json.loads((tmp_path / "m/run.json").read_text())
    assert record["settings"]["model"] == "org/name@v1"
    assert (record["model"]["name"], record["model"]["commit"]) == ("org/name@v1", COMMITS["v1"])
    hashes = {Path(file["path"]).name: file["sha256"] for file in record["model"]["files"]}
    weights = (ours / "model.safetensors").read_bytes()
    assert hashes["model.safetensors"] == hashlib.sha256(weights).hexdigest()


def test_the_variables_of_the_hub_hold(hub, ours, tmp_path):
    hub.add("org/name", ours)
    script = "from dnazen.model.source import find_model; print(find_model('org/name').directory)"
    home = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
    runs = [
        subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True)
        for env in (home, {**home, "HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"})
    ]
    assert [run.returncode for run in runs] == [0, 0], runs
    assert runs[0].stdout == runs[1].stdout
    assert Path(runs[0].stdout.strip()).is_relative_to(tmp_path / "home")
