"""How the variables that fake quantisation adds to a network are called. No TensorFlow in here."""

from __future__ import annotations

STEPS = "quantization"  # the layer that counts steps
RANGE = "quantized"  # `<layer>/quantized`, `<layer>/quantized_<call>`: the layers that keep ranges


def is_quantization_state(variable: str) -> bool:
    """Whether a variable (`Conv1_relu/quantized/low`, without `:0`) is a range or the count of steps, not a weight."""
    layer, _, name = variable.rpartition("/")
    last = layer.rpartition("/")[2]
    return (layer == STEPS and name == "steps") or (name in ("low", "high") and (last == RANGE or last.startswith(f"{RANGE}_")))
