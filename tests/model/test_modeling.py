"""The model against method.md section 5 written out densely, and the laws that follow from it."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import layer_norm
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from dnazen import (
    DnazenConfig,
    DnazenForMaskedLM,
    DnazenForSequenceClassification,
    DnazenForTokenClassification,
    DnazenModel,
)
from dnazen.errors import ConfigError
from dnazen.model.bases import BaseView
from dnazen.model.configuration import SIZES
from dnazen.model.kmers import KmerView
from model.test_kmers import names_of, words_of

VOCAB, GGRAMS = 40, 30
NO_GGRAMS = torch.empty(0, dtype=torch.long)
"""As ``ggram_ids``: says that a batch has none."""
PAD = 3
SHAPE = {
    "vocab_size": VOCAB,
    "hidden_size": 12,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "num_hidden_ggram_layers": 2,
    "ggram_vocab_size": GGRAMS,
    "hidden_dropout_prob": 0.0,
}


SPECIAL_BASES = [[4], [], [], [], [4]]
"""Of [UNK] [CLS] [SEP] [PAD] [MASK]: 4 is a base that is not seen."""
TOKEN_BASES = SPECIAL_BASES + [
    np.random.default_rng(token).integers(0, 4, 1 + token % 4).tolist()
    for token in range(len(SPECIAL_BASES), VOCAB)
]


def shape(**changes) -> DnazenConfig:
    return DnazenConfig(**{**SHAPE, **changes})


def random_model(kind=DnazenForMaskedLM, seed=0, **changes):
    """Weights all random and far from zero: gates, biases and layer norms too."""
    torch.manual_seed(seed)
    model = kind(shape(**changes)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(1.0 if "norm.weight" in name else 0.0, 0.3)
        table = torch.tensor([bases + [-1] * (4 - len(bases)) for bases in TOKEN_BASES])
        for part in model.modules():
            if isinstance(part, BaseView):
                part.table.copy_(table)
            if isinstance(part, KmerView):
                part.spell_by(table)
                part.weight_of.uniform_(0.5, 2)
    return model


class Sequence:
    """Tokens and, for each distinct G-gram, its id and the positions that it covers."""

    def __init__(self, rng, length, slots):
        self.tokens = [1, *rng.integers(5, VOCAB, length - 2).tolist(), 2]
        self.ids = rng.choice(np.arange(1, GGRAMS), slots, replace=False).tolist()
        self.covers = []
        for _ in range(slots):
            start = int(rng.integers(1, length - 2))
            end = min(length - 1, start + int(rng.integers(2, 5)))
            again = int(rng.integers(1, length - 1))  # a second occurrence, a token long
            self.covers.append(sorted({*range(start, end), again}))


def sequences(seed=0):
    """Of several lengths; the third has no G-gram, and G-grams share tokens."""
    rng = np.random.default_rng(seed)
    return [Sequence(rng, n, k) for n, k in ((9, 3), (14, 6), (6, 0), (4, 1))]


def batch_of(some, width=None):
    """The inputs of the models, made from the table in the model's documentation."""
    width = width or max(len(s.tokens) for s in some)
    batch = {
        "input_ids": torch.tensor([s.tokens + [PAD] * (width - len(s.tokens)) for s in some]),
        "attention_mask": torch.tensor(
            [[1] * len(s.tokens) + [0] * (width - len(s.tokens)) for s in some]
        ),
    }
    ids, offsets, pairs = [], [0], []
    for b, s in enumerate(some):
        for ggram, covers in zip(s.ids, s.covers, strict=True):
            pairs += [(b * width + i, len(ids)) for i in covers]
            ids.append(ggram)
        offsets.append(len(ids))
    pairs = torch.tensor(sorted(pairs), dtype=torch.long).view(-1, 2)
    return batch | {
        "ggram_ids": torch.tensor(ids, dtype=torch.long),
        "ggram_offsets": torch.tensor(offsets),
        "cover_token": pairs[:, 0],
        "cover_slot": pairs[:, 1],
    }


def labels_of(some, width=None, seed=1):
    rng = np.random.default_rng(seed)
    width = width or max(len(s.tokens) for s in some)
    labels = torch.full((len(some), width), -100)
    for b, s in enumerate(some):
        for i in range(1, len(s.tokens) - 1):
            if rng.random() < 0.4:
                labels[b, i] = int(rng.integers(5, VOCAB))
    return labels


# -- the oracle: one sequence at a time, dense, from method.md section 5 alone


def gelu(x):
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def naive_slopes(heads):
    def powers(n):
        return [2 ** (-8 * (k + 1) / n) for k in range(n)]

    n = 1
    while n * 2 <= heads:
        n *= 2
    return torch.tensor((powers(n) + powers(2 * n)[::2])[:heads], dtype=torch.float64)


