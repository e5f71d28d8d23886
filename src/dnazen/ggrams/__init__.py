"""G-grams: mining, the vocabulary, matching, and whole-G-gram masking."""
