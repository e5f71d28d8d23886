"""Motif databases, and which G-grams resemble their motifs."""
