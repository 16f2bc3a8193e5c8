"""Whether the plan's values are good ones: held-out loss of the plan, of values around it, and of others' defaults.

    python tests/bench/defaults.py --out sweep.jsonl --folder ROWS [--data sample gsm8k …] [--model starter NAME=FOLDER]
                                   [--rate 1e-3 2e-3] [--part 0.25 0.5 1 2] [--rank 16 64] [--batch 2 8] [--rivals]
                                   [--seed 42 1] [--set field=value] [--threads 1] [--runs FOLDER] [--print]

ROWS is what `defaults_data.py` writes: for each dataset rows to learn and others to compare by. Each run trains on the
same rows for the same number of passes as the plan, so all take the same time but for the cost of a larger adapter.
Of the rows to learn, the plan holds some out, by which a run chooses its best weights and the strength of its adapter;
what runs are compared by is the loss of their results on the rows to compare by, which no choice sees, in nats a
token. First comes the plan, then the
rates that are given, as they are or as parts of the plan's rate, with every rank that is given; with `--rivals` the
fixed values that two other programs propose for everything; then the best so far in other batches. All of it is done
once with each seed, since two seeds can differ by 8%, more than two rates. Every run's figures are appended to the file
as soon as they are there, and runs that are in it already are not repeated, so that a sweep of many hours can be
interrupted, and several processes with files of their own can share it. The runs themselves
are kept only in the folder of `--runs`. `--print` shows the file's table, with means
over the seeds, and trains nothing.

Exit status 1 when the plan is more than 3% above the best of its table, or not ahead of the others' defaults.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from slmstudio.core import starter  # noqa: E402
from slmstudio.core.data import reader  # noqa: E402
from slmstudio.core.hardware.machine import read_machine  # noqa: E402
from slmstudio.core.model import facts  # noqa: E402
from slmstudio.core.run import folder  # noqa: E402
from slmstudio.core.run.config import RunConfig, default_of  # noqa: E402
from slmstudio.core.run.planning import plan_inputs, planner  # noqa: E402

WITHIN = 0.03
RIVALS: dict[str, dict[str, Any]] = {
    "2e-4, rank 16": {"learning_rate": 2e-4, "lora_rank": 16, "lora_alpha": 16, "lr_scheduler": "linear"},
    "5e-5, rank 8": {"learning_rate": 5e-5, "lora_rank": 8, "lora_alpha": 16, "lr_scheduler": "cosine"},
}
"""What two widely used programs propose for any data and model, by their documentation in 2026; both in batches of 16
and 8 rows, trained here in the plan's batches, which favours them. They keep the last weights."""
MICRO = 4
"""The largest micro-batch of rows that is tried; a larger batch accumulates."""
SEED = default_of("seed")
FIGURES = ("learning_rate", "lora_rank", "lora_alpha", "epochs", "micro_batch_size", "gradient_accumulation_steps")
QUIET = {"sample_max_tokens": 0, "save_steps": 10**6}
"""What costs time and changes no loss."""
LAST_WEIGHTS = {"use_best_checkpoint": False, "early_stopping_patience": 0}


@dataclass(frozen=True)
class Row:
    """One row of the table: a dataset and a model."""

    data: str
    rows: Path
    compared_by: Path
    model: facts.ModelFacts

    @property
    def key(self) -> str:
        return f"{self.data}, {self.model.name}"


class Sweep:
    """The figures of a file, and the runs that add to it."""

    def __init__(self, out: Path, place: Path, fixed: dict[str, Any]):
        self.out, self.place = out, place
        self.fixed = QUIET | fixed
        self.done = [json.loads(line) for line in out.read_text("utf-8").splitlines()] if out.exists() else []

    def plan(self, row: Row, chosen: dict[str, Any]) -> RunConfig:
        return planner.configure(plan_inputs.PlanInputs(
            reader.read_dataset(row.rows), row.model, read_machine(), overrides={**self.fixed, **chosen}))

    def run(self, row: Row, name: str, chosen: dict[str, Any]) -> dict[str, Any]:
        """Train with some values chosen and the others as planned, unless the file has that already."""
        known = next((each for each in self.done if each["row"] == row.key and each["chosen"] == chosen), None)
        if known is not None:
            return known
        job = folder.create(self.plan(row, chosen), self.place / "runs")
        job.start()
        outcome = job.wait()
        if not outcome.was_successful():
            raise SystemExit(f"{row.key}, {name}: {outcome.user_error()}")
        events = list(job.events())
        steps = [event for event in events if event["type"] == "step"]
        losses = [event["eval_loss"] for event in events if event["type"] == "eval"]
        config = RunConfig.from_dict(job.request())
        strengths = next((event["strengths"] for event in events if event.get("strengths")), [])
        found = {
            "row": row.key, "name": name, "chosen": chosen, "eval_loss": self.final_loss(job.folder, config, row),
            "held_out": losses, "strengths": strengths,
            "steps": len(steps), "tokens": sum(event["tokens"] for event in steps),
            "seconds": round(sum(event["step_seconds"] for event in steps), 1),
            "precision": config.precision, **{key: getattr(config, key) for key in FIGURES},
        }
        self.done.append(found)
        with self.out.open("a", encoding="utf-8") as out:
            out.write(json.dumps(found) + "\n")
        print(f"{row.key}: {name}: {found['learning_rate']:.2g} {found['eval_loss']:.4f} after "
              f"{found['seconds']:.0f} s", flush=True)
        return found


    def final_loss(self, run: Path, config: RunConfig, row: Row) -> float:
        """Of a run's result on the rows to compare by: what a run that continues it measures before its first step."""
        again = folder.create(replace(config, start_from=str(run), eval_file=str(row.compared_by), max_steps=1,
                                      **LAST_WEIGHTS), self.place / "final")
        again.start()
        while again.outcome() is None:
            for event in again.events():
                if event["type"] == "eval":
                    again.kill()
                    return float(event["eval_loss"])
            time.sleep(1)
        raise SystemExit(f"{row.key}: {again.wait().user_error()}")


