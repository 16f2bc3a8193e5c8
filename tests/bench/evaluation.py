"""Our evaluation's speed against one `model.generate` a row: the same rows, model and token limit, in turns.

    python tests/bench/evaluation.py [--model FOLDER] [--test FILE ...] [--rows 16] [--tokens 64] [--rounds 1] [--json]

Both sides answer, greedily, in fp32 on the processor, in one process; the answers must be the same. What the loss of
the references costs us beside that, which the other side doesn't compute, is a figure of its own. Without a file:
short questions, sums, and Hindi questions below a passage, of which reading is the larger part. Exit status 1 where a
ratio is below the target.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from slmstudio.core import paths
from slmstudio.core.jobs import processes

os.environ.update({key: value for key, value in processes.worker_environment().items()
                   if key.startswith(("HF_", "OMP_"))})
DATA = Path(__file__).resolve().parents[1] / "data"
SETS = (paths.resources() / "starter" / "helpdesk_test.jsonl", DATA / "gsm8k_test.jsonl",
        DATA / "xquad_hi_instructions.jsonl")
TARGET = 2.0
MEMORY = 4 * 2**30
"""What an evaluation's caches take on a machine with 16 GB that are free: a whole batch of long rows."""


def load(folder: Path) -> Any:
    import torch

    from slmstudio.worker.answering import model_loader
    from slmstudio.worker.answering.torch_model import TorchModel

    return TorchModel(model_loader.load(folder, torch.float32), folder, MEMORY)


def measure(model: Any, test: Path, count: int, tokens: int, rounds: int) -> dict[str, Any]:
    """Seconds of both sides in each round, and the median of their ratio."""
    import torch

    from slmstudio.core.evaluation.testset.reader import read_test_set
    from slmstudio.worker.answering.rows import batches, line_of, prepare, run_rows
    from slmstudio.worker.evaluation.evaluate import sample

    items = [item.to_dict() for item in sample(read_test_set(test).items, count, seed=0)]
    scored = [prepare(item, model, tokens) for item in items]
    rows = [prepare({**item, "references": []}, model, tokens) for item in items]

    def ours(asked: list[Any] = rows) -> dict[int, str]:
        return {row.item["id"]: line_of(row, replies, model, 0.0)["answer"] for batch in batches(asked, model)
                for row, replies in zip(batch, run_rows(batch, model, lambda share: None), strict=True)}

    @torch.inference_mode()
    def theirs() -> dict[int, str]:
        found = {}
        for row in rows:
            prompt = torch.tensor([row.asks[0].prompt])
            output = model.model.generate(input_ids=prompt, attention_mask=torch.ones_like(prompt), do_sample=False,
                                          max_new_tokens=tokens, pad_token_id=model.tokenizer.pad_token_id)
            found[row.item["id"]] = model.decode(output[0, prompt.shape[1]:].tolist()).strip()
        return found

    sides = {"ours": ours, "with_loss": lambda: ours(scored), "generate": theirs}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    answers: dict[str, dict[int, str]] = {}
    for _ in range(rounds):
        for name, side in sides.items():
            begun = time.perf_counter()
            answers[name] = side()
            seconds[name].append(round(time.perf_counter() - begun, 2))
    ratios = [other / mine for mine, other in zip(seconds["ours"], seconds["generate"], strict=True)]
    return {"test": test.name, "rows": len(rows), "tokens": tokens,
            "prompt_tokens": round(statistics.mean(len(row.asks[0].prompt) for row in rows)), "seconds": seconds,
            "same_answers": sum(answers["ours"][key] == answers["generate"][key] for key in answers["ours"]),
            "ratio": round(statistics.median(ratios), 2), "target": TARGET}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a model folder; the starter model by default")
    parser.add_argument("--test", type=Path, action="append", help="rows; by default three sets, see above")
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    folder = options.model
    if folder is None:
        from slmstudio.core import starter

        folder = starter.prepare().path
    model = load(Path(folder))
    missed = False
    for test in options.test or SETS:
        result = measure(model, test, options.rows, options.tokens, options.rounds)
        missed |= result["ratio"] < TARGET
        best = {name: min(values) for name, values in result["seconds"].items()}
        print(json.dumps(result) if options.json else (
            f"{result['rows']} rows of {result['test']}, prompts of {result['prompt_tokens']} tokens, answers of up to "
            f"{result['tokens']}: ours {best['ours']:.1f} s ({best['with_loss']:.1f} s with the references' loss), one "
            f"generate a row {best['generate']:.1f} s; {result['ratio']:.2f} times as fast (target {TARGET})"),
            flush=True)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
