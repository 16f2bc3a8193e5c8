"""The real worker, whose run computes on the first card of the fake NVML as far as its sensors know.

LOST_CARD_HANGS=N hangs in step N + 1 for good, as a call into a driver does whose card is lost. Then a lost card is
hopeless after two seconds.
"""

from __future__ import annotations

import os
import sys
import threading

from fake_nvml.build import RTX_3060

from slmstudio.worker import __main__ as worker
from slmstudio.worker.runtime import sensors
from slmstudio.worker.training import methods
from slmstudio.worker.training.trainer import StudioTrainer

HANGS = int(os.environ.get("LOST_CARD_HANGS", "0"))
honest = StudioTrainer.compute_loss


def compute_loss(self, model, inputs, *args, **kwargs):
    if HANGS and self.state.global_step == HANGS:
        threading.Event().wait()
    return honest(self, model, inputs, *args, **kwargs)


StudioTrainer.compute_loss = compute_loss
methods.cards = lambda config: [RTX_3060["uuid"]]
if HANGS:
    sensors.HOPELESS_SECONDS = 2.0
if __name__ == "__main__":
    sys.exit(worker.main(sys.argv[1:]))
