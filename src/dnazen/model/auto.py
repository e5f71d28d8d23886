"""Our configuration among those that Hugging Face's ``AutoConfig`` knows."""

from __future__ import annotations

from transformers.models.auto.configuration_auto import AutoConfig

from .configuration import DnazenConfig

AutoConfig.register("dnazen", DnazenConfig, exist_ok=True)
