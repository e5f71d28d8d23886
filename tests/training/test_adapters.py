"""LoRA adapters against peft itself: what is trained, saved, read again, merged and refused."""

from __future__ import annotations

import builtins
import csv
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from directories import random_directory, rewrite, weights_of
from dnazen import cli
from dnazen.commands.finetune import FinetuneCommand
from dnazen.errors import ConfigError, InputError
from dnazen.inference.opened import OpenedModel
from dnazen.model.batches import Collator, Example
from dnazen.model.directory import open_directory
from dnazen.model.modeling import DnazenForSequenceClassification
from dnazen.sequences.settings import LabelConfig
from dnazen.tokens.tokenizer import encode
from dnazen.training.adapters import TRAINED_WHOLE, add_adapter
from dnazen.training.settings import LoraConfig, OptimizerConfig, RunConfig
from loopback_hub import COMMITS, serving, use
from settings_of import settings_of
from splits_of import SINGLE
from training.test_finetune import PLAIN, finetune, sequences, task  # noqa: F401

pytestmark = [
    # peft asks transformers by a name that goes out of use.
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated"),
    pytest.mark.usefixtures("few_draws"),
]

CLOSE = {"atol": 1e-5, "rtol": 1e-5}
ADAPTER_FILES = {
    "adapter_config.json", "adapter_model.safetensors", "base.json", "config.json",
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
}  # fmt: skip


def settings(data, model, output, **more):
    base = {
        "epochs": 2,
        "batch_size": 8,
        "optimizer": OptimizerConfig(learning_rate=1e-2, warmup_steps=2),
        "run": RunConfig(precision="float32", device="cpu"),
        "lora": LoraConfig(rank=3),
        **PLAIN,
    }
    return settings_of(FinetuneCommand, data=data, model=model, output=output, **{**base, **more})


@pytest.fixture(scope="module")
def base(ground, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "base"
    random_directory(ground, folder, seed=1, hidden_size=32, intermediate_size=32)
    return folder


@pytest.fixture(scope="module")
def adapter(base, task, tmp_path_factory):  # noqa: F811
    """What a fine-tuning with an adapter leaves."""
    output = tmp_path_factory.mktemp("runs") / "adapter"
    finetune(settings(task, base, output))
    return output


@pytest.fixture(scope="module")
def batch(base):
    parts = open_directory(base)
    tokens, offsets = encode(parts.tokenizer, sequences(9, seed=7)[0])
    made = Collator.of(parts)([Example(t) for t in np.split(tokens, offsets[1:-1])])
    assert len(made["ggram_ids"])
    return made


def logits(model, batch):
    with torch.no_grad():
        return model.eval()(**batch).logits


def test_the_directory_is_small_and_names_its_base(adapter, base):
    assert {path.name for path in adapter.iterdir()} >= ADAPTER_FILES
    assert "model.safetensors" not in {path.name for path in adapter.iterdir()}
    named = json.loads((adapter / "adapter_config.json").read_text())
    assert named["base_model_name_or_path"] == str(base.resolve())
    assert (named["r"], named["lora_alpha"]) == (3, 6)
    stored = load_file(adapter / "adapter_model.safetensors")
    heads = {n for n in stored if ".lora_" not in n}
    assert {n.split(".")[2] for n in heads} == set(TRAINED_WHOLE) - {"base_head"}  # it has no bases
    assert not any("embeddings" in name for name in stored)


def test_an_adapter_on_a_model_of_the_hub_names_it_and_its_commit(
    base,
    task,  # noqa: F811
    tmp_path,
    monkeypatch,
):
    with serving() as hub:
        use(monkeypatch, hub.url, tmp_path / "cache")
        hub.add("org/base", base, "v1")
        output = tmp_path / "adapter"
        finetune(settings(task, Path("org/base@v1"), output, epochs=1))
        named = json.loads((output / "adapter_config.json").read_text())
        assert named["base_model_name_or_path"] == "org/base"
        assert named["revision"] == COMMITS["v1"]
        record = json.loads((output / "run.json").read_text())
        assert record["model"]["commit"] == COMMITS["v1"]
        use(monkeypatch, hub.url, tmp_path / "other_cache")  # as on another machine
        DnazenForSequenceClassification.from_released(output)
        assert any("base" in request for request in hub.requests)


def test_every_matrix_product_of_both_encoders_is_adapted_and_no_table(base):
    model = DnazenForSequenceClassification.from_released(base)
    products = {
        name for name, part in model.dnazen.named_modules() if isinstance(part, torch.nn.Linear)
    }
    adapted = add_adapter(model, LoraConfig(rank=2), base)
    found = {
        name.split(".lora_A.")[0].removeprefix("base_model.model.dnazen.")
        for name, _ in adapted.named_parameters()
        if ".lora_A." in name
    }
    assert found == products
    assert len(found) == 4 * 2 + 4 * 1  # qkv, output, in, out of two layers and a G-gram layer
    trained = {name for name, p in adapted.named_parameters() if p.requires_grad}
    assert all(".lora_" in name or "pooler" in name or "classifier" in name for name in trained)


def test_training_changes_the_adapted_layers_and_nothing_else(adapter, base):
    model = DnazenForSequenceClassification.from_released(adapter)
    before = weights_of(base)
    changed = {
        name
        for name, tensor in model.state_dict().items()
        if name in before and not torch.equal(tensor, before[name])
    }
    assert changed
    assert all(".attention." in name or ".feed_forward." in name for name in changed)
    assert len(changed) == 4 * 2 + 4 * 1


def test_reading_an_adapter_gives_what_peft_computes_and_merges(adapter, base, batch):
    ours = DnazenForSequenceClassification.from_released(adapter)
    config = open_directory(adapter).config
    plain = DnazenForSequenceClassification.from_released(base, config=config)
    theirs = PeftModel.from_pretrained(plain, str(adapter))
    expected = logits(theirs, batch)
    assert expected.std() > 1e-3
    torch.testing.assert_close(logits(ours, batch), expected, **CLOSE)
    merged = theirs.merge_and_unload()
    torch.testing.assert_close(logits(merged, batch), expected, **CLOSE)
    for name, tensor in merged.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], tensor, **CLOSE, msg=name)


