"""``python -m dnazen``."""

from .cli import run

run()
