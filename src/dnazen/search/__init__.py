"""Which settings of fine-tuning are the best on dev."""
