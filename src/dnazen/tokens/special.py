"""The special tokens, and how many tokens a vocabulary may have."""

from __future__ import annotations

SPECIAL_TOKENS = ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]")
"""The special tokens; their ids are their places, 0 to 4."""

SPECIAL_ROLES = {f"{token.strip('[]').lower()}_token": token for token in SPECIAL_TOKENS}
"""The special tokens by the names that ``transformers`` has for what they do."""

UNK, CLS, SEP, PAD, MASK = range(len(SPECIAL_TOKENS))

MAX_VOCAB_SIZE = 1 << 16
"""Token ids are stored in 2 bytes."""
