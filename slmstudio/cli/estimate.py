"""How much memory a run would need, before anything is loaded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slmstudio.cli.output import Json, Set, print_json, print_table, say
from slmstudio.core.i18n import noop, tr

if TYPE_CHECKING:
    from slmstudio.core.model.facts import ModelFacts
    from slmstudio.core.run.config import RunConfig
    from slmstudio.core.run.memory.fit_badge import CardRow
    from slmstudio.core.run.memory.formula import MemoryEstimate
    from slmstudio.core.run.memory.outlook import Lever

app = typer.Typer()
GB = 2**30
GPUS = {"T4": 16, "L4": 24, "A10": 24, "L40S": 48, "H100": 80, "RTX 2060": 6, "RTX 2070": 8, "RTX 2080": 8,
        "RTX 2080 Ti": 11, "RTX 3070": 8, "RTX 3090": 24, "RTX 3090 Ti": 24, "RTX 4060": 8, "RTX 4070": 12,
        "RTX 4070 Ti": 12, "RTX 4080": 16, "RTX 4090": 24, "RTX 5070": 12, "RTX 5070 Ti": 16, "RTX 5080": 16,
        "RTX 5090": 32, "RTX A4000": 16, "RTX A5000": 24, "RTX A6000": 48, "RTX 6000 Ada": 48}
"""GB of cards that come with one size of memory, as their maker's tables have it."""
VERDICTS = {"fits": noop("It fits."), "tight": noop("It may just fit."),
            "no": noop("It doesn't fit as it is.")}


@app.command()
def estimate(
    model: Annotated[str, typer.Option(help="Folder of the base model, its name on this machine or in the catalogue, "
                                            'or "starter".')],
    method: Annotated[str, typer.Option(help="lora, qlora, dora, rslora, full or scratch.")] = "lora",
    max_length: Annotated[int | None, typer.Option(help="Sequence length in tokens.")] = None,
    micro_batch: Annotated[int | None, typer.Option(help="Rows in one forward pass.")] = None,
    gpu: Annotated[str | None, typer.Option(help='Memory of a card, such as "12GB", or its name, such as "RTX 4090". '
                                                 "By default: this machine.")] = None,
    set_: Set = None,
    as_json: Json = False,
) -> int:
    """Show how much memory training would need, part by part, whether it fits, and what would make it fit."""
    from slmstudio.core.run.memory import formula
    from slmstudio.core.run.memory.fit_badge import what_fits
    from slmstudio.core.run.memory.outlook import levers, to_fit
    from slmstudio.core.run.planning import plan_inputs

    asked: dict[str, Any] = {"method": method, "max_length": max_length, "micro_batch_size": micro_batch}
    chosen = plan_inputs.overrides({**{name: value for name, value in asked.items() if value is not None},
                                **plan_inputs.parse_settings(set_ or [])})
    free, device, where, precision = _place(gpu, chosen.get("device", "auto"))
    facts = facts_for(model)
    config = _config(facts, chosen, precision)
    found = formula.estimate(facts, config, device)
    room = int(formula.COMFORTABLE * free)
    pulls, fewest = levers(facts, config, room, device), to_fit(facts, config, room, device)
    cards = what_fits(facts, config)
    if as_json:
        print_json(_as_dict(facts, config, found, free, device, pulls, fewest, cards))
    else:
        _show(facts, config, found, free, where, pulls, fewest, cards)
    return 0


def facts_for(model: str) -> ModelFacts:
    """What the model is that a person named: one on this machine, or one that the catalogue knows.

    Raises:
        UserError: there is no such model, or its folder can't be used.
    """
    from slmstudio.core import paths, starter
    from slmstudio.core.errors import UserError
    from slmstudio.core.model import catalogue, facts
    from slmstudio.core.model.hub import on_disk

    if model == "starter":
        return starter.prepare()
    try:
        return facts.read_model(on_disk.resolve(model))
    except UserError:
        known = catalogue.find(model)
        sizes = known.facts(paths.models_dir() / known.name) if known is not None else None
        if sizes is None or Path(model).exists():
            raise
        return sizes


def card_memory(name: str) -> int:
    """Bytes of a card's memory, from its size or its name.

    >>> [card_memory(name) // 2**30 for name in ("12GB", "24 gb", "8", "NVIDIA GeForce RTX 4090", "rtx4070 ti")]
    [12, 24, 8, 24, 12]

    Raises:
        UserError: it is neither.
    """
    from slmstudio.core.errors import UserError

    if (size := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:gi?b)?\s*", name, re.IGNORECASE)) and float(size[1]) > 0:
        return int(float(size[1]) * GB)
    plain = re.sub(r"nvidia|geforce|[^a-z0-9]", "", name.lower())
    for card, gigabytes in GPUS.items():
        if plain == card.lower().replace(" ", ""):
            return gigabytes * GB
    raise UserError(tr("The memory of a card called “{name}” isn't known.", name=name), "",
                    tr("Give its memory, for example --gpu 12GB, or one of these: {gpus}.", gpus=", ".join(GPUS)))


