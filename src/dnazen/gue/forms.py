"""What stands in the JSON files of a benchmark's run; reading them checks it (``records.Form``).

In these files models are called arms, as they were in the first version.
"""

from __future__ import annotations

from ..records import COUNT

_COST = {
    "seconds": float,
    "peak_memory_bytes": float,
    "peak_gpu_memory_bytes?": float,
    "parameters": COUNT,
    "flops_per_sequence": float,
    "training_flops": float,
    "threads": COUNT,
    "device": str,
    "bf16": bool,
}

_SCORES = {"mcc?": float, "f1?": float}

CELL_FORM = {
    "settings": dict,
    "test": {"collapsed": bool, **_SCORES},
    "dev": _SCORES,
    "cost": {"seconds": float},
}
"""Of a cell, what a run asks of it."""

RESULT_FORM = {
    "dnazen": str,
    "python": str,
    "platform": str,
    "seed": COUNT,
    "learning_rate": float,
    "rows": {str: COUNT},
    "label_names": [str],
    "test": {"collapsed": bool, **_SCORES},
    "dev": _SCORES,
    "best_epoch?": float,
    "cost": _COST,
}
"""Of a cell, what a report asks of it."""

RUN_FORM = {
    "argv": [str],
    "settings": {"tasks": [str], "seeds": [COUNT]},
    "arms": [{"name": str, "kind": str, "source": str}],
    "skipped?": {str: str},
}

CHOICES_FORM = {str: {str: {"learning_rate": str, "dev_mcc?": dict, "dev_f1?": dict}}}

TASK_FORM = {
    "said": str,
    "rows": {str: COUNT},
    "sources": [{"sha256": str}],
    "settings?": dict,
}

DENSITY_FORM = {"ggrams_of": str, "density": [float]}

LEAKAGE_FORM = {
    "inputs": [
        {
            "what": str,
            "source": str,
            "arms": [str],
            "problem": str,
            "tasks": {
                str: {"sequences": COUNT, "partly": COUNT, "wholly": COUNT, "fraction": float}
            },
        }
    ]
}
