"""Training speed and memory on the processor: a run as the planner proposes it, against TRL's SFTTrainer as it comes.

    python tests/bench/training_speed.py [--model starter] [--rows 16] [--rounds 7] [--minutes 15] [--json]

The starter model, or one of Gemma 3's or Qwen 3's smallest size with random weights and a small vocabulary, learns the
same rows (Hindi XQuAD and GSM8K from tests/data, mixed lengths) by LoRA of the same rank on the same layers: once as a
worker's job, once by `SFTTrainer(model=PATH, args=SFTConfig(...), peft_config=LoraConfig(...))` with the same tokens,
labels, sequence length, batch and cores, in its own precision where the processor has bf16 arithmetic and else in fp32.
Both sides are processes of their own and take many short turns, each going first every other round; the first step of
each process isn't counted. The ratio is the median of the rounds, so that a round which something else on the machine
disturbed doesn't move it; beside it stand the middle half of the rounds and all of them. The floor is what 4 N
arithmetic steps a token (forwards, and backwards to the activations only, of N parameters) would take at the measured
rate of large matrix products.

Shares, floor and losses are measured first; then as many rounds as end in time. Where the processor has no bf16
arithmetic, which it then emulates for hours, all of it is measured in fp32 alone, and `not_measured` says so.
Exit status 1 when a budget is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support import family_models, peak_of  # noqa: E402

from slmstudio.core import starter  # noqa: E402
from slmstudio.core.data import reader  # noqa: E402
from slmstudio.core.hardware.machine import read_machine  # noqa: E402
from slmstudio.core.jobs import processes  # noqa: E402
from slmstudio.core.model import facts, tokens  # noqa: E402
from slmstudio.core.model.chat_template import ChatTemplate  # noqa: E402
from slmstudio.core.run import folder  # noqa: E402
from slmstudio.core.run.planning import plan_inputs, planner  # noqa: E402

DATA = ROOT / "tests" / "data"
RATIO, MEMORY_RATIO, FLOOR_SHARE = 4.5, 0.6, 0.38
MODELS: dict[str, dict[str, Any]] = {
    "starter": {},
    "gemma3": {"hidden_size": 640, "intermediate_size": 2048, "num_hidden_layers": 18, "num_attention_heads": 4,
               "num_key_value_heads": 1, "head_dim": 256, "query_pre_attn_scalar": 256, "sliding_window": 512},
    "qwen3": {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 14, "num_attention_heads": 16,
              "num_key_value_heads": 8, "head_dim": 128},
}
"""Sizes of Gemma 3 270M, and of Qwen 3 0.6B with half of its layers."""
LEAST_ROUNDS = 3
"""With fewer there is no median that passes over a disturbed round."""
LEAST_SECONDS, FIRST_SECONDS = 60.0, 600.0
"""That a process may take, however late it is; and how much later the first round may end."""
TOO_LATE = "loss_differences: they took too long"
NO_BF16 = "loss_differences in bf16: this processor has no bf16 arithmetic, so that all of this is in fp32"
LOSS_BUDGETS = {"fp32": 1e-5, "bf16": 1e-3}
IGNORED = -100
SIDES = Path(__file__).with_name("training_speed_sides.py")


def write_rows(target: Path, count: int) -> None:
    """`count` rows, half of each file as far as it has them, shuffled by a fixed seed."""
    rows = []
    for name, prompt, answer in (("xquad_hi_instructions.jsonl", "instruction", "output"),
                                 ("gsm8k_train.jsonl", "question", "answer")):
        lines = (DATA / name).read_text(encoding="utf-8").splitlines()
        for line in random.Random(0).sample(lines, min(count // 2, len(lines))):
            row = json.loads(line)
            rows.append({"instruction": row[prompt], "input": row.get("input", ""), "output": row[answer]})
    random.Random(1).shuffle(rows)
    target.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def write_tokens(target: Path, config: Any) -> None:
    """Tokens and labels of the rows for the stock side, by the function that the worker uses."""
    model = Path(config.model)
    tokenizer, template, rows = tokens.local_tokenizer(model), ChatTemplate.from_folder(model), []
    for record in reader.read_dataset(Path(config.train_file)).records:
        encoded = tokens.encode(list(record.messages), tokenizer, template, completion_only=True)
        ids, learned = encoded.ids[: config.max_length], encoded.learned[: config.max_length]
        if any(learned[1:]):
            labels = [token if wanted else IGNORED for token, wanted in zip(ids, learned, strict=True)]
            rows.append({"input_ids": ids, "labels": labels})
    target.write_text(json.dumps(rows), encoding="utf-8")


def make_model(name: str, parent: Path) -> facts.ModelFacts:
    if name == "starter":
        return starter.prepare()
    family_models.OWN[name] |= MODELS[name]
    return facts.read_model(family_models.build(name, parent / name))


def child(*arguments: str, end: float, ours: bool = False) -> tuple[float, dict[str, Any]]:
    """Run a side to its end, ours in the environment that the product gives a worker: peak memory in bytes, and what
    it printed last.

    Args:
        end: when it is killed, on `time.monotonic`'s clock.
    """
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as complaints:
        status, peak = peak_of.run([sys.executable, *arguments], max(LEAST_SECONDS, end - time.monotonic()),
                                   stdout=said, stderr=complaints, cwd=ROOT, text=True,
                                   env=processes.worker_environment("train") if ours else None)
        said.seek(0)
        complaints.seek(0)
        if status:
            raise SystemExit(f"{arguments}: exit status {status}\n{complaints.read()[-3000:]}")
        lines = said.read().strip().splitlines()
    return peak, json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}


def run_ours(config: Any, parent: Path, end: float) -> dict[str, float]:
    """One job of the worker: tokens a second after its first step, and peak memory."""
    job = folder.create(config, parent)
    memory, _ = child("-P", "-m", "slmstudio.worker", str(job.folder), end=end, ours=True)
    outcome = job.outcome()
    if outcome is None or not outcome.was_successful():
        raise SystemExit(f"the run failed: {outcome}")
    steps = [event for event in job.events() if event["type"] == "step"]
    counted = steps[1:]
    return {"tokens_per_second": sum(e["tokens"] for e in counted) / sum(e["step_seconds"] for e in counted),
            "memory": memory, "tokens": sum(e["tokens"] for e in steps)}


def run_stock(request: Path, end: float) -> dict[str, float]:
    memory, result = child(str(SIDES), "stock", str(request), end=end)
    return {**result, "memory": memory}


def measure(name: str, rows: int, rounds: int, seconds: float, say: Any) -> dict[str, Any]:
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        write_rows(place / "rows.jsonl", rows)
        model = make_model(name, place)
        # What stock training doesn't do either: evaluations, samples, checkpoints on the way.
        chosen = {"eval_fraction": 0, "sample_max_tokens": 0, "epochs": 1, "save_steps": 10**6, "eval_steps": 10**6}
        config = planner.configure(plan_inputs.PlanInputs(
            reader.read_dataset(place / "rows.jsonl"), model, read_machine(), overrides=chosen))
        write_tokens(place / "tokens.json", config)
        request = place / "request.json"
        request.write_text(json.dumps({"config": config.to_dict(), "tokens": str(place / "tokens.json")}))
        _, parts = child(str(SIDES), "parts", str(request), end=begun + seconds, ours=True)
        say(f"parts {parts}")
        losses = {}
        with contextlib.suppress(TimeoutError):  # it's said that they are missing
            _, losses = child(str(SIDES), "losses", str(request), end=begun + seconds / 2, ours=True)
        say(f"losses {losses}")
        found = take_rounds(config, request, rounds, begun + seconds, say)
    return summarise(config, model, found, parts, losses, time.monotonic() - begun)


def take_rounds(config: Any, request: Path, rounds: int, end: float, say: Any) -> dict[str, list[dict[str, float]]]:
    """The figures of each side in each round. After the first, no round begins that wouldn't end in time."""
    found: dict[str, list[dict[str, float]]] = {"stock": [], "ours": []}
    longest = 0.0
    for number in range(rounds):
        began, one = time.monotonic(), {}
        if number and began + longest > end:
            break
        late = end if number else end + FIRST_SECONDS
        try:
            for side in ("stock", "ours") if number % 2 == 0 else ("ours", "stock"):
                one[side] = (run_stock(request, late) if side == "stock" else
                             run_ours(config, request.parent / "runs", late))
                say("{:<5} {tokens_per_second:7.1f} tokens/s, peak {gb:.2f} GB".format(
                    side, gb=one[side]["memory"] / 1e9, **one[side]))
        except TimeoutError:
            if not number:
                raise
            break
        for side, figures in one.items():
            found[side].append(figures)
        longest = max(longest, time.monotonic() - began)
    return found


