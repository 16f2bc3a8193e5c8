"""Child process of the export: one GGUF file into another quantization type. llama.cpp can't be interrupted in it."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.worker.model import llama_log
from slmstudio.worker.runtime import child


def quantize(request: dict[str, Any], report: Callable[..., None]) -> None:
    """Write request["target"] from request["source"] in `llama_ftype` request["ftype"]."""
    llama_log.install()
    import llama_cpp

    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = request["ftype"]
    parameters.nthread = os.cpu_count() or 1
    status = llama_cpp.llama_model_quantize(
        request["source"].encode(), request["target"].encode(), ctypes.byref(parameters))
    if status != 0:
        raise UserError(tr("llama.cpp couldn't quantize the model."),
                        tr("It says: {message}", message=llama_log.last_error() or status),
                        tr("Choose another type, or keep the F16 file."))


if __name__ == "__main__":
    sys.exit(child.serve(Path(sys.argv[1]), quantize))
