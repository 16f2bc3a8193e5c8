"""The real worker with too little memory: more than STARVED_ROWS rows at once raise what PyTorch raises then.

STARVED_HANDOVER=1 starts the successor as on Windows, where no process can take another's place.
STARVED_GPU=1 breaks the GPU in the third step instead.
"""

from __future__ import annotations

import os
import sys

import torch

from slmstudio.worker import __main__ as worker
from slmstudio.worker.training import out_of_memory
from slmstudio.worker.training.trainer import StudioTrainer

ROWS = int(os.environ.get("STARVED_ROWS", "1000"))
honest = StudioTrainer.compute_loss


def compute_loss(self, model, inputs, *args, **kwargs):
    if os.environ.get("STARVED_GPU") and self.state.global_step == 2:
        raise torch.AcceleratorError("CUDA error: unspecified launch failure")
    if self.state.global_step >= 2 and inputs["input_ids"].shape[0] > ROWS:
        torch.empty(1 << 60, dtype=torch.uint8)  # a real want of memory
    return honest(self, model, inputs, *args, **kwargs)


StudioTrainer.compute_loss = compute_loss
if os.environ.get("STARVED_HANDOVER"):
    from slmstudio.core.jobs import processes

    out_of_memory.start_anew = lambda job: out_of_memory.hand_over(job, [*processes.worker_command(), str(job.folder)])
if __name__ == "__main__":
    sys.exit(worker.main(sys.argv[1:]))