def naive_layer(w, name, x, config, *, slopes, gated):
    heads, size = config.num_attention_heads, config.hidden_size // config.num_attention_heads

    def norm(part, value):
        return layer_norm(
            value,
            value.shape[-1:],
            w[f"{name}.{part}.norm.weight"],
            w[f"{name}.{part}.norm.bias"],
            config.layer_norm_eps,
        )

    def dense(part, value):
        out = torch.einsum("oi,ni->no", w[f"{name}.{part}.weight"], value)
        bias = w.get(f"{name}.{part}.bias")
        return out if bias is None else out + bias

    mixed = dense("attention.qkv", x)
    q, k, v = (mixed[:, i * heads * size : (i + 1) * heads * size] for i in range(3))
    parts = []
    for head in range(heads):
        cut = slice(head * size, (head + 1) * size)
        logits = torch.einsum("id,jd->ij", q[:, cut], k[:, cut]) / math.sqrt(size)
        if slopes is not None:
            distance = torch.tensor(
                [[abs(i - j) for j in range(len(x))] for i in range(len(x))], dtype=x.dtype
            )
            logits = logits - slopes[head] * distance
        weights = torch.exp(logits - logits.max(1, keepdim=True).values.detach())
        weights = weights / weights.sum(1, keepdim=True)
        parts.append(torch.einsum("ij,jd->id", weights, v[:, cut]))
    x = norm("attention", x + dense("attention.output", torch.cat(parts, 1)))
    if gated:
        both = dense("feed_forward.gated", x)
        half = config.intermediate_size
        inner = gelu(both[:, :half]) * both[:, half:]
    else:
        inner = gelu(dense("feed_forward.intermediate", x))
    return norm("feed_forward", x + dense("feed_forward.output", inner))


def spelt(tokens):
    """Each base of some tokens, and the place of the token that holds it."""
    return [(base, place) for place, token in enumerate(tokens) for base in TOKEN_BASES[token]]