def rows_of(path):
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle, delimiter="\t"))


def test_predict_takes_an_adapter_and_its_merged_model(adapter, task, tmp_path, capsys):  # noqa: F811
    test = str(task / "test.csv")
    merged = tmp_path / "merged"
    assert cli.main(["convert", str(adapter), "-o", str(merged)]) == 0
    assert (merged / "model.safetensors").is_file()
    for number, model in enumerate((adapter, merged)):
        out = tmp_path / f"{number}.tsv"
        assert cli.main(["predict", str(model), test, "-o", str(out)]) == 0
        for row, old in zip(rows_of(out), rows_of(adapter / "test_predictions.tsv"), strict=True):
            assert row["name"] == old["name"]
            assert float(row["p_1"]) == pytest.approx(float(old["p_1"]), abs=1e-5)
    assert "starting at random" not in capsys.readouterr().err


def test_an_adapter_on_e4bu_alone_and_numbers_in_any_unit(base, ground, tmp_path):
    data = tmp_path / "data.csv"
    texts, bands = sequences(60, seed=3)
    data.write_text(
        "sequence,label\n"
        + "".join(f"{s},{1000 + 50 * b}\n" for s, b in zip(texts, bands, strict=True))
    )
    command = ["finetune", "--data", str(data), "--model", str(base), "-o", str(tmp_path / "run")]
    command += ["--lora.rank", "2", "--without-ggrams", "--labels.problem-type", "regression"]
    command += ["--epochs", "1", "--optimizer.warmup-steps", "1", "--run.precision", "float32"]
    assert cli.main(command) == 0
    classifier = OpenedModel.open(tmp_path / "run", "cpu")
    assert classifier.collator.matcher is None
    found = [float(row["prediction"]) for row in rows_of(tmp_path / "run" / "test_predictions.tsv")]
    assert all(900 < value < 1200 for value in found)


@pytest.mark.parametrize("kind", ["classes", "numbers"])
@pytest.mark.parametrize("channels", [0, 6])
def test_k_mers_and_a_base_view_are_saved_with_an_adapter(base, tmp_path, kind, channels):
    """What the model said of test, with both strands read, is what it says when it is opened."""
    data = tmp_path / "data.csv"
    texts, bands = sequences(90, seed=3)
    rows = zip(texts, bands, strict=True)
    data.write_text("sequence,label\n" + "".join(f"{s},{1000 + 50 * b}\n" for s, b in rows))
    views = {"kmers": 3, "base_channels": channels, "strands": "average", "epochs": 1}
    labels = LabelConfig(problem_type="regression" if kind == "numbers" else SINGLE)
    finetune(settings(data, base, tmp_path / "run", labels=labels, **views))
    found = json.loads((tmp_path / "run" / "test_metrics.json").read_text())
    assert found["blend"]["kmers"] > 0
    test = {row["name"]: row for row in rows_of(tmp_path / "run" / "test_predictions.tsv")}
    out = tmp_path / "again.tsv"
    assert cli.main(["predict", str(tmp_path / "run"), str(data), "-o", str(out)]) == 0
    again = {row["name"]: row for row in rows_of(out)}
    column = "prediction" if kind == "numbers" else "p_1050"
    for name, row in test.items():
        assert float(again[name][column]) == pytest.approx(float(row[column]), rel=1e-5, abs=1e-5)


def test_a_new_base_view_beside_an_adapter_is_trained(base, task, tmp_path):  # noqa: F811
    """It starts at zero, and would say nothing for ever if it stood still."""
    finetune(settings(task, base, tmp_path / "run", base_channels=4))
    classifier = OpenedModel.open(tmp_path / "run", "cpu").classifier
    assert classifier.dnazen.bases.output.weight.any()
    assert classifier.base_head.weight.any()


