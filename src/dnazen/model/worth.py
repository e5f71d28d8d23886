"""Whether the scores that stand beside a model speak against it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..records import read_json
from .files import FINETUNING_SCORES, PRETRAINING_SCORES


def weakness(directory: Path) -> str | None:
    """Why what a model says means little, in words; ``None`` if nothing beside it says so.

    Read are the scores of its pre-training and of its fine-tuning.
    """
    pretraining = _scores(directory / PRETRAINING_SCORES)
    bits, markov = pretraining.get("eval_bits_per_bp"), pretraining.get("markov_bits_per_bp")
    if isinstance(bits, float) and isinstance(markov, float) and bits >= markov:
        return (
            f"guesses hidden bases no better than a count of what follows the "
            f"{pretraining.get('markov_order')} bases before ({bits:.3f} against {markov:.3f} bits "
            "a base); train it longer or on more sequence"
        )
    if _scores(directory / FINETUNING_SCORES).get("collapsed") is True:
        return "predicts the same for all of its test data; see its report.html"
    return None


def _scores(path: Path) -> dict[str, Any]:
    return read_json(path, "a model's scores") if path.is_file() else {}
