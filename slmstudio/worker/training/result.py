"""What a run leaves: the adapter or the model, of the best or of the last step, complete or absent; and its figures."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from slmstudio.core import files, jobs
from slmstudio.core.files import number
from slmstudio.core.i18n import together, tr
from slmstudio.core.model import named_templates
from slmstudio.core.model.tokens import end_of_turn
from slmstudio.core.run import checkpoints, folder
from slmstudio.core.run.config import RunConfig
from slmstudio.worker.model import generation_end
from slmstudio.worker.runtime import ranks
from slmstudio.worker.runtime.context import JobContext
from slmstudio.worker.training.control import Control

STATE_FILES = frozenset({"optimizer.pt", "scheduler.pt", "scaler.pt", "rng_state.pth", "trainer_state.json",
                         checkpoints.MANIFEST, checkpoints.MANIFEST_DIGEST})
"""What a checkpoint has beside the weights, to continue learning; a result doesn't need it."""


def save_result(job: JobContext, config: RunConfig, trainer: Any, control: Control) -> dict[str, Any]:
    """Write the adapter or the model, and sum up. A full disk is waited for."""
    job.phase("saving")
    name = folder.ADAPTER if config.has_adapter else folder.MODEL
    final = job.folder / name
    used = ranks.alone(lambda: best_checkpoint(job, config, trainer, control))
    step = used.global_step if used else trainer.state.global_step
    with trainer.collected():
        written = control.saver.with_space(
            lambda: _write(job, config, trainer, final, used, control), tr("Could not save the result."))
    if not trainer.is_world_process_zero():
        return {}
    if not written:
        return {"state": "stopped", "steps": trainer.state.global_step, "total_steps": trainer.total_steps,
                **losses(job)}
    digest = {folder.RESULT_DIGEST: files.sha256_of(final / checkpoints.MANIFEST)}
    shutil.rmtree(job.folder / "trainer", ignore_errors=True)
    if used:
        job.emit("best_used", global_step=step, eval_loss=used.eval_loss,
                 message=tr("The weights of step {step:,} are the result: they had the lowest eval loss ({loss:.3f}).",
                            step=step, loss=used.eval_loss))
    return {
        "state": "stopped" if control.stopped else "finished",
        "steps": trainer.state.global_step,
        "total_steps": trainer.total_steps,
        "used_step": step,
        "best_step": control.watch.best_step,
        "best_eval_loss": control.watch.best_loss,
        "stopped_early": control.early,
        **losses(job),
        **({"eval_loss_after": used.eval_loss} if used else {}),
        name: str(final),
        **digest,
    }


def best_checkpoint(job: JobContext, config: RunConfig, trainer: Any,
                    control: Control) -> checkpoints.Checkpoint | None:
    """The checkpoint with the lowest eval loss, if it is wanted, isn't of the last step, and is whole."""
    best = control.watch.best_step
    if not config.use_best_checkpoint or not best or best == trainer.state.global_step:
        return None
    found = [c for c in checkpoints.all_checkpoints(trainer.checkpoint_parent) if c.global_step == best]
    if not found or found[0].eval_loss is None:
        return None
    if reason := checkpoints.damage(found[0].path):
        job.warn("checkpoint_damaged", together(
            tr("The best checkpoint, {name}, is damaged, so the last weights are kept instead.",
               name=found[0].path.name), reason))
        return None
    return found[0]


def _write(job: JobContext, config: RunConfig, trainer: Any, final: Path, used: checkpoints.Checkpoint | None,
           control: Control) -> None:
    partial = final.with_name(f".{final.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        if used:
            shutil.copytree(used.path, partial, ignore=lambda where, names: STATE_FILES.intersection(names))
        else:
            trainer.write_model(partial)
        if config.has_adapter:
            _write_ends(config, trainer, partial)
        evaluated = control.watch.best_loss if used else None
        checkpoints.seal(partial, used.global_step if used else trainer.state.global_step, evaluated)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    files.fsync_folder(job.folder)


def _write_ends(config: RunConfig, trainer: Any, adapter: Path) -> None:
    """Put beside an adapter at which tokens generation ends: the base's files may not name the end of a turn."""
    tokenizer = trainer.processing_class
    template = named_templates.optional_template(config.model, config.chat_template)
    if (end := end_of_turn(template, tokenizer.backend_tokenizer)) is not None:
        generation_end.write(Path(config.model), tokenizer.convert_tokens_to_ids(end), adapter)


def losses(job: JobContext) -> dict[str, float | None]:
    """First and last losses of the whole run, earlier lives of it included: the events know them."""
    steps: dict[float, float | None] = {}
    evals: dict[float, float | None] = {}
    for event in jobs.Job(job.folder).events():
        step, kind = number(event, "global_step"), event.get("type")
        if step is not None and kind == "step":
            steps[step] = number(event, "train_loss")
        elif step is not None and kind == "eval":
            evals[step] = number(event, "eval_loss")
    first, last = (min(steps), max(steps)) if steps else (None, None)
    return {
        "train_loss_first": steps.get(first),
        "train_loss_last": steps.get(last),
        "eval_loss_before": evals[min(evals)] if evals else None,
        "eval_loss_after": evals[max(evals)] if len(evals) > 1 else None,  # a run stopped early has only the first
    }