def naive_base_states(w, tokens):
    """The states of the bases, (1, channels, bases)."""
    bases = spelt(tokens)
    x = torch.zeros(1, 4, max(1, len(bases)), dtype=torch.float64)
    for at, (base, _) in enumerate(bases):
        if base < 4:
            x[0, base, at] = 1
    for name in ("first", "second"):
        weight, bias = w[f"dnazen.bases.{name}.weight"], w[f"dnazen.bases.{name}.bias"]
        x = torch.relu(torch.nn.functional.conv1d(x, weight, bias, padding=weight.shape[2] // 2))
    return x


def naive_bases(w, tokens):
    """What the base view adds to each token: largest and mean state of its bases, projected."""
    bases, x = spelt(tokens), naive_base_states(w, tokens)
    added = []
    for place in range(len(tokens)):
        own = [x[0, :, at] for at, (_, owner) in enumerate(bases) if owner == place]
        if own:
            both = torch.cat([torch.stack(own).amax(0), torch.stack(own).mean(0)])
            added.append(w["dnazen.bases.output.weight"] @ both)
        else:
            added.append(torch.zeros(len(w["dnazen.bases.output.weight"]), dtype=torch.float64))
    return torch.stack(added)


def naive_states(w, config, sequence):
    """States of one sequence's tokens, and those of its G-grams (None if it has none)."""

    def looked_up(name, ids):
        return w[f"{name}.word_embeddings.weight"][torch.tensor(ids)]

    def embed(name, rows):
        typed = rows + w[f"{name}.token_type_embeddings.weight"][0]
        return layer_norm(
            typed,
            typed.shape[-1:],
            w[f"{name}.norm.weight"],
            w[f"{name}.norm.bias"],
            config.layer_norm_eps,
        )

    tokens = looked_up("dnazen.embeddings", sequence.tokens)
    if config.base_channels:
        tokens = tokens + naive_bases(w, sequence.tokens)
    h = embed("dnazen.embeddings", tokens)
    mu = matrix = None
    if sequence.ids and config.ggram_vocab_size:
        shared = config.ggram_embedding == "shared"
        ids = [1 for _ in sequence.ids] if shared else sequence.ids
        rows = looked_up("dnazen.ggram_embeddings", ids)
        if config.ggram_embedding == "composed":
            rows = rows + torch.stack([tokens[covers].mean(0) for covers in sequence.covers])
        mu = embed("dnazen.ggram_embeddings", rows)
        matrix = torch.zeros(len(sequence.tokens), len(sequence.ids), dtype=h.dtype)
        for slot, covers in enumerate(sequence.covers):
            matrix[covers, slot] = 1
        if config.fusion == "mean":
            matrix = matrix / matrix.sum(1, keepdim=True).clamp(min=1)

    def fused(h, mu, layer):
        added = torch.einsum("ik,kd->id", matrix, mu)
        if config.fusion == "gated":
            added = added * w[f"dnazen.fusions.{layer}.gate"]
        return h + added

    if mu is not None and config.num_hidden_ggram_layers == 0:
        h = fused(h, mu, 0)
    slopes = naive_slopes(config.num_attention_heads)
    for n in range(config.num_hidden_layers):
        h = naive_layer(w, f"dnazen.layers.{n}", h, config, slopes=slopes, gated=True)
        if mu is not None and n < config.num_hidden_ggram_layers:
            mu = naive_layer(w, f"dnazen.ggram_layers.{n}", mu, config, slopes=None, gated=False)
            h = fused(h, mu, n)
    return h, mu


def naive_kmers(w, weight_of, config, tokens):
    """What k-mers say: counted in the text, weighted, at unit length, through a line a label."""
    canonical = config.strands == "average"
    text = "".join(
        "N" if token == 2 else "".join("ACGTN"[base] for base in TOKEN_BASES[token])
        for token in tokens[1:-1]
    )
    names = names_of(config.kmers, canonical)
    counts = torch.zeros(len(names), dtype=torch.float64)
    for word, _, _ in words_of(text, config.kmers, canonical):
        counts[names.index(word)] += 1
    weighted = counts * weight_of
    return w["kmers.output.weight"] @ (weighted / weighted.norm()) + w["kmers.output.bias"]


def naive_logits(w, weight_of, config, sequence):
    """Of a classifier that reads [CLS]."""
    h, _ = naive_states(w, config, sequence)
    pooled = torch.tanh(w["pooler.weight"] @ h[0] + w["pooler.bias"])
    logits = w["classifier.weight"] @ pooled + w["classifier.bias"]
    if config.base_channels:
        largest = naive_base_states(w, sequence.tokens)[0].amax(1)
        logits = logits + w["base_head.weight"] @ largest
    if config.kmers:
        logits = logits + naive_kmers(w, weight_of, config, sequence.tokens)
    return logits


def naive_loss(w, config, some, labels):
    nats, predicted = 0.0, 0
    for b, sequence in enumerate(some):
        h, _ = naive_states(w, config, sequence)
        x = gelu(h @ w["head.dense.weight"].T + w["head.dense.bias"])
        x = layer_norm(
            x, x.shape[-1:], w["head.norm.weight"], w["head.norm.bias"], config.layer_norm_eps
        )
        logits = x @ w["dnazen.embeddings.word_embeddings.weight"].T + w["head.decoder.bias"]
        for i in range(len(sequence.tokens)):
            if (truth := int(labels[b, i])) != -100:
                nats = nats + torch.logsumexp(logits[i], 0) - logits[i, truth]
                predicted += 1
    return nats / predicted


VARIANTS = [
    {"fusion": "sum"},
    {"fusion": "mean"},
    {"fusion": "gated"},
    {"fusion": "sum", "num_hidden_ggram_layers": 0},
    {"fusion": "gated", "num_hidden_ggram_layers": 3, "num_attention_heads": 4},
    {"ggram_embedding": "composed"},
    {"ggram_embedding": "shared", "fusion": "mean"},
    {"ggram_vocab_size": 0},
    {"base_channels": 5, "longest_token_bp": 4},
    {"base_channels": 3, "longest_token_bp": 4, "ggram_embedding": "composed"},
]


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_states_loss_and_gradients_are_those_of_the_definition(changes, implementation):
    model = random_model(**changes).double()
    model.set_attn_implementation(implementation)
    some = sequences()
    batch, labels = batch_of(some), labels_of(some)

    weights = {n: p.detach().clone().requires_grad_() for n, p in model.named_parameters()}
    with torch.no_grad():
        output = model.dnazen(**batch)
    slot = 0
    for b, sequence in enumerate(some):
        h, mu = naive_states(weights, model.config, sequence)
        length = len(sequence.tokens)
        torch.testing.assert_close(output.last_hidden_state[b, :length], h, atol=1e-9, rtol=1e-9)
        assert not output.last_hidden_state[b, length:].any()
        if mu is not None:
            found = output.ggram_hidden_state[slot : slot + len(mu)]
            torch.testing.assert_close(found, mu, atol=1e-9, rtol=1e-9)
            slot += len(mu)

    expected = naive_loss(weights, model.config, some, labels)
    loss = model(**batch, labels=labels).loss
    torch.testing.assert_close(loss, expected, atol=1e-9, rtol=1e-9)
    loss.backward()
    expected.backward()
    for name, parameter in model.named_parameters():
        grad = weights[name].grad
        grad = torch.zeros_like(parameter) if grad is None else grad
        found = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(found, grad, atol=1e-9, rtol=1e-9, msg=name)


@pytest.mark.parametrize(
    "changes",
    [
        {"base_channels": 5},
        {"kmers": 3},
        {"kmers": 3, "strands": "average"},
        {"kmers": 2, "base_channels": 4, "fusion": "gated"},
    ],
    ids=str,
)
def test_a_classifier_with_views_below_tokens_is_that_of_the_definition(changes):
    """Logits and all gradients, of sequences and of a pair."""
    model = random_model(
        DnazenForSequenceClassification,
        num_labels=3,
        longest_token_bp=4,
        **changes,
    ).double()
    some, labels = sequences(), torch.tensor([2, 0, 1, 1])
    some[1].tokens[6] = 2  # [SEP] between the two of a pair
    weights = {n: p.detach().clone().requires_grad_() for n, p in model.named_parameters()}
    weight_of = model.kmers.weight_of if model.config.kmers else None
    expected = torch.stack([naive_logits(weights, weight_of, model.config, s) for s in some])
    output = model(**batch_of(some), labels=labels)
    torch.testing.assert_close(output.logits, expected, atol=1e-9, rtol=1e-9)
    output.loss.backward()
    (expected.logsumexp(1) - expected[torch.arange(4), labels]).mean().backward()
    for name, parameter in model.named_parameters():
        grad = weights[name].grad
        grad = torch.zeros_like(parameter) if grad is None else grad
        found = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(found, grad, atol=1e-9, rtol=1e-9, msg=name)
    for name in ("base_head.weight", "kmers.output.weight", "dnazen.bases.first.weight"):
        assert name not in weights or weights[name].grad.any()


def test_a_new_k_mer_view_says_nothing():
    torch.manual_seed(0)
    model = DnazenForSequenceClassification(shape(longest_token_bp=4, num_labels=3, kmers=3))
    assert not model.kmers.output.weight.any()
    assert not model.kmers.output.bias.any()


@pytest.mark.parametrize("changes", [{"base_channels": 5}, {"kmers": 3}], ids=str)
def test_views_below_tokens_need_ids_or_what_they_say(changes):
    model = random_model(
        DnazenForSequenceClassification, longest_token_bp=4, num_labels=3, **changes
    )
    batch = batch_of(sequences()[1:2])
    embeds = model.dnazen.token_embeddings(batch["input_ids"])
    given = {name: value for name, value in batch.items() if name != "input_ids"}
    with torch.no_grad():
        whole = model(**batch).logits
        silent = model(**batch, side_logits=torch.zeros(1, 3)).logits
        told = model(**given, inputs_embeds=embeds, side_logits=whole - silent).logits
    torch.testing.assert_close(told, whole, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(whole, silent)
    with pytest.raises(ValueError, match="bases or k-mers needs input_ids, or side_logits"):
        model(**given, inputs_embeds=embeds)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.usefixtures("flex_goes_backward")
def test_packed_sequences_have_the_states_loss_and_gradients_of_boxes():
    found = {}
    batch, labels = batch_of(sequences(), width=17), labels_of(sequences(), width=17)
    for implementation in ("sdpa", "flex_attention"):
        model = random_model().double()
        model.set_attn_implementation(implementation)
        loss = model(**batch, labels=labels).loss
        loss.backward()
        found[implementation] = [loss, *(p.grad for p in model.parameters())]
    for one, other in zip(*found.values(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-9)


def test_slopes_that_are_no_powers_of_two_come_from_the_paper_too():
    for heads in (3, 6, 12, 20):
        model = DnazenModel(shape(hidden_size=heads, num_attention_heads=heads))
        torch.testing.assert_close(model.slopes.double(), naive_slopes(heads), rtol=1e-7, atol=0.0)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("fusion", ["sum", "mean", "gated"])
def test_a_sequence_without_a_match_is_e4bu_bit_for_bit(fusion, implementation):
    model = random_model(fusion=fusion)
    twin = random_model(ggram_vocab_size=0)
    twin.load_state_dict({n: p for n, p in model.state_dict().items() if n in twin.state_dict()})
    for each in (model, twin):
        each.set_attn_implementation(implementation)
    some = sequences()
    plain = {n: x for n, x in batch_of(some).items() if n in ("input_ids", "attention_mask")}
    with torch.no_grad():
        bare = twin(**plain).logits
        assert torch.equal(model(**plain, ggram_ids=NO_GGRAMS).logits, bare)
        alone = batch_of([some[2]])
        assert torch.equal(
            model(**alone).logits, twin(alone["input_ids"], attention_mask=None).logits
        )
        among_matches = model(**batch_of(some)).logits
    length = len(some[2].tokens)
    assert torch.equal(among_matches[2, :length], bare[2, :length])
    assert not torch.allclose(among_matches[0], bare[0])


def test_a_gate_starts_shut():
    torch.manual_seed(0)
    model = DnazenModel(shape(fusion="gated")).eval()
    batch = batch_of(sequences())
    with torch.no_grad():
        with_ggrams = model(**batch).last_hidden_state
        without = model(
            batch["input_ids"], attention_mask=batch["attention_mask"], ggram_ids=NO_GGRAMS
        )
    assert torch.equal(with_ggrams, without.last_hidden_state)


@pytest.mark.parametrize("fusion", ["sum", "mean", "gated"])
def test_padding_order_and_batch_size_change_nothing(fusion):
    model = random_model(fusion=fusion)
    some = sequences()
    with torch.no_grad():
        together = model(**batch_of(some)).logits
        wide = model(**batch_of(some, width=25)).logits
        order = [3, 1, 0, 2]
        shuffled = model(**batch_of([some[i] for i in order])).logits
        for b, sequence in enumerate(some):
            length = len(sequence.tokens)
            alone = model(**batch_of([sequence])).logits[0]
            for other in (wide[b], shuffled[order.index(b)], alone):
                torch.testing.assert_close(
                    other[:length], together[b, :length], atol=1e-5, rtol=1e-5
                )


def test_the_order_of_slots_and_pairs_changes_nothing():
    model = random_model()
    some = sequences()
    batch = batch_of(some)
    turned = []
    for sequence in some:
        other = Sequence.__new__(Sequence)
        other.tokens = sequence.tokens
        other.ids, other.covers = sequence.ids[::-1], sequence.covers[::-1]
        turned.append(other)
    other = batch_of(turned)
    pairs = torch.randperm(len(other["cover_token"]))
    other |= {name: other[name][pairs] for name in ("cover_token", "cover_slot")}
    with torch.no_grad():
        torch.testing.assert_close(
            model(**other).logits, model(**batch).logits, atol=1e-5, rtol=1e-5
        )


def test_embeddings_may_be_given_instead_of_ids():
    model = random_model(DnazenModel)
    batch = batch_of(sequences())
    given = {n: x for n, x in batch.items() if n != "input_ids"}
    tokens = model.get_input_embeddings()(batch["input_ids"])
    ggrams = model.ggram_embeddings.word_embeddings(batch["ggram_ids"])
    with torch.no_grad():
        looked_up = model(**batch).last_hidden_state
        output = model(**given, inputs_embeds=tokens, ggram_embeds=ggrams)
    assert torch.equal(output.last_hidden_state, looked_up)
    with pytest.raises(ValueError, match="give input_ids or inputs_embeds"):
        model(**given)


def test_gradient_checkpointing_changes_memory_and_nothing_else():
    model = random_model(fusion="gated", hidden_dropout_prob=0.2).train()
    batch, labels = batch_of(sequences()), labels_of(sequences())
    found = {}
    for checkpointed in (False, True):
        if checkpointed:
            # transformers 5 gave the method a new name on its way
            old = model.gradient_checkpointing_enable
            getattr(model, "activation_checkpointing_enable", old)()
            assert model.dnazen.layers[0].gradient_checkpointing
            assert model.dnazen.ggram_layers[0].gradient_checkpointing
        model.zero_grad()
        torch.manual_seed(5)
        loss = model(**batch, labels=labels).loss
        loss.backward()
        found[checkpointed] = (loss.detach(), [p.grad.clone() for p in model.parameters()])
    assert torch.equal(found[True][0], found[False][0])
    for one, other in zip(found[True][1], found[False][1], strict=True):
        torch.testing.assert_close(one, other, atol=1e-7, rtol=1e-5)


def test_dropout_acts_in_training_only_and_follows_the_seed():
    model = random_model(hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.3)
    batch = batch_of(sequences())

    def logits(seed):
        torch.manual_seed(seed)
        return model(**batch).logits.detach()

    assert torch.equal(logits(0), logits(1))
    model.train()
    assert torch.equal(logits(0), logits(0))
    assert not torch.equal(logits(0), logits(1))


def test_hidden_states_and_attentions_have_their_shapes_and_sums():
    model = random_model(DnazenModel)
    some = sequences()
    batch = batch_of(some)
    with torch.no_grad():
        output = model(**batch, output_hidden_states=True, output_attentions=True)
        plain = model(**batch)
    box = (4, 14, 12)
    assert [tuple(x.shape) for x in output.hidden_states] == [box] * 4
    assert [tuple(x.shape) for x in output.ggram_hidden_states] == [(10, 12)] * 3
    assert [tuple(x.shape) for x in output.attentions] == [(4, 3, 14, 14)] * 3
    assert torch.equal(output.hidden_states[-1], output.last_hidden_state)
    assert torch.equal(output.ggram_hidden_states[-1], output.ggram_hidden_state)
    torch.testing.assert_close(
        output.last_hidden_state, plain.last_hidden_state, atol=1e-5, rtol=1e-5
    )
    assert plain.hidden_states is None
    assert plain.attentions is None
    for probabilities in output.attentions:
        for b, sequence in enumerate(some):
            length = len(sequence.tokens)
            rows = probabilities[b, :, :length]
            torch.testing.assert_close(rows.sum(-1), torch.ones(3, length))
            assert not rows[:, :, length:].any()


def test_the_head_runs_on_predicted_positions_alone():
    model = random_model()
    batch, labels = batch_of(sequences()), labels_of(sequences())
    with torch.no_grad():
        everywhere = model(**batch).logits
        output = model(**batch, labels=labels)
    chosen = labels != -100
    torch.testing.assert_close(output.logits, everywhere[chosen], atol=1e-6, rtol=1e-6)
    by_hand = -everywhere[chosen].log_softmax(-1)[torch.arange(chosen.sum()), labels[chosen]].mean()
    torch.testing.assert_close(output.loss, by_hand)
    nothing = model(**batch, labels=torch.full_like(labels, -100))
    assert nothing.loss.item() == 0
    nothing.loss.backward()


@pytest.mark.parametrize("kind", [DnazenForMaskedLM, DnazenForTokenClassification])
def test_a_loss_over_tokens_does_not_depend_on_how_the_batch_is_split(kind):
    model = random_model(kind, num_labels=VOCAB)
    some, labels = sequences(), labels_of(sequences())
    width = labels.shape[1]
    whole = model(**batch_of(some, width), labels=labels).loss
    predicted = (labels != -100).sum()
    parts = sum(
        model(**batch_of(some[a:b], width), labels=labels[a:b], num_items_in_batch=predicted).loss
        for a, b in ((0, 1), (1, 4))
    )
    torch.testing.assert_close(parts, whole)


@pytest.mark.parametrize(
    ("problem", "num_labels"),
    [
        ("single_label_classification", 3),
        ("multi_label_classification", 3),
        ("regression", 1),
        ("regression", 2),
    ],
)
def test_the_losses_of_sequence_classification_are_the_textbooks(problem, num_labels):
    model = random_model(DnazenForSequenceClassification, num_labels=num_labels)
    model.config.problem_type = problem
    batch = batch_of(sequences())
    torch.manual_seed(0)
    labels = {
        "single_label_classification": torch.tensor([2, 0, 1, 1]),
        "multi_label_classification": torch.randint(0, 2, (4, 3)),
        "regression": torch.randn(4, num_labels).squeeze(1),
    }[problem]
    output = model(**batch, labels=labels)
    logits = output.logits.detach().double()
    if problem == "single_label_classification":
        p = logits.exp() / logits.exp().sum(1, keepdim=True)
        expected = -sum(math.log(p[b, labels[b]]) for b in range(4)) / 4
    elif problem == "multi_label_classification":
        p = 1 / (1 + (-logits).exp())
        expected = -(labels * p.log() + (1 - labels) * (1 - p).log()).mean()
    else:
        expected = ((logits - labels.double().view(4, -1)) ** 2).mean()
    assert output.loss.item() == pytest.approx(float(expected), rel=1e-5)

    parts = 0.0
    for b, sequence in enumerate(sequences()):
        one = model(
            **batch_of([sequence]), labels=labels[b : b + 1], num_items_in_batch=labels.numel()
        )
        parts += one.loss.item()
    assert parts == pytest.approx(output.loss.item(), rel=1e-5)


@pytest.mark.parametrize("layers", [0, 2, 3])
def test_states_that_are_not_wanted_are_spared_and_change_nothing(layers):
    model = random_model(DnazenModel, num_hidden_ggram_layers=layers).double()
    batch = batch_of(sequences(), width=15)
    cells = torch.tensor([0, 3, 8, 17, 45])
    rows = []
    watch = model.layers[-1].feed_forward.register_forward_hook(
        lambda _, inputs, __: rows.append(len(inputs[0]))
    )
    everything = model(**batch).last_hidden_state.flatten(0, 1)
    some = model(**batch, wanted=cells)
    torch.testing.assert_close(some.last_hidden_state, everything[cells])
    full = int(batch["attention_mask"].sum())
    assert rows == [full, full if layers == 3 else 5]  # fused after the last layer, all are needed
    watched = model(**batch, wanted=cells, output_hidden_states=True)
    torch.testing.assert_close(watched.last_hidden_state, everything[cells])
    torch.testing.assert_close(watched.hidden_states[-1].flatten(0, 1), everything)
    watch.remove()


def test_the_classifier_reads_cls_through_the_pooler():
    model = random_model(DnazenForSequenceClassification, num_labels=3)
    batch = batch_of(sequences())
    with torch.no_grad():
        states = model.dnazen(**batch).last_hidden_state[:, 0]
        w = dict(model.named_parameters())
        pooled = torch.tanh(states @ w["pooler.weight"].T + w["pooler.bias"])
        expected = pooled @ w["classifier.weight"].T + w["classifier.bias"]
        torch.testing.assert_close(model(**batch).logits, expected)


@pytest.mark.parametrize("padded", [True, False])
def test_the_classifier_reads_the_mean_of_the_tokens_if_asked(padded):
    model = random_model(DnazenForSequenceClassification, num_labels=3, classifier_pooling="mean")
    some = sequences() if padded else sequences()[1:2]
    batch = batch_of(some)
    if not padded:
        batch.pop("attention_mask")
    with torch.no_grad():
        states = model.dnazen(**batch).last_hidden_state
        w = dict(model.named_parameters())
        for b, sequence in enumerate(some):
            mean = sum(states[b, i] for i in range(1, len(sequence.tokens) - 1))
            pooled = torch.tanh(
                w["pooler.weight"] @ mean / (len(sequence.tokens) - 2) + w["pooler.bias"]
            )
            expected = w["classifier.weight"] @ pooled + w["classifier.bias"]
            torch.testing.assert_close(model(**batch).logits[b], expected)


def test_an_empty_sequence_has_the_mean_of_cls():
    model = random_model(DnazenForSequenceClassification, num_labels=3, classifier_pooling="mean")
    twin = random_model(DnazenForSequenceClassification, num_labels=3)
    batch = {"input_ids": torch.tensor([[1, 2]]), "ggram_ids": NO_GGRAMS}
    with torch.no_grad():
        torch.testing.assert_close(model(**batch).logits, twin(**batch).logits)


def test_token_classification_labels_every_token():
    model = random_model(DnazenForTokenClassification, num_labels=4)
    batch = batch_of(sequences())
    with torch.no_grad():
        output = model(**batch)
        w = dict(model.named_parameters())
        states = model.dnazen(**batch).last_hidden_state
        expected = states @ w["classifier.weight"].T + w["classifier.bias"]
    assert output.logits.shape == (4, 14, 4)
    torch.testing.assert_close(output.logits, expected)


@pytest.mark.parametrize("fusion", ["sum", "mean", "gated"])
def test_one_batch_can_be_learnt_by_heart(fusion):
    torch.manual_seed(0)
    model = DnazenForMaskedLM(shape(fusion=fusion, hidden_size=24))
    batch, labels = batch_of(sequences()), labels_of(sequences())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(80):
        optimizer.zero_grad()
        loss = model(**batch, labels=labels).loss
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05


def test_one_seed_is_one_model():
    models = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        models.append(DnazenForMaskedLM(shape()).state_dict())
    assert all(torch.equal(models[0][n], models[1][n]) for n in models[0])
    assert any(not torch.equal(models[0][n], models[2][n]) for n in models[0])


# -- Hugging Face's manners

KINDS = {
    DnazenModel: AutoModel,
    DnazenForMaskedLM: AutoModelForMaskedLM,
    DnazenForSequenceClassification: AutoModelForSequenceClassification,
    DnazenForTokenClassification: AutoModelForTokenClassification,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fusion", ["sum", "gated"])
def test_a_saved_model_comes_back_whole(tmp_path, kind, fusion):
    model = random_model(kind, fusion=fusion, max_ggrams=9)
    model.save_pretrained(tmp_path)
    assert {**AutoConfig.from_pretrained(tmp_path).to_dict(), "_name_or_path": ""} == {
        **model.config.to_dict(),
        "architectures": [kind.__name__],
    }
    batch = batch_of(sequences())
    for loader in (kind, KINDS[kind]):
        again, report = loader.from_pretrained(tmp_path, output_loading_info=True)
        assert type(again) is kind
        assert not any(report[key] for key in ("missing_keys", "unexpected_keys"))
        with torch.no_grad():
            assert torch.equal(again(**batch)[0], model(**batch)[0])


def test_importing_dnazen_is_enough_for_the_auto_classes(tmp_path):
    random_model().save_pretrained(tmp_path)
    for first, then in (
        ("import dnazen", "from transformers import AutoModel"),
        ("from transformers import AutoModel", "import dnazen"),
    ):
        script = (
            f"import sys, warnings; warnings.simplefilter('error')\n{first}\n{then}\n"
            "print(type(AutoModel.from_pretrained(sys.argv[1])).__name__)"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True
        )
        assert done.stdout.split() == ["DnazenModel"], done.stderr


def test_the_decoder_is_tied_and_stored_once(tmp_path):
    model = random_model()
    table = model.dnazen.embeddings.word_embeddings.weight
    assert model.head.decoder.weight is table
    model.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    assert "head.decoder.weight" not in stored
    assert set(stored) == {n for n, _ in model.named_parameters()}
    again = DnazenForMaskedLM.from_pretrained(tmp_path)
    assert again.head.decoder.weight is again.dnazen.embeddings.word_embeddings.weight
    again.resize_token_embeddings(VOCAB + 3)
    assert again.head.decoder.weight is again.dnazen.embeddings.word_embeddings.weight
    logits = again(torch.tensor([[1, VOCAB + 2, 2]]), ggram_ids=NO_GGRAMS).logits
    assert logits.shape == (1, 3, VOCAB + 3)


def test_the_padding_rows_start_at_zero_and_stay():
    torch.manual_seed(0)
    model = DnazenForMaskedLM(shape())
    assert not model.dnazen.embeddings.word_embeddings.weight[PAD].any()
    assert not model.dnazen.ggram_embeddings.word_embeddings.weight[0].any()


def test_composed_rows_start_at_zero_and_are_loaded_as_they_were_stored(tmp_path):
    model = DnazenModel(shape(ggram_embedding="composed"))
    rows = model.ggram_embeddings.word_embeddings.weight
    assert not rows.any()
    assert model.embeddings.word_embeddings.weight.any()
    with torch.no_grad():
        rows.fill_(2.0)
    model.save_pretrained(tmp_path)
    again = DnazenModel.from_pretrained(tmp_path)
    assert torch.equal(again.ggram_embeddings.word_embeddings.weight, rows)


def test_a_shared_embedding_has_two_rows_and_is_trained_row_by_row():
    model = DnazenForMaskedLM(shape(ggram_embedding="shared"))
    table = model.dnazen.ggram_embeddings.word_embeddings
    assert table.weight.shape == (2, 12)
    batch, labels = batch_of(sequences()), labels_of(sequences())
    model(**batch, labels=labels).loss.backward()
    whole = table.weight.grad[1].clone()
    table.gather_rows()
    model(**batch, labels=labels).loss.backward()
    found = table.take_gradient()
    assert found.rows.tolist() == [1]
    torch.testing.assert_close(found.gradient[0], whole)


def test_base_has_the_parameters_of_the_release():
    """285 million with its 162,708 G-grams."""
    with torch.device("meta"):
        model = DnazenForMaskedLM(DnazenConfig.of_size("base", ggram_vocab_size=162_709))
    named = dict(model.named_parameters())
    named.pop("head.decoder.weight", None)  # tied, which transformers 5.0 leaves out on "meta"
    assert sum(p.numel() for p in named.values()) / 1e6 == pytest.approx(285, abs=0.5)


def test_sizes_are_those_of_the_released_table():
    assert SIZES["base"] == (768, 12, 12, 3072, 6)
    assert SIZES["large"] == (1024, 24, 16, 4096, 6)
    assert SIZES["x-large"] == (1536, 28, 12, 8960, 12)
    assert set(SIZES) == {"tiny", "mini", "small", "base", "large", "x-large"}
    assert DnazenConfig.of_size("tiny", hidden_size=32).hidden_size == 32


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": 13}, "hidden_size 13 is no multiple of num_attention_heads 3"),
        ({"num_hidden_ggram_layers": 4}, "num_hidden_ggram_layers 4 exceeds num_hidden_layers 3"),
        ({"fusion": "max"}, "fusion must be one of"),
        ({"classifier_pooling": "max"}, "classifier_pooling must be one of"),
        ({"strands": "both"}, "strands must be one of"),
        ({"kmers": 9}, "kmers must be a whole number from 0 to 8, got 9"),
        ({"ggram_embedding": "hashed"}, "ggram_embedding must be one of"),
        (
            {"num_attention_heads": 0},
            "num_attention_heads must be a whole number from 1 to",
        ),
        ({"vocab_size": "40"}, "vocab_size must be a whole number >= 1, got '40'"),
        ({"max_ggrams": -1}, "max_ggrams must be a whole number >= 0, got -1"),
        ({"pad_token_id": 40}, "pad_token_id 40 is no token of 40"),
        ({"hidden_dropout_prob": 1.5}, "hidden_dropout_prob must lie in 0 <= p < 1, got 1.5"),
    ],
)
def test_a_shape_that_makes_no_model_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        shape(**changes)


# -- what is called wrongly is refused, never answered as if it were right


ALL_KINDS = [
    DnazenModel,
    DnazenForMaskedLM,
    DnazenForSequenceClassification,
    DnazenForTokenClassification,
]


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_a_model_with_ggrams_does_not_run_without_them(kind):
    model = random_model(kind)
    batch = batch_of(sequences())
    plain = {name: batch[name] for name in ("input_ids", "attention_mask")}
    with pytest.raises(ValueError, match="reads G-grams and is given none"):
        model(**plain)
    for name in ("ggram_offsets", "cover_token", "cover_slot"):
        some = {key: value for key, value in batch.items() if key != name}
        with pytest.raises(ValueError, match="ggram_offsets, cover_token and cover_slot"):
            model(**some)
    random_model(kind, ggram_vocab_size=0)(**plain)


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_an_input_that_is_not_known_is_refused_by_name(kind):
    model = random_model(kind)
    batch = batch_of(sequences())
    for name in ("position_ids", "head_mask", "ngram_ids", "ggrams_ids"):
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
            model(**batch, **{name: batch["input_ids"]})


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_token_types_must_be_0(kind):
    model = random_model(kind)
    batch = batch_of(sequences())
    types = torch.zeros_like(batch["input_ids"])
    with torch.no_grad():
        assert torch.equal(model(**batch, token_type_ids=types)[0], model(**batch)[0])
    with pytest.raises(ValueError, match="token_type_ids must be 0"):
        model(**batch, token_type_ids=types + 1)


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_return_dict_false_gives_a_tuple(kind):
    model = random_model(kind)
    batch = batch_of(sequences())
    with torch.no_grad():
        output = model(**batch)
        plain = model(**batch, return_dict=False)
        model.config.return_dict = False
        assert type(model(**batch)) is tuple
    assert type(plain) is tuple
    assert len(plain) == len(output.to_tuple())
    assert all(torch.equal(a, b) for a, b in zip(plain, output.to_tuple(), strict=True))