def sweep(table: Sweep, row: Row, options: argparse.Namespace) -> None:
    """The plan, the grid around it, the others' defaults, then the best of all that in other batches; seed after
    seed."""
    for seed in options.seed:
        fixed = {"seed": seed} if seed != SEED else {}
        plan = table.run(row, "plan", fixed)
        fixed = {"epochs": plan["epochs"], **fixed}
        rates = [*options.rate, *(float(f"{part * plan['learning_rate']:.1e}") for part in options.part)]
        grid = [{"lora_rank": rank, "lora_alpha": 2 * rank, "learning_rate": rate}
                for rank in options.rank or [plan["lora_rank"]] for rate in rates]
        tried = [plan] + [table.run(row, "grid", {**fixed, **chosen}) for chosen in grid]
        for name, chosen in RIVALS.items() if options.rivals else ():
            table.run(row, name, {**fixed, **LAST_WEIGHTS, **chosen})
        best = min(tried, key=lambda each: each["eval_loss"])["chosen"]
        for batch in options.batch:
            table.run(row, f"batches of {batch}", {**fixed, **best, "micro_batch_size": min(batch, MICRO),
                                                   "gradient_accumulation_steps": max(1, batch // MICRO)})


def over_seeds(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One entry for all runs whose values are the same but for the seed, with the mean of their losses; best first."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for each in runs:
        rival = each["name"] if each["name"] in RIVALS else ""
        groups.setdefault((rival, *(each[key] for key in FIGURES)), []).append(each)
    means = []
    for group in groups.values():
        losses = [each["eval_loss"] for each in group]
        names = {each["name"] for each in group}
        means.append({**group[0], "name": "plan" if "plan" in names else group[0]["name"], "seeds": len(group),
                      "eval_loss": statistics.mean(losses), "spread": max(losses) - min(losses),
                      "seconds": statistics.mean(each["seconds"] for each in group)})
    return sorted(means, key=lambda each: each["eval_loss"])


def print_table(done: list[dict[str, Any]]) -> bool:
    """The figures by row, the lowest loss first. Returns whether the plan holds its place everywhere."""
    fine = True
    for key in dict.fromkeys(each["row"] for each in done):
        rows = over_seeds([each for each in done if each["row"] == key])
        plan = next((each for each in rows if each["name"] == "plan"), None)
        print(f"\n{key}")
        for each in rows:
            print(f"  {each['eval_loss']:.4f} ± {each['spread'] / 2:.4f} ({each['seeds']})  {each['name']:<16} "
                  f"lr {each['learning_rate']:.1e}  rank {each['lora_rank']:<4} {each['epochs']:g} epochs, "
                  f"{each['steps']} steps, {each['tokens']} tokens, {each['seconds']:.0f} s")
        if plan is not None:
            behind = plan["eval_loss"] / rows[0]["eval_loss"] - 1
            ahead = all(plan["eval_loss"] < each["eval_loss"] for each in rows if each["name"] in RIVALS)
            print(f"  the plan is {behind:.1%} above the best, {'ahead of' if ahead else 'NOT ahead of'} the defaults")
            fine = fine and behind <= WITHIN and ahead
    return fine


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--data", nargs="*")
    parser.add_argument("--model", nargs="*", default=["starter"])
    parser.add_argument("--rank", type=int, nargs="*", default=[])
    parser.add_argument("--rate", type=float, nargs="*", default=[])
    parser.add_argument("--part", type=float, nargs="*", default=[])
    parser.add_argument("--batch", type=int, nargs="*", default=[])
    parser.add_argument("--rivals", action="store_true")
    parser.add_argument("--seed", type=int, nargs="*", default=[SEED])
    parser.add_argument("--set", nargs="*", default=[], dest="fixed")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--print", action="store_true", dest="only_print")
    options = parser.parse_args()
    fixed = {name: json.loads(value) for name, _, value in (each.partition("=") for each in options.fixed)}
    fixed |= {"threads": options.threads} if options.threads else {}
    with tempfile.TemporaryDirectory() as temporary:
        table = Sweep(options.out, options.runs or Path(temporary), fixed)
        names = [] if options.only_print else options.data or sorted(
            path.stem for path in options.folder.glob("*.jsonl") if not path.stem.endswith("-final"))
        for model in options.model if names else []:
            base = starter.prepare() if model == "starter" else facts.read_model(Path(model.partition("=")[2]))
            for name in names:
                sweep(table, Row(name, options.folder / f"{name}.jsonl", options.folder / f"{name}-final.jsonl", base),
                      options)
    return 0 if print_table(table.done) else 1


if __name__ == "__main__":
    sys.exit(main())
