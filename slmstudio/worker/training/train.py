"""One training run: set up, train, save, clean up.

Several ranks run this side by side. What is read from the run's folder or decided is read and decided by the first,
which tells the others; what is learned and evaluated is dealt out to all of them (`several/dealing.py`).
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import datasets
import torch
from transformers import set_seed
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from trl import SFTConfig

from slmstudio.core import jobs
from slmstudio.core.data.record import Record
from slmstudio.core.errors import UserError
from slmstudio.core.hardware.gpu_order import torchs_first
from slmstudio.core.hardware.machine import Machine, read_machine
from slmstudio.core.i18n import ntr, tr
from slmstudio.core.model import named_templates
from slmstudio.core.model.chat_template import ChatTemplate
from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.model.tokens import end_of_turn
from slmstudio.core.model.vetting.vet import read_vetted
from slmstudio.core.run import adjust, checkpoints, folder, resume, schedule
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.planning import plan_rows
from slmstudio.core.run.rows.manifest import EVALUATION, TRAIN
from slmstudio.worker.kernels import fast_layers, fast_lora, liger, packed
from slmstudio.worker.model import generation_end
from slmstudio.worker.runtime import ranks
from slmstudio.worker.runtime.context import Cancelled, JobContext
from slmstudio.worker.runtime.sensors import Sensors
from slmstudio.worker.training import data, methods, options, out_of_memory, preference, token_cache
from slmstudio.worker.training.batches import PackedCollator, PaddedCollator
from slmstudio.worker.training.control import Control
from slmstudio.worker.training.data import NothingLearned, read_rows
from slmstudio.worker.training.first_steps import FirstSteps
from slmstudio.worker.training.heat import Rests
from slmstudio.worker.training.result import save_result
from slmstudio.worker.training.samples import FROM_ROWS, Samples
from slmstudio.worker.training.several import preflight, sending
from slmstudio.worker.training.trainer import StudioTrainer
from slmstudio.worker.training.trainer_mixin import ENDLESS, may_split


def run(job: JobContext) -> dict[str, Any]:
    """Train as run.json says, from the newest good checkpoint if there is one.

    Returns:
        The outcome's result: losses, steps, and where the adapter or model is.

    Raises:
        UserError: the configuration, the data or the model can't be used, or a step came to no number.
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
    config = options.settle(job, config)
    cards = methods.cards(config)
    machine = torchs_first(machine, cards)
    if ranks.world_size() == 1 and out_of_memory.killed_for_memory(job):
        return out_of_memory.pull_lever(job, config)
    try:
        with contextlib.closing(Sensors(job, cards)) as sensors:
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
    """See that a run can be done here, before anything is loaded, and use as many threads as it says: the ranks of a
    machine share them.

    Raises:
        UserError: with everything that is in the way.
    """
    if problems := config.problems():
        raise UserError(tr("The run configuration can't be used."), tr("Some values are out of range."),
                        tr("Correct them."), problems)
    methods.check(config)
    if config.threads:
        torch.set_num_threads(max(1, config.threads // ranks.local_world_size()))


def _train(job: JobContext, config: RunConfig, sensors: Sensors, machine: Machine) -> dict[str, Any]:
    tell_machine(job, machine)
    resume_from = ranks.alone(lambda: where_to_start(job, config))
    begun_at = resume_from.global_step if resume_from else 0
    rests = Rests(job, config, sensors, on_cpu=not methods.on_gpu(config))
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
        with sending.on_every_machine(resume_from.path if resume_from else None) as checkpoint:
            trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))
    finally:
        control.close()
    if control.freed:
        return {"state": "paused", "steps": trainer.state.global_step, "total_steps": trainer.total_steps}
    if control.stopped and control.last_loss is None and resume_from is None:
        return {"state": "cancelled"}
    return save_result(job, config, trainer, control)


@dataclass(frozen=True)
class Loaded:
    """What learns, and what it learns from.

    Attributes:
        eval_rows: as tokens; 0 where nothing is evaluated.
    """

    facts: ModelFacts
    trainer: Any
    samples: Samples
    train_rows: int
    eval_rows: int


def set_up(job: JobContext, config: RunConfig, sensors: Sensors, machine: Machine, rests: Rests
           ) -> tuple[Any, Control]:
    """Everything that is needed before the first step."""
    loaded = load(job, config)
    trainer, per_epoch = loaded.trainer, schedule.steps_per_epoch(config, loaded.train_rows)
    first = FirstSteps(job, config, trainer, loaded.facts, machine)
    control = Control(job, config, trainer, per_epoch, loaded.samples, sensors, first, rests)
    trainer.add_callback(control)
    idle = ranks.world_size() - config.gradient_accumulation_steps
    if idle > 0 and not may_split(config, ranks.world_size()):
        job.warn("ranks_idle", ntr(
            "{objective} compares within a micro-batch, so none is divided: {n} of {cards} cards has nothing to do. "
            "Accumulate more gradients with a smaller micro-batch; the effective batch stays the same.",
            "{objective} compares within a micro-batch, so none is divided: {n} of {cards} cards have nothing to do. "
            "Accumulate more gradients with a smaller micro-batch; the effective batch stays the same.",
            idle, objective=config.objective.upper(), cards=ranks.world_size()))
    tell_plan(job, trainer, per_epoch, loaded.train_rows, loaded.eval_rows)
    return trainer, control


