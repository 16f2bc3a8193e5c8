"""One training run: set up, train, save, clean up.

Several ranks run this side by side. The first reads the run's folder and makes the decisions, and tells the others;
training and evaluation are shared out among all of them (`several/dealing.py`).
"""

from __future__ import annotations

import contextlib
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from slmstudio.core import files, jobs
from slmstudio.core.errors import UserError
from slmstudio.core.files import number
from slmstudio.core.hardware.machine import Machine, read_machine, torchs_first
from slmstudio.core.i18n import join_sentences, ntr, tr
from slmstudio.core.model import named_templates
from slmstudio.core.model.tokens import end_of_turn
from slmstudio.core.run import adjust, checkpoints, curves, folder, time_estimate
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.time_estimate import TimeEstimate
from slmstudio.worker.model import export_source
from slmstudio.worker.runtime import ranks, threads
from slmstudio.worker.runtime.context import Cancelled, JobContext
from slmstudio.worker.runtime.sensors import Sensors
from slmstudio.worker.training import dealing, methods, options, out_of_memory, preflight, strength
from slmstudio.worker.training.control import TrainingControl
from slmstudio.worker.training.heat import HeatPauses
from slmstudio.worker.training.loading import load
from slmstudio.worker.training.step_times import FirstSteps

# -- What a run leaves: the adapter or the model, of the best or of the last step, complete or absent; and its
# figures.

STATE_FILES = frozenset({"optimizer.pt", "scheduler.pt", "scaler.pt", "rng_state.pth", "trainer_state.json",
                         checkpoints.MANIFEST, checkpoints.MANIFEST_DIGEST})
"""What a checkpoint has beside the weights, to continue learning; a result doesn't need it."""


def save_result(job: JobContext, config: RunConfig, trainer: Any, control: TrainingControl) -> dict[str, Any]:
    """Write the adapter or the model, and sum up. A full disk is waited for."""
    name = folder.ADAPTER if config.has_adapter else folder.MODEL
    final = job.folder / name
    used = ranks.alone(lambda: best_checkpoint(job, config, trainer, control))
    strengths = control.choose_strength()
    chosen = strength.best_of(strengths)
    if used and strengths.get(chosen, math.inf) < used.eval_loss:
        used = None
    step, loss = (used.global_step, used.eval_loss) if used else (trainer.state.global_step, strengths.get(chosen))
    job.phase("saving")
    with trainer.collected():
        written = control.saver.with_space(
            lambda: _write(job, config, trainer, final, used, (step, loss)),
            tr("Could not save the result."))
    if not trainer.is_world_process_zero():
        return {}
    if not written:
        return {"state": "stopped", "steps": trainer.state.global_step, "total_steps": trainer.total_steps,
                **losses(job)}
    digest = {folder.RESULT_DIGEST: files.sha256_of(final / checkpoints.MANIFEST)}
    shutil.rmtree(job.folder / "trainer", ignore_errors=True)
    if used or chosen != strength.FULL:
        job.emit("best_used", global_step=step, eval_loss=loss, strength=strength.FULL if used else chosen,
                 strengths=[[each, strengths[each]] for each in sorted(strengths)])
    return {
        "state": "stopped" if control.stopped else "finished",
        "steps": trainer.state.global_step,
        "total_steps": trainer.total_steps,
        "used_step": step,
        "time_estimate": next((event.get("time_estimate") for event in jobs.Job(job.folder).events()
                               if event.get("type") == "plan"), None),
        "best_step": control.watch.best_step,
        "best_eval_loss": control.watch.best_loss,
        "stopped_early": control.early,
        **losses(job),
        **({} if loss is None else {"eval_loss_after": loss}),
        name: str(final),
        **digest,
    }


def best_checkpoint(job: JobContext, config: RunConfig, trainer: Any,
                    control: TrainingControl) -> checkpoints.Checkpoint | None:
    """The checkpoint with the lowest eval loss, if it is wanted, isn't of the last step, and is whole."""
    best = control.watch.best_step
    if not config.use_best_checkpoint or not best or best == trainer.state.global_step:
        return None
    found = [c for c in checkpoints.all_checkpoints(trainer.checkpoint_parent) if c.global_step == best]
    if not found or found[0].eval_loss is None:
        return None
    if reason := checkpoints.damage(found[0].path):
        job.warn("checkpoint_damaged", join_sentences(
            tr("The best checkpoint, {name}, is damaged, so the last weights are kept instead.",
               name=found[0].path.name), reason))
        return None
    return found[0]