def _place(gpu: str | None, device: str) -> tuple[int, str, str, str]:
    """Bytes that may be filled, the kind of device, a sentence on what is free, and the precision that suits it."""
    from slmstudio.core.hardware.machine import read_machine
    from slmstudio.core.run.memory.fit_badge import TAKEN
    from slmstudio.core.units import format_bytes

    if gpu is not None:
        size = card_memory(gpu)
        where = tr("{size} is free on a card with {gigabytes:g} GB.", size=format_bytes(size - TAKEN),
                   gigabytes=size / GB)
        return size - TAKEN, "cuda", where, "bf16"
    machine = read_machine()
    card = machine.gpus[0] if machine.gpus and device != "cpu" else None
    if card is not None and (free := card.memory_free or card.memory_total):
        where = tr("{size} is free on the {card}.", size=format_bytes(free), card=card.name)
        return free, "cuda", where, "bf16" if (card.compute_capability or (8, 0)) >= (8, 0) else "fp16"
    where = tr("{size} is free in this machine's memory.", size=format_bytes(machine.ram_free))
    return machine.ram_free, "cpu", where, "bf16" if machine.cpu_bf16 else "fp32"


def _config(facts: ModelFacts, chosen: dict[str, Any], precision: str) -> RunConfig:
    """The run that is asked about: a usual one with what was chosen.

    Raises:
        UserError: a value is out of range, or values contradict each other; all of them at once.
    """
    from slmstudio.core.errors import UserError
    from slmstudio.core.run.config import RunConfig
    from slmstudio.core.run.run_fields import PREFERENCES

    packing = chosen.get("objective", "sft") not in PREFERENCES and chosen.get("attention") != "eager"
    usual = {"precision": precision, "packing": packing, "max_length": min(1024, facts.context_length)}
    config = RunConfig(**{"name": facts.name, "model": str(facts.path), "train_file": "", **usual, **chosen})
    if problems := [problem for problem in config.problems() if problem.field != "train_file"]:
        raise UserError(tr("These values can't be used."), "", tr("Correct them."), problems)
    return config


def _as_dict(facts: ModelFacts, config: RunConfig, found: MemoryEstimate, free: int, device: str, pulls: list[Lever],
             fewest: list[Lever] | None, cards: list[CardRow]) -> dict[str, Any]:
    return {
        "model": facts.name, "method": config.method, "max_length": config.max_length,
        "micro_batch_size": config.micro_batch_size, "device": device, "parts": found.parts(), "low": found.low,
        "likely": found.total, "high": found.high, "phase": found.phase, "free": free,
        "fits": found.verdict(free) == "fits", "verdict": found.verdict(free),
        "trainable_parameters": found.trainable_parameters,
        "levers": [{"name": pull.name, "change": pull.change, "saves": pull.saves, "cost": pull.cost,
                    "enough": pull.enough} for pull in pulls],
        "to_fit": None if fewest is None else {field: value for pull in fewest for field, value in pull.change.items()},
        "cards": [{"card": row.card, "usable": row.usable, "longest": row.longest} for row in cards],
    }


def _show(facts: ModelFacts, config: RunConfig, found: MemoryEstimate, free: int, where: str, pulls: list[Lever],
          fewest: list[Lever] | None, cards: list[CardRow]) -> None:
    from slmstudio.core.run.run_fields import METHODS
    from slmstudio.core.units import format_bytes

    title = tr("{model}, {method}: {tokens:,} tokens, micro-batch {rows}, {precision}", model=facts.name,
               method=METHODS.said(config.method), tokens=config.max_length, rows=config.micro_batch_size,
               precision=config.precision)
    rows = [(tr(name), format_bytes(size)) for name, size in found.parts().items() if size]
    span = tr("{low} to {high}", low=format_bytes(found.low), high=format_bytes(found.high))
    print_table(title, [*rows, (tr("likely"), format_bytes(found.total)), (tr("range"), span)])
    verdict = found.verdict(free)
    say(f"\n{tr(VERDICTS[verdict])} {where}")
    if pulls:
        say()
        columns = (tr("Change"), tr("Saves"), tr("Drawback"), tr("Enough on its own"))
        print_table(tr("Ways to reduce it"), [
            (", ".join(f"{field}={value}" for field, value in pull.change.items()), format_bytes(pull.saves),
             pull.cost, tr("yes") if pull.enough else tr("no")) for pull in pulls], columns)
    if verdict != "fits":
        options = " ".join(f"--set {field}={value}" for pull in fewest or () for field, value in pull.change.items())
        say("\n" + (tr("Even all of these together don't make it fit. Choose a smaller model.") if fewest is None else
                    tr("The smallest change that makes it fit: {options}", options=options)))
    say()
    print_table(tr("The longest rows that are certain to fit, one at a time, with activations recomputed"), [
        (row.card, *(f"{row.longest[method]:,}" if row.longest[method] else "–" for method in row.longest))
        for row in cards], (tr("Card"), *(METHODS.said(method) for method in cards[0].longest)))
