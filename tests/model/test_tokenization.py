"""Plain Hugging Face code on a model directory gives the numbers of our commands."""

from __future__ import annotations

import inspect
import pickle

import numpy as np
import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    pipeline,
)

import dnazen
from directories import classifier_with_views, random_directory
from dnazen.errors import ConfigError, InputError
from dnazen.model.base_classifier import BaseClassifier
from dnazen.model.batches import Example
from dnazen.model.ggram_rows import GGRAM_INPUTS
from dnazen.model.modeling import (
    DnazenForBaseClassification,
    DnazenForMaskedLM,
    DnazenForSequenceClassification,
    DnazenForTokenClassification,
)
from dnazen.tokens.special import MASK
from inference.test_prediction import MULTI, SINGLE, save_model

CUT = dnazen.PredictionConfig(too_long="cut")
NAMES = ["a", "b", "c"]
MAX_TOKENS = 40
HEADS = [
    DnazenForBaseClassification,
    DnazenForMaskedLM,
    DnazenForSequenceClassification,
    DnazenForTokenClassification,
]


@pytest.fixture(scope="module")
def sequences(ground):
    """Lower case, U, N and other codes, long, short, without a match, and with many."""
    text = "".join(
        line for line in ground.genome.read_text().splitlines() if not line.startswith(">")
    )
    rna = text[300:380].replace("T", "U")
    return [
        text[:120],
        text[120:200].lower(),
        rna,
        text[400:430] + "NNNN" + text[430:470] + "ryN" + text[470:480],
        "A",
        text[500:1500],
        "NN" + text[1500:1530],
    ]


@pytest.fixture(scope="module")
def folders(ground, tmp_path_factory):
    """Directories by how their model reads."""
    root = tmp_path_factory.mktemp("models")
    names = dict(enumerate(NAMES))
    labels = {"id2label": names, "label2id": {name: number for number, name in names.items()}}
    task = {"problem_type": SINGLE, "max_tokens": MAX_TOKENS}
    views = {**labels, **task}
    save_model(root / "plain", ground, NAMES, **task)
    save_model(root / "capped", ground, NAMES, **task, max_ggrams=2)
    save_model(root / "pairs", ground, NAMES, **task, sequences_per_example=2)
    save_model(root / "e4bu", ground, NAMES, **task, strands="average", ggram_vocab_size=0)
    save_model(root / "several", ground, NAMES, **{**task, "problem_type": MULTI})
    classifier_with_views(ground, root / "views", **views)
    both = {**views, "strands": "average"}
    classifier_with_views(ground, root / "both", **both, classifier_pooling="mean")
    classifier_with_views(ground, root / "both_pairs", **both, sequences_per_example=2)
    random_directory(ground, root / "masked", initializer_range=0.3)
    return root


SINGLES = ["plain", "capped", "e4bu", "several", "views", "both"]
PAIRS = ["pairs", "both_pairs"]


def logits_by_command(folder, sequences):
    return np.stack([p.logits for p in dnazen.load(folder, "cpu").predict(sequences, CUT)])


def opened(folder, kind=AutoModelForSequenceClassification):
    return AutoTokenizer.from_pretrained(folder), kind.from_pretrained(folder).eval()


@pytest.mark.parametrize("name", SINGLES)
def test_a_model_called_on_what_the_tokenizer_gives(folders, sequences, name):
    tokenizer, model = opened(folders / name)
    inputs = tokenizer(sequences, padding=True, truncation=True, return_tensors="pt")
    assert inputs["input_ids"].shape == (len(sequences), MAX_TOKENS)
    with torch.no_grad():
        logits = model(**inputs).logits.numpy()
    expected = logits_by_command(folders / name, sequences)
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    assert np.ptp(expected, axis=0).min() > 1e-2  # so that a mix-up would show


