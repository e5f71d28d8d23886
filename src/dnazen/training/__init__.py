"""Pre-training and fine-tuning: settings, optimizer, data, loops, scores."""
