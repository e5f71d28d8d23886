"""Sequence files and labelled tables: one reader for every format, places, normalised letters."""