def load(job: JobContext, config: RunConfig) -> Loaded:
    """Rows, model and trainer of a run; each part says what it is doing."""
    set_seed(config.seed)
    model_folder = Path(config.model)
    about = read_vetted(model_folder)  # refuses what isn't whole or can't be trusted before torch sees it
    tokenizer = methods.load_tokenizer(model_folder)
    template = chat_template(job, config, tokenizer)
    train_data, eval_data, asked = ranks.alone(lambda: _rows(job, config, tokenizer, template))
    job.check_cancelled()
    job.phase("loading model", model_folder.name)
    trainer = make_trainer(job, config, tokenizer, train_data, eval_data)
    stop_at_the_end(trainer, tokenizer, template)
    trainer.prepare(config, job.folder / folder.CHECKPOINTS, data.lengths(train_data),
                    schedule.total_steps(config, len(train_data)))
    samples = Samples(config, tokenizer, template, asked)
    return Loaded(about, trainer, samples, len(train_data), len(eval_data) if eval_data is not None else 0)


def _rows(job: JobContext, config: RunConfig, tokenizer: Any, template: ChatTemplate
          ) -> tuple[datasets.Dataset, datasets.Dataset | None, list[Record]]:
    """Rows to learn and to evaluate as tokens, and those whose questions may be asked while it learns."""
    job.phase("reading data", Path(config.train_file).name)
    rows = read_rows(config, job)
    job.phase("tokenizing")
    with_these = (tokenizer, template, config, job, "tokenizing")
    train_data = token_cache.encode(rows.train, rows.sha256(TRAIN), *with_these)
    try:
        eval_data = token_cache.encode(rows.evaluation, rows.sha256(EVALUATION), *with_these) if rows.evaluation \
            else None
    except NothingLearned:
        job.warn("nothing_evaluated",
                 tr("None of the evaluation rows has an answer within {count:,} tokens, so there is no eval loss. "
                    "Raise the sequence length, or choose other rows.", count=config.max_length))
        eval_data = None
    if config.nodes > 1:  # a file that it is mapped from isn't on the other machines
        train_data, eval_data = sending.in_memory(train_data), eval_data and sending.in_memory(eval_data)
    return train_data, eval_data, rows.evaluation[:FROM_ROWS]


def chat_template(job: JobContext, config: RunConfig, tokenizer: Any) -> ChatTemplate:
    """The run's chat template; empty for plain text and a model without one. What the run chose goes into the
    tokenizer, so that it is saved with every checkpoint and with the result.

    Raises:
        UserError: there is none, and conversations are learned; or it can't be used.
    """
    find = named_templates.optional_template if config.objective == "text" else named_templates.template_of
    template = find(config.model, config.chat_template)
    if config.chat_template:
        tokenizer.chat_template = template.source
    for sentence in plan_rows.template_warnings(config):
        job.warn("chat_template", sentence)
    return template


def stop_at_the_end(trainer: Any, tokenizer: Any, template: ChatTemplate) -> None:
    """Let generation end at the token that ends a turn, in the run's own samples and in the model that it saves."""
    end = end_of_turn(template, tokenizer.backend_tokenizer)
    settings = trainer.model.generation_config
    if end is not None and settings is not None:
        settings.eos_token_id = generation_end.with_end(settings.eos_token_id, tokenizer.convert_tokens_to_ids(end))


def make_trainer(job: JobContext, config: RunConfig, tokenizer: Any, train_data: Any, eval_data: Any) -> Any:
    """The trainer of the run's objective, with the model of the run's method."""
    packed.register()
    way = options.keep_rows_apart(job, config)
    apart = config.attention != "sdpa" or methods.keeps_rows_apart(Path(config.model))
    attention = packed.NAME if config.attention == "sdpa" and not config.is_preference else config.attention
    model, adapter = methods.build(config, attention if apart else methods.own_attention(Path(config.model)))
    if config.packing and not apart:
        job.warn("not_packed", tr("This architecture can't keep packed rows apart, so rows are padded instead."))
    if config.is_preference:
        preference.be_fast_on_the_cpu(not methods.on_gpu(config))
        kind, arguments_kind = preference.trainer_class(config)
        arguments = arguments_kind(**shared_arguments(job, config), **preference.arguments(config))
        more: dict[str, Any] = {}
    else:
        kind = StudioTrainer
        arguments = SFTConfig(
            **shared_arguments(job, config), max_length=None, packing=False,
            dataset_kwargs={"skip_prepare_dataset": True},
            router_aux_loss_coef=0.0)  # of experts: else answers in between come to a loss of theirs, and fail
        more = {"data_collator": PackedCollator() if config.packing and apart
                else PaddedCollator(tokenizer.pad_token_id)}
    trainer = kind(
        model=model, args=arguments, train_dataset=train_data, eval_dataset=eval_data, processing_class=tokenizer,
        peft_config=adapter, **more)
    trainer.rows_apart = way if apart else None
    if config.is_preference:
        trainer.data_collator = preference.WithRows(trainer.data_collator)
    if config.method == "qlora":
        methods.adapters_in_fp32(trainer.model)
    if config.has_adapter and not is_sharded(config):  # they keep weights joined, which the ranks must share
        fast_lora.apply(trainer.model)
        fast_layers.apply(trainer.model)
    if config.use_liger_kernel:
        liger.put_into(trainer.model)
    if config.torch_compile:
        options.compile_layers(trainer, job)
    for noisy in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(noisy)
    return trainer


