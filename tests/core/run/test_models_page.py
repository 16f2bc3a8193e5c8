"""docs/models.md says what the estimate says, and names models that the catalogue has."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from support import family_models, more_layouts
from support.machines import machine

from slmstudio.core.model import catalogue
from slmstudio.core.model.architecture import UNTRAINABLE
from slmstudio.core.run.memory.fit_badge import badge

PAGE = Path(__file__).parents[3] / "docs" / "models.md"
MACHINES = [machine(gpu) for gpu in (8, 12, 16, 24, 48)] + [machine(ram_gb=16)]
WORDS = {"full": "full", "lora": "LoRA", "qlora": "QLoRA", "little_room": "tight", "slow": "slow", "too_little": "–"}


def row(title: str) -> str:
    entry = catalogue.find(title)
    facts = entry.facts(Path("x")) if entry and entry.title == title else None
    assert facts, title
    badges = [badge(facts, each) for each in MACHINES]
    return f"| {title} | {' | '.join(WORDS[each.kind] for each in badges if each)} |"


def test_its_table_is_what_the_estimate_says():
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("| model |")) + 2
    table = list(itertools.takewhile(lambda line: line.startswith("|"), lines[start:]))
    wanted = [row(line.split("|")[1].strip()) for line in table]
    assert table == wanted, "The table ought to be:\n" + "\n".join(wanted)


def test_every_architecture_that_is_tried_has_its_result():
    lines = [line.split("|") for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    results = {kind: line[3].strip() for line in lines[1:] for kind in re.findall("`(.+?)`", line[1])}
    usual = {kind.lower().replace("gemma3text", "gemma3_text") for kind in family_models.KINDS.values()}
    assert results.keys() == {kind for kind, _ in more_layouts.LAYOUTS.values()} | usual | {"llama"}
    refused = {kind for kind, result in results.items() if result.startswith("refused")}
    assert refused == UNTRAINABLE.keys() & results.keys()
    assert {entry.title for entry in catalogue.entries() if not results[entry.model_type].startswith("proven")} == set()


def test_the_models_that_its_commands_name_are_in_the_catalogue():
    named = re.findall(r'models get "?([^"`]+)"?`|name, `([^`]+)`', PAGE.read_text(encoding="utf-8"))
    names = [name for pair in named for name in pair if name]
    assert len(names) == 2 and len({catalogue.find(name) for name in names} - {None}) == 1
