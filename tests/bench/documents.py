"""Passages a minute that a teacher makes questions of: many at once behind one cached beginning, as the job does it,
against the same prompts one request at a time.

    python tests/bench/documents.py [--teacher FILE.gguf] [--passages 16] [--rounds 1]

The answers are held to the same form, so both write about as much. By default the teacher is the starter model. Seconds
of the processor are printed too: on a machine that is busy with other things these tell more, with one thread
(OMP_NUM_THREADS=1).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from slmstudio.core.chat.placement import Wish
from slmstudio.core.documents import prompting
from slmstudio.core.documents.passages import Passage
from slmstudio.core.documents.project import USUAL
from slmstudio.core.model import library
from slmstudio.worker.answering.llama_model import load_gguf
from slmstudio.worker.documents.teachers import LocalTeacher, Prompt

MOST, MEMORY = 160, 2**31
RULES = ("The office in {place} takes applications for a {thing} until the {day}th of each month. The fee is {fee} "
         "rupees, and half of that for those above 60 years. A {thing} is valid for {years} years and is renewed at "
         "the same office, with the old one and two photographs. Complaints go to the district officer in {day} days.")
THINGS = ("trade licence", "ration card", "driving licence", "land record", "income certificate", "bus pass")


def passages(count: int) -> list[Passage]:
    return [Passage(f"1-{at}", "rules", f"s{at}", (f"Rule {at}",), at, RULES.format(
        place=f"Camp {at}", thing=THINGS[at % len(THINGS)], day=5 + at % 20, fee=50 + 10 * at, years=1 + at % 9))
        for at in range(count)]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--teacher", type=Path, default=library.starter_gguf())
    options.add_argument("--passages", type=int, default=16)
    options.add_argument("--rounds", type=int, default=1)
    chosen = options.parse_args()
    teacher = LocalTeacher(load_gguf(chosen.teacher, MEMORY, Wish("cpu")))
    prompts = [Prompt(prompting.ask(each, USUAL, "en", 1), MOST, prompting.grammar(each, USUAL, 1), None,
                      prompting.forced(each, USUAL)) for each in passages(chosen.passages)]
    took: dict[str, list[float]] = {"together": [], "one by one": []}
    processor: dict[str, list[float]] = {"together": [], "one by one": []}
    letters = dict.fromkeys(took, 0)
    for _ in range(chosen.rounds):
        for name in took:
            begin = time.perf_counter()
            # A request to a server chooses each token, since a server knows of nothing that must follow.
            parts = [prompts] if name == "together" else [[replace(each, forced=None)] for each in prompts]
            worked = time.process_time()
            letters[name] = sum(len(found.text) for part in parts
                                for found in teacher.complete(part, lambda share: None))
            took[name].append(time.perf_counter() - begin)
            processor[name].append(time.process_time() - worked)
            print(f"{name}: {took[name][-1]:.1f} s, {processor[name][-1]:.1f} s of the processor, {letters[name]:,} "
                  "letters written", flush=True)
    for kind, by_name in (("by the clock", took), ("by the processor's time", processor)):
        seconds = {name: statistics.median(each) for name, each in by_name.items()}
        print(f"{kind}: {60 * chosen.passages / seconds['together']:.1f} passages a minute together, "
              f"{60 * chosen.passages / seconds['one by one']:.1f} one by one: "
              f"{seconds['one by one'] / seconds['together']:.2f} times")


if __name__ == "__main__":
    main()
