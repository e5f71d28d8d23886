"""Arms that differ in one thing, pre-trained alike and compared."""
