"""Pages, documents and drawings."""
