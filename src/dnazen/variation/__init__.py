"""What a change of the sequence changes: variants and mutagenesis."""
