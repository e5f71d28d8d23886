"""What several tests of training start from."""

from __future__ import annotations

import pytest

from directories import random_directory


@pytest.fixture(scope="session")
def pretrained(ground, tmp_path_factory):
    """A small model with G-grams and random weights; a test that changes it takes a copy."""
    folder = tmp_path_factory.mktemp("models") / "pretrained"
    random_directory(ground, folder, seed=1, hidden_size=32, intermediate_size=32)
    return folder