def summarise(config: Any, model: facts.ModelFacts, found: dict[str, list[dict[str, float]]], parts: dict[str, Any],
              losses: dict[str, Any], seconds: float) -> dict[str, Any]:
    speed = {name: spread([side["tokens_per_second"] for side in sides], 1) for name, sides in found.items()}
    memory = {name: max(side["memory"] for side in sides) for name, sides in found.items()}
    ratios = [ours["tokens_per_second"] / stock["tokens_per_second"]
              for ours, stock in zip(found["ours"], found["stock"], strict=True)]
    floor = parts["flops_per_second"] / (4 * model.parameters)
    return {
        "model": model.name, "ratio": spread(ratios, 2), "ratios": [round(ratio, 2) for ratio in ratios],
        "memory_ratio": round(memory["ours"] / memory["stock"], 3),
        "floor_share": round(speed["ours"]["median"] / floor, 3),
        "ours_tokens_per_second": speed["ours"], "stock_tokens_per_second": speed["stock"],
        "floor_tokens_per_second": round(floor, 1), "precision": config.precision, "rounds": len(ratios),
        "not_measured": [] if "bf16" in losses else [NO_BF16] if losses else [TOO_LATE],
        "matrix_gflops_per_second": round(parts["flops_per_second"] / 1e9, 1),
        "ours_peak_gb": round(memory["ours"] / 1e9, 2), "stock_peak_gb": round(memory["stock"] / 1e9, 2),
        "tokens": found["ours"][0]["tokens"], "stock_tokens": found["stock"][0]["tokens"],
        "micro_batch_size": config.micro_batch_size, "packing": config.packing, "max_length": config.max_length,
        "gradient_accumulation_steps": config.gradient_accumulation_steps, "lora_rank": config.lora_rank,
        "parts": parts["parts"], "loss_differences": losses, "seconds": round(seconds, 1),
    }