def test_resuming_equals_not_stopping(adapter, base, task, tmp_path, monkeypatch):  # noqa: F811
    from transformers import Trainer

    class StoppedError(Exception): ...

    real = Trainer._save_checkpoint

    def stopping(self, *args, **kwargs):
        real(self, *args, **kwargs)
        raise StoppedError

    monkeypatch.setattr(Trainer, "_save_checkpoint", stopping)
    with pytest.raises(StoppedError):
        finetune(settings(task, base, tmp_path / "run"))
    monkeypatch.undo()
    finetune(settings(task, base, tmp_path / "run", resume=True))
    one, other = (
        load_file(folder / "adapter_model.safetensors") for folder in (adapter, tmp_path / "run")
    )
    assert set(one) == set(other)
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


# -- refusals


@pytest.fixture
def copies(adapter, base, tmp_path):
    """An adapter and a base that a test may damage."""
    folder = shutil.copytree(adapter, tmp_path / "adapter")
    model = shutil.copytree(base, tmp_path / "base")
    change_settings(folder, base_model_name_or_path=str(model))
    return folder, model


def change_settings(folder, **changes):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_base_that_is_gone_or_another_is_refused(copies):
    folder, model = copies
    OpenedModel.open(folder, "cpu")
    rewrite(model, lambda weights: weights["head.dense.bias"].add_(1))
    with pytest.raises(InputError, match="are not those that this adapter was trained on"):
        OpenedModel.open(folder, "cpu")
    shutil.rmtree(model)
    with pytest.raises(InputError, match=r"no model in .*name its new place as base_model_name"):
        OpenedModel.open(folder, "cpu")


@pytest.mark.parametrize("change", [{"use_dora": True}, {"peft_type": "IA3"}])
def test_adapters_of_other_kinds_are_refused(copies, change):
    change_settings(copies[0], **change)
    with pytest.raises(InputError, match="an adapter of another kind; expected plain LoRA"):
        OpenedModel.open(copies[0], "cpu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"r": 0}, "r 0 and lora_alpha 6 make no adapter"),
        ({"r": "3"}, "r '3' and lora_alpha 6 make no adapter"),
        ({"r": None}, "make no adapter; expected a rank of 1 or more"),
        ({"lora_alpha": "6"}, "r 3 and lora_alpha '6' make no adapter"),
        ({"lora_alpha": math.nan}, "lora_alpha nan make no adapter"),
        ({"base_model_name_or_path": 5}, "no model in '5'"),
        ({"base_model_name_or_path": "."}, "an adapter that is its own base"),
    ],
)
def test_settings_that_make_no_adapter_are_refused(copies, change, message):
    change_settings(copies[0], **change)
    with pytest.raises(InputError, match=message):
        OpenedModel.open(copies[0], "cpu")


def test_adapters_that_name_each_other_are_refused(copies, tmp_path):
    folder, _ = copies
    other = shutil.copytree(folder, tmp_path / "other")
    change_settings(folder, base_model_name_or_path=str(other))
    change_settings(other, base_model_name_or_path=str(folder))
    with pytest.raises(InputError, match="an adapter that is its own base"):
        OpenedModel.open(folder, "cpu")


def test_a_base_beside_its_adapter_is_read_from_anywhere(copies, tmp_path, monkeypatch):
    change_settings(copies[0], base_model_name_or_path="../base")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    OpenedModel.open(copies[0], "cpu")


def test_matrices_that_do_not_go_together_are_refused(copies):
    path = copies[0] / "adapter_model.safetensors"
    weights = load_file(path)
    name = next(name for name in weights if ".lora_B." in name)
    for changed in (
        {k: v for k, v in weights.items() if k != name},
        {**weights, name: weights[name][1:]},
        {**weights, name: weights[name][:, 1:].contiguous()},
        {k.replace("layers.1", "layers.7"): v for k, v in weights.items()},
    ):
        save_file(changed, path)
        with pytest.raises(InputError, match="cannot be adapted by this; expected for each matrix"):
            OpenedModel.open(copies[0], "cpu")


def test_without_peft_training_is_refused_and_reading_is_not(
    adapter,
    base,
    task,  # noqa: F811
    tmp_path,
    monkeypatch,
):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "peft":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"pip install 'dnazen\[peft\]'"):
        finetune(settings(task, base, tmp_path / "run"))
    assert not (tmp_path / "run").exists()
    OpenedModel.open(adapter, "cpu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rank": -1}, "lora.rank must be 0 to 65536, got -1"),
        ({"alpha": 0}, "lora.alpha must be 1 to 1048576, got 0"),
        ({"dropout": 1.0}, "lora.dropout must lie in 0 <= p < 1, got 1.0"),
    ],
)
def test_settings_out_of_range(change, message):
    with pytest.raises(ConfigError, match=message):
        LoraConfig(**change)


def test_random_weights_take_no_adapter(base, task, tmp_path):  # noqa: F811
    with pytest.raises(ConfigError, match="an adapter needs a trained model"):
        settings(task, base, tmp_path / "run", from_random_weights=True)
