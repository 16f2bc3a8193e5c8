"""The importance matrix: how much each input of each weight matrix is used on the user's own rows.

Rounding to few bits can spare the columns that matter: llama.cpp weighs each column's error by the mean square of its
input (its tools/imatrix). Here the inputs are those of the fine-tuned model itself, run layer by layer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from slmstudio.core.export.types import QuantType
from slmstudio.worker.model.base_weights import Array
from slmstudio.worker.runtime.context import JobContext

FEW_BITS = 4.6
"""Below this many bits per weight, it is measured: the loss is large enough to be worth a run over the rows."""
BLOCK = 256
MOST_OPERATIONS = 3e12
LEAST_TOKENS, MOST_TOKENS = 512, 8192


def wanted(types: list[QuantType]) -> bool:
    """Whether any of these types gains enough by it."""
    return any(is_weighted(kind) for kind in types)


def is_weighted(kind: QuantType) -> bool:
    return kind.quantized and kind.bits_per_weight < FEW_BITS


def measure(job: JobContext, source: Any, target: Path) -> int:
    """Run the fine-tuned model of an `export.Source` over its learned rows; write `target`.

    The file is safetensors: under each base tensor's name the mean squares of its inputs, float32 (in,).

    Returns:
        How many tokens were run; 0 if there are no rows, or the model can't be run, and then no file.
    """
    import torch
    from safetensors.numpy import save_file

    from slmstudio.worker.model.streamed_model import NotStreamable, StreamedModel

    try:
        model = StreamedModel(source.base, source.adapter)
    except NotStreamable as error:
        job.log(f"no importance matrix: {error}")
        return 0
    limit = int(MOST_OPERATIONS / (2 * max(1, model.layer_parameters)))
    blocks = _blocks(job, source, min(max(limit, LEAST_TOKENS), MOST_TOKENS))
    if not blocks:
        return 0
    sums: dict[str, Array] = {}

    def count(name: str, module: Any, given: tuple[Any, ...]) -> None:
        job.check_cancelled()
        squares = given[0].reshape(-1, given[0].shape[-1]).float().square().mean(0).numpy()
        sums[name] = squares.astype(np.float32)
        job.progress(len(sums), model.linear_layers, "layers", "weighing")

    hooks = [module.register_forward_pre_hook(lambda module, given, name=name: count(name, module, given))
             for name, module in model.linear_modules() if isinstance(module, torch.nn.Linear)]
    try:
        model.logits(blocks, [(0, 0)])
    finally:
        for hook in hooks:
            hook.remove()
    save_file(sums, target)
    return sum(map(len, blocks))


def _blocks(job: JobContext, source: Any, most: int) -> list[list[int]]:
    """The learned rows behind one another, cut into blocks of one length: no position is filled up."""
    from slmstudio.worker.model.gguf_vocabulary import Vocabulary
    from slmstudio.worker.parity.reference_rows import Renderer, own_rows

    renderer = Renderer(source.base, Vocabulary.of(source.base, source.adapter))
    ids: list[int] = []
    for messages in reversed(own_rows(job, source)):  # those that were held out come first, and prove the file later
        if (text := renderer.text(messages, prompt=False)) is not None:
            ids += renderer.ids(text)
        if len(ids) >= most:
            break
    length = min(BLOCK, len(ids))
    return [ids[start:start + length] for start in range(0, len(ids) - length + 1, length)] if length else []
