from __future__ import annotations

import pytest

from dnazen.report.glossary import glossary_of


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("test MCC and AUROC", ["MCC", "AUROC"]),
        ("macro F1 × 100", ["F1"]),
        ("mean removal", ["removal"]),
        ("wins / ties / losses", []),
        ("p, Holm", ["p", "Holm"]),
        ("MCCs of steps, prompt", []),
        ("Cost in PFLOP", ["FLOP"]),
        ("held-out bits per bp", ["bits per bp"]),
    ],
)
def test_a_term_is_explained_where_it_stands(text: str, terms: list[str]) -> None:
    assert list(glossary_of([text])) == terms
