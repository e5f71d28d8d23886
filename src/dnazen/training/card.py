"""The model card of a trained model: README.md, in the form that Hugging Face's hub reads.

It says what the records of the run say, and no more. The license is left to who publishes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData
from jinja2 import Template

from ..model.configuration import DnazenConfig
from ..outputs import new_file
from ..report.text import name_of, one_line
from .settings import METRICS

CARD_FILE = "README.md"

_CARD = Template(
    """---
{{ front }}
---

# {{ title }}

{{ what }}

## Use

```python
import dnazen  # makes the model type known

{{ use }}
```

## Data

{{ data }}

## Training

{{ training }}

## Scores

{{ scores }}
""",
    keep_trailing_newline=True,
)

_PIPELINES = {
    None: "fill-mask",
    "single_label_classification": "text-classification",
    "multi_label_classification": "text-classification",
    "regression": "text-classification",
}
"""By problem type; ``None`` is a pre-trained model. Classes of bases have none."""

_HELD_OUT = {
    "eval_loss": "loss (nats a token)",
    "eval_accuracy": "accuracy",
    "eval_bits_per_bp": "bits per base",
}


def write_card(
    directory: Path,
    config: DnazenConfig,
    record: Mapping[str, Any],
    metrics: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
) -> None:
    """Write the card of a model into its directory.

    Parameters
    ----------
    record
        ``run.json``.
    metrics
        ``metrics.json`` of a pre-training, ``test_metrics.json`` of a fine-tuning.
    history
        The log of its ``history.json``.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    with new_file(directory / CARD_FILE) as partial:
        text = model_card(name_of(directory), config, record, metrics, history)
        partial.write_text(text, encoding="utf-8")


def model_card(
    name: str,
    config: DnazenConfig,
    record: Mapping[str, Any],
    metrics: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
) -> str:
    """The text of the card; parameters as in ``write_card``."""
    tuned = record["command"] == "finetune"
    pipeline = _PIPELINES.get(config.problem_type if tuned else None)
    front = ModelCardData(
        library_name="dnazen", pipeline_tag=pipeline, tags=["dna", "genomics", "g-grams"]
    )
    adapter = tuned and record["settings"]["lora"]["rank"]
    text: str = _CARD.render(
        front=front.to_yaml(),
        title=one_line(name),
        what=_what(config, tuned),
        use=_use(None if adapter else pipeline),
        data="\n".join(_data(record, tuned)),
        training="\n".join(_training(record, metrics, history)),
        scores="\n".join(_test_scores(config, metrics) if tuned else _held_out(metrics)),
    )
    return text


def _use(pipeline: str | None) -> str:
    """The lines that read a sequence: by a pipeline of ``transformers``, or by ``dnazen``."""
    if pipeline is None:
        return 'model = dnazen.load("PATH")\nmodel.predict(["ACGTTGCATTACGGATTACA"])'
    hidden = "[MASK]" if pipeline == "fill-mask" else "TTAC"
    return (
        f'from transformers import pipeline\n\nread = pipeline("{pipeline}", "PATH")\n'
        f'read("ACGTTGCA{hidden}GGATTACA")'
    )


def _what(config: DnazenConfig, tuned: bool) -> str:
    ggrams = max(0, config.ggram_vocab_size - 1)
    reads = f"BPE tokens and {ggrams:,} G-grams" if ggrams else "BPE tokens"
    parts = [
        f"A DNA language model that reads {reads}: {config.num_hidden_layers} layers of "
        f"{config.hidden_size}, {config.encoder_parameters:,} weights in its encoders."
    ]
    if not tuned:
        parts.append("Pre-trained as a masked language model.")
        return " ".join(parts)
    kind = str(config.problem_type).replace("_", " ")
    names = ", ".join(one_line(config.id2label[n]) for n in range(min(config.num_labels, 20)))
    more = ", ..." if config.num_labels > 20 else ""
    parts.append(f"Fine-tuned for {kind}: {names}{more}.")
    if config.sequences_per_example == 2:
        parts.append("It reads pairs of sequences.")
    if config.strands == "average":
        parts.append("It reads both strands, and answers with the mean of its logits.")
    if config.kmers:
        parts.append(f"A regression on k-mers up to {config.kmers} bases speaks beside it.")
    return " ".join(parts)


def _data(record: Mapping[str, Any], tuned: bool) -> Iterator[str]:
    """Inputs by name and hash, and their sizes."""
    if tuned:
        rows = ", ".join(f"{number:,} {part}" for part, number in record["rows"].items())
        source = one_line(name_of(record["settings"]["data"]))
        start = one_line(name_of(record["settings"]["model"]))
        yield f"Rows of `{source}`: {rows}. Training began from `{start}`."
    else:
        yield (
            f"{record['train_tokens']:,} tokens to train on, {record['heldout_tokens']:,} held out."
        )
    yield ""
    for file in record["inputs"]:
        yield f"- `{one_line(name_of(file['path']))}`, SHA-256 `{file['sha256']}`"


def _training(
    record: Mapping[str, Any], metrics: Mapping[str, Any], history: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """Settings that a reader asks for first, and the cost; ``run.json`` has all."""
    settings = record["settings"]
    rate = metrics.get("learning_rate", settings["optimizer"]["learning_rate"])
    chosen = {
        "learning rate": f"{rate:g}",
        "steps": history[-1]["step"],
        "passes over the data": f"{history[-1]['epoch']:.3g}",
        "tokens a batch": settings.get("tokens_per_batch"),
        "rows a batch": settings.get("batch_size"),
        "longest example, tokens": settings["max_tokens"],
        "seed": settings["run"]["seed"],
    }
    yield from (f"- {name}: {value}" for name, value in chosen.items() if value is not None)
    seconds = [entry["train_runtime"] for entry in history if "train_runtime" in entry]
    precision = "bf16" if record["bf16"] else "float32"
    yield f"- cost: {sum(seconds):,.0f} seconds, in {precision}, on {record['platform']}"
    yield f"- dnazen {record['dnazen']}, torch {record['torch']}"
    yield ""
    yield "`run.json` has all settings."


def _held_out(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Of a pre-training, on masked tokens."""
    yield "On held-out tokens that were hidden:"
    yield ""
    for name, title in _HELD_OUT.items():
        yield f"- {title}: {_number(metrics[name])}"
    if "markov_bits_per_bp" in metrics:
        yield (
            f"- beside it, bits per base of a Markov model of order {metrics['markov_order']}: "
            f"{_number(metrics['markov_bits_per_bp'])}"
        )


def _test_scores(config: DnazenConfig, metrics: Mapping[str, Any]) -> Iterator[str]:
    """Of a fine-tuning, on test, beside the simple tools."""
    baselines: Mapping[str, Mapping[str, Any]] = metrics["baselines"]
    yield f"On test ({metrics['rows']:,} rows), beside simple tools fitted to the same rows:"
    yield ""
    yield f"| score | this model | {' | '.join(baselines)} |"
    yield f"|---|---|{'---|' * len(baselines)}"
    for name in METRICS[config.problem_type or "single_label_classification"]:
        models = [metrics, *baselines.values()]
        yield f"| {name} | {' | '.join(_number(scores[name]) for scores in models)} |"
    low, high = metrics["interval"]
    yield ""
    yield f"{metrics['metric']} lies in {_number(low)} to {_number(high)} with 95 % confidence."


def _number(value: float | None) -> str:
    """To 3 digits; null in a record is what is not defined."""
    return "not defined" if value is None or value != value else f"{value:.3f}"
