"""Our evaluation's speed against one `model.generate` a row: the same rows, model and token limit, in turns.

    python tests/bench/evaluation.py [--model FOLDER] [--test FILE] [--rows 32] [--tokens 64] [--rounds 1] [--json]

Ours answers and scores the reference too; the other side answers only, as transformers' guide does it. Both are greedy,
in fp32 on the processor, in one process; the answers must be the same. Exit status 1 below the target.
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

from slmstudio.core import processes

os.environ.update({key: value for key, value in processes.worker_environment().items()
                   if key.startswith(("HF_", "OMP_"))})
TARGET = 2.0
MEMORY = 4 * 2**30
"""What an evaluation's caches take on a machine with 16 GB that are free: a whole batch of long rows."""


def measure(folder: Path, test: Path, count: int, tokens: int, rounds: int) -> dict[str, Any]:
    """Seconds of both sides in each round, and the median of their ratio."""
    import torch

    from slmstudio.core.evaluation.test_sets import read_test_set
    from slmstudio.worker import evaluate_models
    from slmstudio.worker.evaluate_items import sample
    from slmstudio.worker.evaluate_rows import batches, line_of, prepare, run_rows
    from slmstudio.worker.evaluate_torch import TorchModel

    model = TorchModel(evaluate_models.load(folder, torch.float32), folder, MEMORY)
    rows = [prepare(item.to_dict(), model, tokens) for item in sample(read_test_set(test).items, count, seed=0)]

    def ours() -> dict[int, str]:
        return {row.item["id"]: line_of(row, replies, model, 0.0)["answer"] for batch in batches(rows, model)
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

    seconds: dict[str, list[float]] = {"ours": [], "generate": []}
    answers: dict[str, dict[int, str]] = {}
    for _ in range(rounds):
        for name, side in (("ours", ours), ("generate", theirs)):
            begun = time.perf_counter()
            answers[name] = side()
            seconds[name].append(time.perf_counter() - begun)
    ratios = [other / mine for mine, other in zip(seconds["ours"], seconds["generate"], strict=True)]
    return {"model": folder.name, "rows": len(rows), "tokens": tokens, "rounds": rounds,
            "prompt_tokens": sum(len(row.asks[0].prompt) for row in rows), "seconds": seconds,
            "same_answers": sum(answers["ours"][key] == answers["generate"][key] for key in answers["ours"]),
            "ratio": round(statistics.median(ratios), 2), "target": TARGET}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a model folder; the starter model by default")
    parser.add_argument("--test", type=Path, help="rows; XQuAD in Hindi by default, from beside the checkout")
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    model = options.model
    if model is None:
        from slmstudio.core.quickstart import prepare_starter

        model = prepare_starter().path
    test = options.test or Path(__file__).resolve().parents[3] / "shared" / "data" / "xquad_hi_instructions.jsonl"
    result = measure(Path(model), test, options.rows, options.tokens, options.rounds)
    if options.json:
        print(json.dumps(result))
    else:
        print(f"{result['rows']} rows of {result['prompt_tokens'] // result['rows']} tokens, answers of up to "
              f"{result['tokens']}: ours {min(result['seconds']['ours']):.1f} s, one generate a row "
              f"{min(result['seconds']['generate']):.1f} s; {result['ratio']:.2f} times as fast (target {TARGET})")
    return 0 if result["ratio"] >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
