"""What a run that several cards or machines share needs, before it is started."""

from __future__ import annotations

from slmstudio.core.errors import Problem, UserError
from slmstudio.core.hardware.machine import Machine
from slmstudio.core.i18n import ntr, tr
from slmstudio.core.run.config import RunConfig


def need(config: RunConfig, machine: Machine) -> None:
    """Raises UserError: this machine can't do its part; with all that is in the way."""
    if found := problems(config, machine):
        raise UserError(tr("Several processes can't train this run on this machine."), "",
                        tr("Change these fields."), found)


def problems(config: RunConfig, machine: Machine) -> list[Problem]:
    """What is in the way of a run with several processes, on this machine."""
    found: list[Problem] = []
    if config.world_size == 1:
        return found
    cards = machine.gpus if config.device != "cpu" else ()
    if cards and machine.system == "Windows":
        found.append(Problem(tr("Windows has no NCCL, which cards need to exchange what they learn. Train on one card, "
                                "or start SLM Studio inside WSL2, where several cards work."), field="processes"))
    elif cards and len(cards) < config.processes:
        found.append(Problem(ntr("{n:,} card is asked for, but this machine has {available}.",
                                 "{n:,} cards are asked for, but this machine has {available}.", config.processes,
                                 available=len(cards)),
                             field="processes"))
    elif not cards and config.processes > machine.logical_cores:
        found.append(Problem(ntr("{n:,} process is asked for, but this machine has no card that can be used, and its "
                                 "processor runs {threads} threads.",
                                 "{n:,} processes are asked for, but this machine has no card that can be used, and "
                                 "its processor runs {threads} threads.", config.processes,
                                 threads=machine.logical_cores), field="processes"))
    if config.nodes > 1 and config.start_from:
        found.append(Problem(tr("A run that continues another one can't be trained on several machines yet."),
                             field="start_from"))
    return found
