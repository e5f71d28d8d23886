"""From letters to BPE tokens: tokenizer, encoding, windows, corpora."""
