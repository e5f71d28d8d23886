"""What a fine-tuned model's output owes to bases, tokens and G-grams."""