def spread(values: list[float], digits: int) -> dict[str, float]:
    """Their median, and the quartiles, between which the middle half of them lies."""
    low, median, high = statistics.quantiles(values * 2 if len(values) == 1 else values, n=4, method="inclusive")
    return {"median": round(median, digits), "low": round(low, digits), "high": round(high, digits)}


def problems(result: dict[str, Any]) -> list[str]:
    """What misses its budget, in words."""
    missed = [f"{name} {value} misses {budget}" for name, value, budget, ok in (
        ("ratio", result["ratio"]["median"], RATIO, result["ratio"]["median"] >= RATIO),
        ("memory_ratio", result["memory_ratio"], MEMORY_RATIO, result["memory_ratio"] <= MEMORY_RATIO),
        ("floor_share", result["floor_share"], FLOOR_SHARE, result["floor_share"] >= FLOOR_SHARE),
        ("stock_tokens", result["stock_tokens"], result["tokens"], result["stock_tokens"] == result["tokens"]),
        ("rounds", result["rounds"], LEAST_ROUNDS, result["rounds"] >= LEAST_ROUNDS),
        ("not_measured", result["not_measured"], "its time", TOO_LATE not in result["not_measured"]),
    ) if not ok]
    differences = result["loss_differences"]
    return missed + [f"loss_differences.{name} {differences[name]:.1e} misses {budget}"
                     for name, budget in LOSS_BUDGETS.items() if differences.get(name, 0.0) > budget]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="starter")
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--minutes", type=float, default=15.0, help="in which it ends, if one round fits into them")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.rounds < LEAST_ROUNDS:
        parser.error(f"--rounds must be at least {LEAST_ROUNDS}")
    say = functools.partial(print, file=sys.stderr if options.json else sys.stdout, flush=True)
    result = measure(options.model, options.rows, options.rounds, 60 * options.minutes, say)
    if options.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            has_spread = isinstance(value, dict) and "median" in value
            print(f"{name:<28} {'{median} ({low} to {high})'.format(**value) if has_spread else value}")
    missed = problems(result)
    print("\n".join(missed), file=sys.stderr, end="\n" if missed else "")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
