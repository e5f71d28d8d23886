"""The model: configuration, modules, and the released file formats."""