def _write(job: JobContext, config: RunConfig, trainer: Any, final: Path, copied: checkpoints.Checkpoint | None,
           evaluated: tuple[int, float | None]) -> None:
    """
    Args:
        copied: a checkpoint whose weights are the result as they are; None for those of the model.
        evaluated: the step that the weights are from, and their eval loss.
    """
    partial = final.with_name(f".{final.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        if copied:
            shutil.copytree(copied.path, partial, ignore=lambda where, names: STATE_FILES.intersection(names))
        else:
            trainer.write_model(partial)
        if config.has_adapter:
            _write_ends(config, trainer, partial)
        checkpoints.seal(partial, *evaluated)
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
        export_source.write(Path(config.model), tokenizer.convert_tokens_to_ids(end), adapter)


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


def run(job: JobContext) -> dict[str, Any]:
    """Train as run.json says, from the newest good checkpoint if there is one.

    Returns:
        The outcome's result: losses, steps, and where the adapter or model is.

    Raises:
        UserError: the configuration, the data or the model can't be used, or a step's result wasn't a number.
        StartAnew: memory ran out, and a fresh process must continue with less.
    """
    config = adjust.apply(RunConfig.from_dict(job.request), job.folder)
    machine = read_machine()  # as it is before this process uses its GPU
    preflight.check(job, config)
    ranks.start(gpu=methods.on_gpu(config))
    # Each machine has the model in a folder of its own.
    config = replace(ranks.broadcast(adjust.apply(config, job.folder) if ranks.is_first() else None),
                     model=config.model)
    ready(config)
    config = options.settle(job, config, ranks.gather(options.missing(config)))
    cards = methods.cards(config)
    machine = torchs_first(machine, cards)
    if ranks.world_size() == 1 and out_of_memory.killed_for_memory(job):
        return out_of_memory.pull_lever(job, config)
    try:
        with contextlib.closing(Sensors(job, cards)) as sensors, contextlib.closing(threads.GivingWay()):
            return _train(job, config, sensors, machine)
    except Exception as error:
        if not out_of_memory.ran_out(error):
            raise
        job.log(f"{type(error).__name__}: {error}", "warning")
        if ranks.world_size() > 1:
            raise out_of_memory.several(job) from error
        return out_of_memory.pull_lever(job, config)
    finally:
        ranks.close()


def ready(config: RunConfig) -> None:
    """Check that the run can be done here, before anything is loaded, and set what it may take: its number of threads,
    which the ranks of a machine share, and its card's memory.

    Raises:
        UserError: with everything that prevents it.
    """
    if problems := config.problems():
        raise UserError(tr("The run configuration can't be used."), tr("Some values are out of range."),
                        tr("Correct them."), problems)
    methods.check(config)
    if methods.on_gpu(config):
        out_of_memory.keep_on_card()
    if config.threads:
        threads.use(config.threads // ranks.local_world_size())


def _train(job: JobContext, config: RunConfig, sensors: Sensors, machine: Machine) -> dict[str, Any]:
    report_machine(job, machine)
    resume_from = ranks.alone(lambda: where_to_start(job, config))
    begun_at = resume_from.global_step if resume_from else 0
    rests = HeatPauses(job, config, sensors, on_cpu=not methods.on_gpu(config))
    try:
        if not ranks.alone(lambda: rests.wait_to_begin(begun_at)):
            return {"state": "paused", "steps": begun_at}
        trainer, control = set_up(job, config, sensors, machine, rests)
    except Cancelled:
        if resume_from is None:
            raise
        return {"state": "stopped", "steps": begun_at}  # its checkpoints are kept, so it can be resumed
    finally:
        rests.awake.off()
    if resume_from is not None:
        earlier, changes = ranks.alone(lambda: (_evaluations(job), adjust.load(job.folder)["schedule"]))
        control.replay(earlier, changes, resume_from.global_step)
    try:
        with dealing.on_every_machine(resume_from.path if resume_from else None) as checkpoint:
            trainer.train(checkpoint)
    finally:
        control.close()
    if control.freed:
        return {"state": "paused", "steps": trainer.state.global_step, "total_steps": trainer.total_steps}
    if control.stopped and control.last_loss is None and resume_from is None:
        return {"state": "cancelled"}
    return save_result(job, config, trainer, control)


def set_up(job: JobContext, config: RunConfig, sensors: Sensors, machine: Machine, rests: HeatPauses
           ) -> tuple[Any, TrainingControl]:
    """Everything that is needed before the first step."""
    loaded = load(job, config)
    trainer, per_epoch = loaded.trainer, curves.steps_per_epoch(config, loaded.train_rows)
    first = FirstSteps(job, config, trainer, loaded.facts, machine)
    control = TrainingControl(job, config, trainer, per_epoch, loaded.samples, sensors, first, rests)
    trainer.add_callback(control)
    idle = trainer.args.world_size - config.gradient_accumulation_steps
    if idle > 0 and not dealing.may_split(config, trainer.args.world_size):
        job.warn("ranks_idle", ntr(
            "{objective} compares within a micro-batch, so none is divided: {n} of {cards} cards has nothing to do. "
            "Accumulate more gradients with a smaller micro-batch; the effective batch stays the same.",
            "{objective} compares within a micro-batch, so none is divided: {n} of {cards} cards have nothing to do. "
            "Accumulate more gradients with a smaller micro-batch; the effective batch stays the same.",
            idle, objective=config.objective.upper(), cards=trainer.args.world_size))
    report_plan(job, trainer, per_epoch, loaded.train_rows, loaded.eval_rows,
                time_estimate.training(loaded.facts, config, machine, loaded.train_rows, int(trainer.lengths.sum()),
                                       loaded.eval_rows))
    return trainer, control


def report_plan(job: JobContext, trainer: Any, per_epoch: int, train_rows: int, eval_rows: int,
                expected: TimeEstimate) -> None:
    parameters = list(trainer.model.parameters())
    way = trainer.rows_apart
    job.emit("plan", total_steps=trainer.total_steps, steps_per_epoch=per_epoch, train_rows=train_rows,
             eval_rows=eval_rows, tokens_per_epoch=int(trainer.lengths.sum()),
             parameters=sum(p.numel() for p in parameters),
             trainable_parameters=sum(p.numel() for p in parameters if p.requires_grad),
             device=str(trainer.args.device), time_estimate=expected.to_dict(),
             **({"attention": way.name, "attention_reason": way.reason} if way else {}))


def report_machine(job: JobContext, machine: Machine) -> None:
    """The machine of this start: a run may be resumed elsewhere."""
    job.emit("machine", system=machine.system, cpu=machine.cpu_name, cores=machine.physical_cores,
             ram_total=machine.ram_total,
             gpus=[{"name": gpu.name, "memory_total": gpu.memory_total, "uuid": gpu.uuid}
               for gpu in machine.gpus])


def where_to_start(job: JobContext, config: RunConfig) -> checkpoints.Checkpoint | None:
    """The checkpoint from which the run continues; None, and why, for step 0.

    Raises:
        UserError: its checkpoints are lost, or not its own.
    """
    parent = job.folder / folder.CHECKPOINTS
    checkpoints.check_own(parent, job.request, config)
    found = find_checkpoint(job)
    if found is None and (said := checkpoints.nothing_to_resume(parent, jobs.Job(job.folder).events())):
        job.warn("starts_over", said)
    return found


def find_checkpoint(job: JobContext) -> checkpoints.Checkpoint | None:
    """The newest checkpoint that is verified as intact; damaged ones are reported and skipped."""

    def tell(checkpoint: checkpoints.Checkpoint, reason: str) -> None:
        job.warn("checkpoint_damaged",
                 join_sentences(tr("{name} is damaged and isn't used.", name=checkpoint.path.name), reason))

    found = checkpoints.newest_good(job.folder / folder.CHECKPOINTS, tell)
    if found is not None:
        job.emit("resumed_from", global_step=found.global_step, path=str(found.path))
    return found


def _evaluations(job: JobContext) -> list[tuple[int, float, float]]:
    """Evaluations of earlier starts with their losses and seconds; the latest for each step."""
    found = {step: (int(step), loss, number(e, "seconds") or 0.0)
             for e in jobs.Job(job.folder).events() if e.get("type") == "eval"
             and (step := number(e, "global_step")) is not None and (loss := number(e, "eval_loss")) is not None}
    return sorted(found.values())
