"""Job folders of evaluations with rows of several kinds, and answers that are as good as one likes."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from support import score_shapes

from slmstudio.core import files

Line = dict[str, Any]


def write(folder: Path, items: list[Line], *answers: list[Line], **request: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    names = ["base", "tuned", "Q4_K_M"][: len(answers)]
    request = {"kind": "evaluate", "test": None, "models": [{"name": name} for name in names], **request}
    (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
    for name, lines in (("items", items), *((f"answers-{i}", each) for i, each in enumerate(answers))):
        (folder / f"{name}.jsonl").write_bytes(b"".join(map(files.dump_line, lines)))
    return folder


def items_of(rows: int) -> list[Line]:
    rng = random.Random(1)
    made = []
    for i in range(rows):
        kind = ("free", "choice", "number")[i % 3]
        item: Line = {"id": i, "line": i + 1, "kind": kind, "category": ("law", "art")[i % 2], "language": "hi",
                      "messages": [{"role": "user", "content": f"प्रश्न {i}"}], "trained_on": i < 2,
                      "references": [" ".join(rng.choices(score_shapes.WORDS, k=6))]}
        if kind == "choice":
            item.update(choices=["हाँ", "नहीं"], answer=i % 2)
        if kind == "number":
            item["references"] = [f"#### {i}"]
        made.append(item)
    return made


def answers_of(items: list[Line], good: float, seed: int) -> list[Line]:
    rng = random.Random(seed)
    made = []
    for item in items:
        right = rng.random() < good
        text = item["references"][0] if right else rng.choice(score_shapes.WORDS)
        line: Line = {"id": item["id"], "answer": text, "tokens": 5, "seconds": 0.5, "finish": "stop", "skipped": None,
                      "reference_nats": [rng.gammavariate(4, 2 - good)], "reference_tokens": [6]}
        if item["kind"] == "choice":
            line["choice_logprobs"] = [-1.0, -2.0] if (item["answer"] == 0) == right else [-2.0, -1.0]
        made.append(line)
    return made
