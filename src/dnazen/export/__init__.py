"""A trained model outside Python: ONNX files, and a page that runs them in a browser."""
