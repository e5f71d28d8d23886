"""What is exported, and where to."""

from __future__ import annotations

OPSET = 18
"""The ONNX operator set of the files; every onnxruntime since 1.14 runs it."""

TOLERANCE = 1e-4
"""The most by which a float32 export may differ from the model, in any logit or state."""

MODEL_FILE = "model.onnx"
GGRAMS_FILE = "ggrams.json"
DESCRIPTION_FILE = "export.json"
