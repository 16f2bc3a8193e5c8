"""From nothing to a tuned model that answers: the whole flow on the starter model and the starter data."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slmstudio.core import jobs, llama, paths, starter
from slmstudio.core.data import reader
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.evaluation.answer_rows import read_rows
from slmstudio.core.i18n import tr
from slmstudio.core.jobs import new
from slmstudio.core.jobs.interactive import InteractiveWorker
from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.planning import plan_inputs, planner

Report = Callable[[str, dict[str, Any]], None]
"""Called with the phase ("model", "train", ...) and each event of its worker."""

EXPORT_TYPE = "F16"
QUESTION = "My cooking gas cylinder is leaking. Who should I call?"
"""A test row, so it is never learned; in English, the only language that the starter model speaks."""
MAX_NEW_TOKENS = 96
EPOCHS = 1.0
"""One pass is enough for a model that answers, and short enough for a first try on two cores."""


def run(out: Path, report: Report = lambda phase, event: None) -> dict[str, Any]:
    """Prepare the starter model, train it, score it, export it, prove the export, and ask that in chat.

    Its answers before and after training are always in the result. Without the chat engine it ends after the scores;
    "left_out" says why.

    Args:
        out: folder for the run; made if it is missing.

    Returns:
        The figures that `slmstudio quickstart --json` prints.

    Raises:
        UserError: a phase failed; what was made before it is kept.
    """
    out = out.absolute()
    seconds: dict[str, float] = {}
    started = time.monotonic()

    def timed(phase: str, work: Callable[[], Any]) -> Any:
        since = time.monotonic()
        done = work()
        seconds[phase] = round(time.monotonic() - since, 1)
        return done

    with os_errors_as(tr("Could not create the output folder.")):
        out.mkdir(parents=True, exist_ok=True)
    model = timed("model", lambda: starter.prepare(lambda event: report("model", event)))
    job, trained = timed("train", lambda: _train(model, out, report))
    evaluation, scores = timed("evaluate", lambda: _evaluate(job, trained, report))
    asked = before_and_after(evaluation)
    missing = llama.trouble()
    gguf: dict[str, Any] = dict.fromkeys(("path", "bytes", "parity"))
    reply = None
    if missing is None:
        gguf = timed("export", lambda: _done(new.export(job.folder, [EXPORT_TYPE]), "export", report))["files"][0]
        reply = timed("chat", lambda: ask(Path(gguf["path"]), asked["question"]))
    seconds["total"] = round(time.monotonic() - started, 1)
    keys = ("steps", "train_loss_first", "train_loss_last", "eval_loss_before", "eval_loss_after")
    return {
        "run_dir": str(job.folder),
        **{key: trained[key] for key in keys},
        "chrf_before": scores["models"]["base"]["chrf"],
        "chrf_after": scores["models"]["tuned"]["chrf"],
        "verdict": scores["verdict"],
        "gguf": gguf["path"],
        "gguf_bytes": gguf["bytes"],
        "parity": gguf["parity"],
        **asked,
        "reply": reply,
        "left_out": None if missing is None else " ".join((tr("Export and chat were left out."), str(missing))),
        "seconds": seconds,
    }


def _train(model: ModelFacts, out: Path, report: Report) -> tuple[jobs.Job, dict[str, Any]]:
    """Plan a run on the starter data, and train it. Returns it with its result."""
    config = planner.configure(plan_inputs.PlanInputs(
        dataset=reader.read_dataset(paths.starter_train_file()), model=model,
        eval_file=paths.starter_test_file(), overrides={"name": "quickstart", "epochs": EPOCHS}))
    job = folder.create(config, out)
    return job, _done(job, "train", report)


def _evaluate(run: jobs.Job, trained: dict[str, Any], report: Report) -> tuple[Path, dict[str, Any]]:
    """Let base and tuned model answer the test rows. Returns the evaluation's folder and its result."""
    config = RunConfig.from_dict(run.request())
    base = {"name": "base", "model": config.model, "adapter": None, "gguf": None}
    job = new.make(
        run.folder / "jobs", "evaluate", models=[base, {**base, "name": "tuned", "adapter": trained["adapter"]}],
        test=str(paths.starter_test_file()), train_run=str(run.folder), train_file=config.train_file,
        max_new_tokens=MAX_NEW_TOKENS, precision=config.precision)
    return job.folder, _done(job, "evaluate", report)


def before_and_after(evaluation: Path) -> dict[str, str]:
    """One question of the test rows, its reference, and what the model answers before and after the training."""
    rows = list(read_rows(evaluation))
    item, (before, after) = next((row for row in rows if row[0]["messages"][-1]["content"] == QUESTION), rows[0])
    return {"question": item["messages"][-1]["content"], "reference": item["references"][0],
            "answer_before": (before or {}).get("answer", ""), "answer_after": (after or {}).get("answer", "")}


def _done(job: jobs.Job, phase: str, report: Report) -> dict[str, Any]:
    job.start()
    outcome = job.wait(lambda event: report(phase, event))
    if not outcome.was_successful():
        raise outcome.user_error()
    return outcome.result


def ask(gguf: Path, question: str, system: str | None = None, **options: Any) -> str:
    messages = [{"role": "system", "content": system}] if system else []
    worker = InteractiveWorker("chat")
    worker.start()
    try:
        worker.send({"command": "load", "path": str(gguf)})
        worker.send({"command": "generate", "id": 1, "messages": [*messages, {"role": "user", "content": question}],
                     "temperature": 0.0, "top_p": 1.0, "max_tokens": MAX_NEW_TOKENS, **options})
        text = ""
        for message in worker.receive():
            if message["type"] == "error":
                raise UserError.from_dict(message["error"])
            if message["type"] == "token":
                text += message["text"]
            if message["type"] == "done":
                return text.strip()
        raise UserError(tr("The chat worker ended before it answered."), "",
                        tr("Try again; the log shows the cause."))
    finally:
        worker.close()
