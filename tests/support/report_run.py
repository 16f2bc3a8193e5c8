"""Run folders as a worker leaves them, for the tests of the report: what happened is told event by event."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from slmstudio.core import files, jobs
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig

BEGIN = 1_790_000_000.25
REASONS = {"lora_rank": "16 suits most tasks.", "learning_rate": "Suits an adapter of this size."}
BUSY = ("A reason that is long enough to take several lines in its narrow column of the table, so that a page may end "
        "in the middle of it where nothing keeps the row together. ")


class ReportRun:
    """A run folder that is being written.

    Attributes:
        folder: the run folder.
        time: of the next event.
    """

    def __init__(self, parent: Path, **fields: Any):
        values = {"name": "pune helpdesk", "model": str(parent / "Tiny-Instruct"), "learning_rate": 0.00123,
                  "train_file": str(parent / "rows.jsonl"), "eval_file": str(parent / "held_out.jsonl"),
                  "max_length": 1536, "lora_rank": 24, "lora_alpha": 48, "seed": 4711, "reasons": REASONS, **fields}
        self.folder = parent / "2026-11-25-run-7f3a"
        self.folder.mkdir(parents=True)
        self.record = {"protocol": 1, **RunConfig(**values).to_dict(), "created": BEGIN - 5,
                       "versions": {"slmstudio": "0.1.0", "torch": "2.13.0+cpu"},
                       "hashes": {"train_file": "ab" * 32, "eval_file": "cd" * 32, "config.json": "ef" * 32}}
        files.write_atomically(self.folder / jobs.RUN, files.dump_pretty(self.record))
        self.time = BEGIN

    def tell(self, type: str, **fields: Any) -> None:
        files.append_line(self.folder / jobs.EVENTS, {"protocol": 1, "time": self.time, "type": type, **fields})
        self.time += 1.0

    def start(self, total: int = 60) -> None:
        self.tell("job_started", pid=1, kind="train")
        self.tell("machine", system="Linux", cpu="Intel Core i5-10400", cores=6, ram_total=16 * 1024**3,
                  gpus=[{"name": "NVIDIA GeForce RTX 3060", "memory_total": 12 * 1024**3}])
        self.tell("plan", total_steps=total, steps_per_epoch=20, train_rows=312, eval_rows=48, tokens_per_epoch=41928,
                  parameters=139399488, trainable_parameters=4884480, device="cuda:0")

    def learn(self, first: int, last: int, evaluate_every: int = 20) -> None:
        for step in range(first, last + 1):
            loss = 1.1 + math.exp(-step / 30) + 0.05 * math.sin(step)
            self.tell("step", global_step=step, epoch=step / 20, train_loss=loss, learning_rate=2e-4 * (1 - step / 999),
                      grad_norm=0.8 + 0.1 * math.cos(step), tokens_per_second=3400.5 + step, tokens=2048 + step,
                      step_seconds=0.6002 + step / 10000, seconds_left=1.0)
            if step % evaluate_every == 0:
                self.tell("eval", global_step=step, eval_loss=1.2345678 + 1 / step, seconds=7.53)

    def sense(self, count: int = 5, **fields: Any) -> None:
        for number in range(count):
            self.tell("sensors", process_memory=2.5e9, cpu_percent=180.0, gpus=[{
                "name": "NVIDIA GeForce RTX 3060", "temperature_c": 70 + number, "slowdown_c": 93, "power_w": 150.0,
                "power_limit_w": 170.0, "memory_used": 8 * 1024**3, "memory_total": 12 * 1024**3, **fields}])

    def finish(self, **result: Any) -> None:
        self.tell("job_ended", state="finished")
        given = {"steps": 60, "total_steps": 60, "used_step": 60, "best_step": 60, "best_eval_loss": 1.2512344666,
                 "stopped_early": False, "train_loss_first": 2.0912345, "train_loss_last": 1.2209876,
                 "eval_loss_before": 2.5199325, "eval_loss_after": 1.2512344666,
                 "adapter": str(self.folder / "adapter"), **result}
        jobs.write_outcome(self.folder, jobs.Outcome("finished", result=given))

    def export(self, name: str = "helpdesk-Q4_K_M", parity: dict[str, Any] | None = None) -> None:
        place = self.folder / folder.EXPORTS
        place.mkdir(exist_ok=True)
        (place / f"{name}.gguf").write_bytes(b"GGUF" + bytes(4096))
        if parity is not None:
            files.write_atomically(place / f"{name}.parity.json", files.dump_pretty(parity))

    def evaluate(self, name: str = "evaluate-20261125-101112-aaaa", scores: dict[str, Any] | None = None,
                 **request: Any) -> Path:
        job = jobs.Job.create(self.folder / "jobs" / name, "evaluate", **request)
        if scores is not None:
            files.write_atomically(job.folder / "scores.json", files.dump_pretty(scores))
            jobs.write_outcome(job.folder, jobs.Outcome("finished"))
        return job.folder

    def items(self, place: Path, answers: list[tuple[str, str, str, str]]) -> None:
        """items.jsonl and the answers of base and tuned: (question, reference, base, tuned)."""
        for number, (question, reference, *given) in enumerate(answers):
            files.append_line(place / "items.jsonl", {
                "id": number, "line": number + 1, "kind": "free", "messages": [{"role": "user", "content": question}],
                "references": [reference], "choices": None, "answer": None, "pattern": None, "category": "tax",
                "language": "hi", "trained_on": False})
            for model, answer in enumerate(given):
                files.append_line(place / f"answers-{model}.jsonl", {
                    "id": number, "answer": answer, "tokens": 5, "seconds": 0.1, "finish": "stop",
                    "reference_nats": [3.0], "reference_tokens": [4], "choice_logprobs": None, "skipped": None})


def finished(parent: Path, **fields: Any) -> ReportRun:
    """A whole run with a GPU."""
    run = ReportRun(parent, **fields)
    run.start()
    run.tell("eval", global_step=0, eval_loss=2.5199325, seconds=7.61)
    run.learn(1, 30)
    run.sense()
    run.learn(31, 60)
    run.finish()
    return run


def parity() -> dict[str, Any]:
    return {"passed": True, "verdict": "Same tokens in 3,874 texts.", "failures": [], "type": "Q4_K_M",
            "sha256": "12" * 32, "checks": [
                {"name": "tokens", "passed": True, "figure": "3,874 of 3,874", "limit": "all", "remedy": ""},
                {"name": "nmse", "passed": True, "figure": "1.9e-02", "limit": "under 0.7", "remedy": ""},
                {"name": "kl", "passed": None, "figure": "not measured", "limit": "", "remedy": ""}]}


def scores(sentence: str = "better (52.4 against 21.3 chrF++, p < 0.001)") -> dict[str, Any]:
    def score(value: float, spread: float) -> dict[str, Any]:
        return {"value": value, "low": value - spread, "high": value + spread, "rows": 100}

    def model(name: str, chrf: float, loss: float) -> dict[str, Any]:
        found = {"chrf": score(chrf, 3.2), "loss": score(loss, 0.11)}
        return {"name": name, "rows": 100, "skipped": 1, "scores": found, "by_category": {"tax": found},
                "by_language": {"hi": found},
                "speed": {"seconds": 31.0, "tokens_per_second": 88.5, "answer_tokens": 41.7}}

    return {"protocol": 1, "created": BEGIN + 500, "judge": None,
            "test": {"path": "questions.jsonl", "sha256": "98" * 32, "rows": 101, "kinds": {"free": 101},
                     "trained_on": 3},
            "models": [model("base", 21.3, 2.61), model("tuned", 52.4, 1.27)],
            "comparisons": [{"of": "tuned", "with": "base", "metric": "chrf", "score": 52.4, "other": 21.3,
                             "difference": 31.1, "low": 27.9, "high": 34.2, "p": 0.0004, "rows": 100,
                             "rows_needed": None, "verdict": "better", "main": True, "sentence": sentence}]}


def add_rows(run: ReportRun, lines: list[str]) -> Path:
    """The dataset that the run says it learned from, with its real hash in run.json."""
    path = Path(run.record["train_file"])
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    run.record["hashes"]["train_file"] = files.sha256_of(path)
    files.write_atomically(run.folder / jobs.RUN, json.dumps(run.record))
    return path