def test_what_the_other_strand_and_the_ggrams_add_can_be_seen(folders, sequences):
    tokenizer, model = opened(folders / "both")
    inputs = tokenizer(sequences, padding=True, truncation=True, return_tensors="pt")
    expected = logits_by_command(folders / "both", sequences)
    with torch.no_grad():
        model.config.strands = "forward"
        one_strand = model(**inputs).logits.numpy()
        inputs["ggram_ids"] = torch.zeros(0, dtype=torch.int64)
        without = model(**inputs).logits.numpy()
    assert np.abs(one_strand - expected).max() > 1e-2
    assert np.abs(without - one_strand).max() > 1e-2


@pytest.mark.parametrize("name", PAIRS)
def test_pairs(folders, sequences, name):
    tokenizer, model = opened(folders / name)
    firsts, seconds = sequences[:-1], sequences[1:]
    expected = logits_by_command(
        folders / name, [s for pair in zip(firsts, seconds, strict=True) for s in pair]
    )
    how = {"padding": True, "truncation": True, "return_tensors": "pt"}
    pairs = list(zip(firsts, seconds, strict=True))
    for inputs in (tokenizer(firsts, seconds, **how), tokenizer(pairs, **how)):
        with torch.no_grad():
            logits = model(**inputs).logits.numpy()
        np.testing.assert_allclose(logits, expected, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("name", SINGLES)
def test_pipeline_of_text_classification(folders, sequences, name, batch_size):
    classify = pipeline("text-classification", str(folders / name), device="cpu", top_k=None)
    found = classify(sequences, batch_size=batch_size, truncation=True)
    expected = dnazen.load(folders / name, "cpu").predict(sequences, CUT)
    for scores, prediction in zip(found, expected, strict=True):
        assert {s["label"]: s["score"] for s in scores} == pytest.approx(
            prediction.probabilities, abs=1e-5
        )


@pytest.mark.parametrize("name", ["plain", "both", "masked"])
def test_pipeline_of_feature_extraction(folders, sequences, name):
    extract = pipeline("feature-extraction", str(folders / name), device="cpu")
    config = dnazen.EmbeddingConfig(max_tokens=1000)
    expected = dnazen.load(folders / name, "cpu").embed(sequences, config)
    for states, vector in zip(extract(sequences), expected, strict=True):
        np.testing.assert_allclose(np.mean(states[0][1:-1], axis=0), vector, atol=1e-5)


def test_pipeline_of_fill_mask_sees_the_ggrams_of_what_is_not_hidden(folders, sequences):
    fill = pipeline("fill-mask", str(folders / "masked"), device="cpu", top_k=4)
    text = sequences[0][:30] + "[MASK]" + sequences[0][36:]
    model = dnazen.load(folders / "masked", "cpu")
    left, right = (model.ggrams(part) for part in text.split("[MASK]"))
    tokens = [*left.tokens, "[MASK]", *right.tokens]
    ids = np.array([model.tokenizer.token_to_id(token) for token in tokens])
    batch = model.collator([Example(ids)])
    with torch.no_grad():
        logits = model.masked_lm(**batch).logits[0, 1 + len(left.tokens)]
    likely = logits.softmax(0)
    assert batch["input_ids"][0, 1 + len(left.tokens)] == MASK
    assert len(batch["ggram_ids"])
    for row in fill(text):
        assert row["score"] == pytest.approx(float(likely[row["token"]]), abs=1e-5)


@pytest.mark.parametrize("kind", HEADS)
def test_a_signature_names_all_that_a_tokenizer_gives(folders, kind):
    """The Trainer drops columns of a data set that the signature does not name."""
    inputs = AutoTokenizer.from_pretrained(folders / "both")("ACGTAC")
    assert len(inputs) == 2 * 5
    assert set(inputs) <= set(inspect.signature(kind.forward).parameters)


@pytest.mark.parametrize("name", ["plain", "both"])
def test_the_trainer_predicts_what_the_command_does(folders, sequences, tmp_path, name):
    tokenizer, model = opened(folders / name)
    rows = [
        {**tokenizer(text, truncation=True), "label": number % 3}
        for number, text in enumerate(sequences)
    ]
    settings = TrainingArguments(
        str(tmp_path / "run"),
        max_steps=2,
        per_device_train_batch_size=3,
        per_device_eval_batch_size=3,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        save_strategy="no",
    )
    trainer = Trainer(
        model,
        settings,
        data_collator=DataCollatorWithPadding(tokenizer),
        train_dataset=rows,
        processing_class=tokenizer,
    )
    found = trainer.predict(rows).predictions
    expected = logits_by_command(folders / name, sequences)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    trainer.train()
    trainer.save_model(str(tmp_path / "saved"))
    trained = trainer.predict(rows).predictions
    assert np.abs(trained - expected).max() > 1e-4
    again = logits_by_command(tmp_path / "saved", sequences)
    np.testing.assert_allclose(again, trained, atol=1e-5)


def test_save_pretrained_writes_what_load_needs(folders, sequences, tmp_path):
    tokenizer, model = opened(folders / "both")
    tokenizer.save_pretrained(tmp_path / "again")
    model.save_pretrained(tmp_path / "again")
    for name in ("tokenizer.json", "ggrams.tsv"):
        old, new = (folder / name for folder in (folders / "both", tmp_path / "again"))
        assert new.read_bytes() == old.read_bytes(), name
    np.testing.assert_array_equal(
        logits_by_command(tmp_path / "again", sequences),
        logits_by_command(folders / "both", sequences),
    )


@pytest.mark.parametrize("name", ["plain", "both", "e4bu"])
def test_padding_at_once_and_later_is_the_same(folders, sequences, name):
    tokenizer = AutoTokenizer.from_pretrained(folders / name)
    how = {"padding": True, "return_tensors": "pt"}
    at_once = tokenizer(sequences, **how)
    one_by_one = [tokenizer(text) for text in sequences]
    tensors = [{k: torch.tensor(v) for k, v in row.items()} for row in one_by_one]
    for features in (one_by_one, tokenizer(sequences), tensors):
        later = tokenizer.pad(features, **how)
        assert set(later) == set(at_once)
        for key, box in at_once.items():
            assert later[key].dtype == torch.int64
            assert torch.equal(later[key], box), key
    kept = tokenizer.pad(tensors)  # tensors stay tensors
    assert all(torch.equal(kept[key], box) for key, box in at_once.items())
    lists = tokenizer(sequences, padding=True)
    assert all(lists[key] == box.tolist() for key, box in at_once.items())
    alone = tokenizer.pad(one_by_one[0], padding="max_length", max_length=200)
    assert len(alone["input_ids"]) == 200
    assert all(alone[key] == one_by_one[0][key] for key in GGRAM_INPUTS if key in alone)


def test_windows_of_long_sequences_have_their_own_ggrams(folders, sequences):
    tokenizer = AutoTokenizer.from_pretrained(folders / "both")
    text = sequences[5]
    cut = {"truncation": True, "max_length": 30}
    batch = tokenizer(
        [text], return_overflowing_tokens=True, return_offsets_mapping=True, stride=5, **cut
    )
    assert len(batch["input_ids"]) > 3
    for number, places in enumerate(batch["offset_mapping"]):
        alone = tokenizer(text[places[1][0] : places[-2][1]], **cut)
        assert batch["reverse_input_ids"][number] == alone["reverse_input_ids"]


def test_what_users_expect_of_a_tokenizer(folders, sequences):
    tokenizer = AutoTokenizer.from_pretrained(folders / "plain")
    ids = tokenizer(sequences[:3])["input_ids"]
    clean = [text.upper().replace("U", "T") for text in sequences[:3]]
    assert tokenizer.batch_decode(ids, skip_special_tokens=True) == clean
    assert tokenizer.encode(sequences[0]) == ids[0]
    assert "".join(tokenizer.tokenize(sequences[1])) == clean[1]
    assert len(tokenizer(sequences[5], truncation=True)["input_ids"]) == MAX_TOKENS
    assert tokenizer.model_max_length == MAX_TOKENS
    same = pickle.loads(pickle.dumps(tokenizer))
    assert same(sequences) == tokenizer(sequences)
    assert tokenizer("")["input_ids"] == [1, 2]


def test_a_sequence_without_a_match_gets_what_e4bu_gives(folders):
    tokenizer, model = opened(folders / "plain", AutoModel)
    inputs = tokenizer("A", return_tensors="pt")
    assert not inputs["ggram_ids"].any()
    with torch.no_grad():
        found = model(**inputs).last_hidden_state
        expected = model(inputs["input_ids"], ggram_ids=torch.zeros(0, dtype=torch.int64))
    assert torch.equal(found, expected.last_hidden_state)


def test_what_cannot_be_right_is_refused(folders):
    tokenizer, model = opened(folders / "both")
    with pytest.raises(InputError, match="sequence 2: character '-' is no nucleotide"):
        tokenizer(["ACGT", "AC-GT"])
    with pytest.raises(ConfigError, match="padding_side left: the models read"):
        tokenizer(["ACGT"], padding=True, padding_side="left")
    with pytest.raises(ConfigError, match="padding_side left"):
        tokenizer.pad([tokenizer("ACGT")], padding_side="left")
    with pytest.raises(ConfigError, match="is_split_into_words: DNA has no words"):
        tokenizer([["ACGT"]], is_split_into_words=True)
    with pytest.raises(ConfigError, match=r"no tokens can be added to a model's: \[NEW\]"):
        tokenizer.add_tokens(["[NEW]"])
    with pytest.raises(ConfigError, match="strands must be one of"):
        AutoTokenizer.from_pretrained(folders / "both", strands="reverse")
    one = AutoTokenizer.from_pretrained(folders / "both", strands="forward")
    with pytest.raises(ValueError, match="reads both strands and is given one: use the tokenizer"):
        model(**one("ACGTAC", return_tensors="pt"))
    ids = one("ACGTAC", return_tensors="pt")["input_ids"]
    with pytest.raises(ValueError, match="reads G-grams and is given none"):
        model(ids)
    assert AutoModelForMaskedLM.from_pretrained(folders / "masked") is not None


def test_ggrams_of_another_tokenizer_are_refused(folders, foreign_ground, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(folders / "plain")
    tokenizer.save_pretrained(tmp_path / "t")
    (tmp_path / "t" / "ggrams.tsv").write_bytes(foreign_ground.ggrams.read_bytes())
    (tmp_path / "t" / "config.json").write_bytes((folders / "plain/config.json").read_bytes())
    with pytest.raises(InputError, match="another tokenizer"):
        AutoTokenizer.from_pretrained(tmp_path / "t")


@pytest.mark.parametrize("strands", ["forward", "average"])
def test_classes_of_bases(ground, sequences, tmp_path, strands):
    folder = tmp_path / "bases"
    names = {0: "x", 1: "y"}
    classifier_with_views(
        ground,
        folder,
        kind=DnazenForBaseClassification,
        kmers=0,
        problem_type="base_classification",
        id2label=names,
        label2id={"x": 0, "y": 1},
        strands=strands,
    )
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = DnazenForBaseClassification.from_pretrained(folder).eval()
    assert isinstance(model, BaseClassifier)
    with torch.no_grad():
        output = model(**tokenizer(sequences, padding=True, return_tensors="pt"))
    config = dnazen.PredictionConfig(max_tokens=1000)
    for number, calls in enumerate(dnazen.load(folder, "cpu").predict(sequences, config)):
        found = output.logits[output.sequence == number].numpy()
        expected = calls.logits[~np.isnan(calls.logits).any(axis=1)]
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_classifier_is_saved_under_its_name(folders):
    _, model = opened(folders / "plain")
    assert type(model) is DnazenForSequenceClassification