def tell_plan(job: JobContext, trainer: Any, per_epoch: int, train_rows: int, eval_rows: int) -> None:
    parameters = list(trainer.model.parameters())
    way = trainer.rows_apart
    job.emit(
        "plan",
        total_steps=trainer.total_steps,
        steps_per_epoch=per_epoch,
        train_rows=train_rows,
        eval_rows=eval_rows,
        tokens_per_epoch=int(trainer.lengths.sum()),
        parameters=sum(p.numel() for p in parameters),
        trainable_parameters=sum(p.numel() for p in parameters if p.requires_grad),
        device=str(trainer.args.device),
        **({"attention": way.name, "attention_reason": way.reason} if way else {}),
    )


def tell_machine(job: JobContext, machine: Machine) -> None:
    """What this start of the run is made on: a run may be resumed elsewhere."""
    job.emit("machine", system=machine.system, cpu=machine.cpu_name, cores=machine.physical_cores,
             ram_total=machine.ram_total,
             gpus=[{"name": gpu.name, "memory_total": gpu.memory_total} for gpu in machine.gpus])


def shared_arguments(job: JobContext, config: RunConfig) -> dict[str, Any]:
    """Our configuration in the words of every trainer. Saving and evaluating is left to `Control`."""
    autocast = not config.has_adapter
    return {
        "output_dir": str(job.folder / "trainer"),
        "max_steps": ENDLESS,
        "per_device_train_batch_size": config.micro_batch_size,
        "per_device_eval_batch_size": config.micro_batch_size,
        "gradient_accumulation_steps": math.ceil(config.gradient_accumulation_steps / ranks.world_size()),
        "ddp_find_unused_parameters": False,
        "ddp_timeout": int(ranks.SECONDS),
        **({"fsdp": True, "fsdp_config": {"version": 2, "reshard_after_forward": True}} if is_sharded(config) else {}),
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": config.lr_scheduler,
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "optim": config.optimizer,
        "neftune_noise_alpha": config.neftune_noise_alpha or None,
        "bf16": autocast and config.precision == "bf16",
        "fp16": config.precision == "fp16",
        "activation_checkpointing": config.gradient_checkpointing,
        "use_cpu": not methods.on_gpu(config),
        "seed": config.seed,
        "data_seed": config.seed,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "no",
        "eval_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": methods.on_gpu(config),
    }


def is_sharded(config: RunConfig) -> bool:
    """Whether the ranks share one model instead of each having all of it."""
    return ranks.world_size() > 1 and config.parallelism == "fsdp"


def where_to_start(job: JobContext, config: RunConfig) -> checkpoints.Checkpoint | None:
    """The checkpoint from which the run continues; None, and why, for step 0.

    Raises:
        UserError: its checkpoints are lost, or not its own.
    """
    resume.check(job.folder, job.request, config)
    found = find_checkpoint(job)
    if found is None and (said := resume.nothing_to_resume(job.folder, jobs.Job(job.folder).events())):
        job.warn("starts_over", said)
    return found


def find_checkpoint(job: JobContext) -> checkpoints.Checkpoint | None:
    """The newest checkpoint that is proven whole; damaged ones are named and passed over."""

    def tell(checkpoint: checkpoints.Checkpoint, reason: str) -> None:
        job.warn("checkpoint_damaged",
                 " ".join((tr("{name} is damaged and isn't used.", name=checkpoint.path.name), reason)))

    found = checkpoints.newest_good(job.folder / folder.CHECKPOINTS, tell)
    if found is not None:
        job.emit("resumed_from", global_step=found.global_step, path=str(found.path))
    return found


def _evaluations(job: JobContext) -> list[tuple[int, float, float]]:
    """Evaluations of earlier lives with their losses and seconds, the last word on each step."""
    found = {e["global_step"]: (e["global_step"], e["eval_loss"], e.get("seconds") or 0.0)
             for e in jobs.Job(job.folder).events() if e["type"] == "eval" and e.get("eval_loss") is not None}
    return sorted(found.values())
