"""Compile graphs for a CPU with OpenVINO."""

from functools import cache
from pathlib import Path
from typing import Any


def compile_graph(file: Path, **settings: Any) -> Any:
    """Compile a graph in a file, OpenVINO's own or ONNX, for this CPU, in 32-bit floats.

    Args:
        file: The graph.
        settings: Further ones of OpenVINO, by the names of its properties.
    """
    return _core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32", **settings})


@cache
def _core() -> Any:
    """Return the one `openvino.Core` of this process, which stays until the process ends.

    Each of them gives the thread that makes it a stack for signals, and at its end puts back the
    one from before. Of two that do not end in reverse order, the second would put back the stack
    of the first, which is gone, and the next signal, such as Ctrl-C, would crash the process.
    """
    # Imported only here: it takes a second, and small networks do not need it.
    import openvino

    return openvino.Core()
