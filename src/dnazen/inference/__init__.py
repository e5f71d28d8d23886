"""One opened model and one loop: embeddings, predictions, likelihoods."""
