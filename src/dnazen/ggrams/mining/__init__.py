"""Mining: from the tokens of a corpus to its G-grams."""
