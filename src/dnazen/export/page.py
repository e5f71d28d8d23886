"""A model as one page that runs it in a browser: no server, and no network once it is opened.

Everything stands in the file, packed with gzip and spelt in base64, since a page that is opened
from a file may load nothing beside itself.
"""

from __future__ import annotations

import base64
import gzip
import json
from importlib.resources import files

from jinja2 import Environment
from markupsafe import Markup

from ..errors import ConfigError
from .export import Exported
from .runtime import Runtime

_SCRIPTS = ("reading.js", "model.js", "view.js")


def page_of(exported: Exported, runtime: Runtime) -> str:
    """The page of a model.

    Raises
    ------
    ConfigError
        If the model reads pairs of sequences.
    """
    about = exported.description
    if about["sequences_per_example"] != 1:
        raise ConfigError("a page reads single sequences, this model pairs; write --output alone")
    parts = {
        "wasm": runtime.wasm,
        "runtime": runtime.module,
        "model": exported.graph,
        "tokenizer": exported.tokenizer.encode(),
        "ggrams": json.dumps(exported.ggrams, separators=(",", ":")).encode(),
        "about": json.dumps(about).encode(),
    }
    environment = Environment(autoescape=True)
    template = environment.from_string(_file("page.html"))
    return template.render(
        title=about["model"].rstrip("/").rsplit("/", 1)[-1],
        summary=_summary(exported),
        style=Markup(_file("page.css")),
        parts={name: _packed(content) for name, content in parts.items()},
        scripts=[Markup(text) for text in (runtime.script, *map(_file, _SCRIPTS))],
    )


def _summary(exported: Exported) -> str:
    about = exported.description
    does = {
        "classifier": f"A DNA model fine-tuned to tell: {', '.join(about['labels'] or [])}",
        "masked_lm": "A DNA language model that tells how likely sequences are",
        "encoder": "A DNA encoder without a head",
    }[about["head"]]
    return f"{does}, with {len(exported.ggrams):,} G-grams." if exported.ggrams else f"{does}."


def _file(name: str) -> str:
    return (files(__package__) / "page" / name).read_text(encoding="utf-8")


def _packed(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()
