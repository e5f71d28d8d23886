"""What the scores on a page mean, in a sentence each."""

from __future__ import annotations

import re
from collections.abc import Iterable

_TERMS = {
    "E4BU": (
        "E4BU",
        "The encoder for basic units, tokens: the model without its G-gram encoder.",
    ),
    "G-gram": (
        "G-grams?",
        "Two or more neighbouring tokens that stand in the G-gram vocabulary.",
    ),
    "token": ("tokens?", "A word of DNA letters, as byte-pair encoding (BPE) cuts sequences."),
    "PMI": (
        "PMI",
        "Pointwise mutual information of two neighbouring tokens, in bits: how much more often "
        "they stand together than chance would have it; 0 is chance.",
    ),
    "MCC": (
        "MCC",
        "Matthews correlation coefficient of predicted and true labels: 1 is perfect, 0 no better "
        "than chance, -1 always wrong. Where a table says so it is times 100.",
    ),
    "F1": (
        "F1",
        "Harmonic mean of precision and recall, from 0 to 1; macro F1 is its mean over classes.",
    ),
    "accuracy": ("accuracy", "Fraction that is predicted right, from 0 to 1."),
    "AUROC": (
        "AUROC",
        "Area under the ROC curve: the chance that a positive sequence scores above a negative "
        "one; 0.5 is chance.",
    ),
    "loss": (
        "loss",
        "Mean negative log-likelihood of what was to be predicted, in nats; lower is better.",
    ),
    "bits per bp": (
        "bits per bp",
        "Held-out loss in bits, divided by the bases of the tokens to predict; lower is better.",
    ),
    "G-gram spread": (
        "G-gram spread",
        "How far the states of different G-grams lie apart after the G-gram encoder; near 0 it "
        "tells them no longer apart.",
    ),
    "95 % interval": (
        r"95 % intervals?",
        "Would hold the true value in 95 of 100 repetitions with other seeds and test rows.",
    ),
    "p": (
        r"p|p-values?|Wilcoxon p",
        "Probability of a difference at least this large if there were none.",
    ),
    "q": ("q", "p, corrected for the number of tests: expected share of false calls among calls."),
    "Holm": ("Holm", "Correction of p-values for the number of tests; keeps any false call rare."),
    "Benjamini-Hochberg": (
        "Benjamini-Hochberg",
        "Correction of p-values that bounds the share of false calls among the calls.",
    ),
    "rank-biserial": (
        "rank-biserial",
        "Effect size of Wilcoxon's test: -1 if the model loses on every task, 1 if it wins on "
        "every one.",
    ),
    "d_z": ("d_z", "Cohen's effect size: mean of the paired differences over their SD."),
    "SD": ("SD|standard deviation", "Standard deviation: how far single values lie from the mean."),
    "collapsed": (
        "[Cc]ollapsed",
        "Of a model that calls all test sequences the same, or gives no numbers.",
    ),
    "G-gram density": ("G-gram density", "Fraction of a sequence's tokens inside a G-gram."),
    "coverage": ("[Cc]overage", "Fraction of tokens, or of bases, inside at least one G-gram."),
    "FLOP": ("[GP]?FLOPs?", "A floating-point operation; G is 10⁹, P is 10¹⁵ of them."),
    "attribution": (
        "[Aa]ttributions?|[Ii]ntegrated gradients",
        "What an output owes to a token or G-gram, by integrated gradients along the way from a "
        "baseline; in the output's unit. Positive: raises the output.",
    ),
    "occlusion": ("[Oo]cclusion", "The output less that with the token hidden."),
    "removal": ("[Rr]emovals?", "The output less that without the G-gram."),
    "gap": (
        "gap",
        "What the attributions of a sequence miss of the change of the output; near 0 is good.",
    ),
    "fold": ("fold", "Observed number over expected number; 1 is what chance gives."),
}


def glossary_of(texts: Iterable[str]) -> dict[str, str]:
    """The meaning of each term that the texts use.

    Examples
    --------
    >>> list(glossary_of(["MCC of the tokens"]))
    ['token', 'MCC']
    """
    every = "\n".join(texts)
    return {
        term: meaning
        for term, (pattern, meaning) in _TERMS.items()
        if re.search(rf"(?<![\w-])(?:{pattern})(?![\w-])", every)
    }
