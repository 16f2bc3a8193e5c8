"""One training run: set up, train, save, clean up. Runs alone or unchanged under torchrun."""

from __future__ import annotations

import contextlib
import math
import shutil
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast, set_seed
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from trl import SFTConfig

from slmstudio.core import files, jobs
from slmstudio.core.errors import UserError
from slmstudio.core.model import facts
from slmstudio.core.model.chat_template import ChatTemplate
from slmstudio.core.run import checkpoints, folder
from slmstudio.core.run.config import RunConfig
from slmstudio.worker import fast_lora
from slmstudio.worker.context import JobContext
from slmstudio.worker.control import Control
from slmstudio.worker.sensors import Sensors
from slmstudio.worker.trainer import StudioTrainer
from slmstudio.worker.training_data import encode_rows, read_rows

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def run(job: JobContext) -> dict[str, Any]:
    """Train as run.json says, from the newest good checkpoint if there is one.

    Returns:
        The outcome's result: losses, steps, and where the adapter or model lies.
    """
    config = RunConfig.from_dict(job.request)
    if problems := config.problems():
        raise UserError(
            "The run configuration cannot be used.", "Some values are out of range.", "Correct them.", problems
        )
    if config.device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "There is no NVIDIA GPU here to train on.", "The run asks for device cuda.", "Set device to auto or cpu."
        )
    if config.threads:
        torch.set_num_threads(config.threads)
    with contextlib.closing(Sensors(job)):
        trainer, control = set_up(job, config)
        resume_from = find_checkpoint(job)
        trainer.train(resume_from_checkpoint=resume_from)
        if control.stopped and control.last_loss is None and resume_from is None:
            return {"state": "cancelled"}
        return save_result(job, config, trainer, control)


def set_up(job: JobContext, config: RunConfig) -> tuple[StudioTrainer, Control]:
    """Everything that is needed before the first step; each part says what it is doing."""
    set_seed(config.seed)
    model_folder = Path(config.model)
    facts.read_model(model_folder)  # refuses pickles and damaged files in a sentence, before torch sees them
    job.phase("reading data", Path(config.train_file).name)
    train_rows, eval_rows = read_rows(config, job)
    tokenizer = load_tokenizer(model_folder)
    template = ChatTemplate.from_folder(model_folder)
    job.phase("tokenizing")
    train_data = encode_rows(train_rows, tokenizer, template, config, job, "tokenizing")
    eval_data = encode_rows(eval_rows, tokenizer, template, config, job, "tokenizing") if eval_rows else None
    job.check_cancelled()
    job.phase("loading model", model_folder.name)
    model = load_model(config)
    per_epoch = math.ceil(math.ceil(len(train_data) / config.micro_batch_size) / config.gradient_accumulation_steps)
    total_steps = config.max_steps or max(1, math.ceil(config.epochs * per_epoch))
    control = Control(job, config, total_steps)
    trainer = StudioTrainer(
        model=model,
        args=trainer_arguments(job, config, total_steps),
        train_dataset=train_data,
        eval_dataset=eval_data,
        processing_class=tokenizer,
        peft_config=lora_config(config) if config.method == "lora" else None,
        callbacks=[control],
        checkpoint_parent=job.folder / folder.CHECKPOINTS,
        by_length=config.group_by_length,
    )
    control.trainer = trainer
    if config.method == "lora":
        fast_lora.apply(trainer.model)
    for noisy in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(noisy)
    parameters = list(trainer.model.parameters())
    job.emit(
        "plan",
        total_steps=total_steps,
        steps_per_epoch=per_epoch,
        train_rows=len(train_data),
        eval_rows=len(eval_data) if eval_data is not None else 0,
        tokens_per_epoch=sum(len(ids) for ids in train_data["input_ids"]),
        parameters=sum(p.numel() for p in parameters),
        trainable_parameters=sum(p.numel() for p in parameters if p.requires_grad),
        device=str(trainer.args.device),
    )
    return trainer, control


def load_tokenizer(model_folder: Path) -> PreTrainedTokenizerFast:
    """The base model's own tokenizer; padding is given a token if it has none.

    Not by AutoTokenizer: for some classes transformers 5 puts a normalizer and a pre-tokenizer of its own in the
    place of those in tokenizer.json, and other token ids are the result.
    """
    tokenizer = PreTrainedTokenizerFast.from_pretrained(model_folder, local_files_only=True)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(config: RunConfig) -> PreTrainedModel:
    """The base model in memory, in the run's precision.

    LoRA keeps the frozen base in `precision` and the adapter in fp32. Full fine-tuning keeps fp32 weights
    and computes in `precision`: updates smaller than a bf16 weight can hold would be lost.
    """
    held = DTYPES[config.precision] if config.method == "lora" else torch.float32
    return AutoModelForCausalLM.from_pretrained(
        config.model,
        dtype=held,
        attn_implementation=config.attention,
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
    )


def lora_config(config: RunConfig) -> LoraConfig:
    return LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=config.target_modules,
        task_type="CAUSAL_LM",
    )


def trainer_arguments(job: JobContext, config: RunConfig, total_steps: int) -> SFTConfig:
    """Our configuration in the trainer's words. Saving and evaluating is left to `Control`."""
    autocast = config.method != "lora"
    return SFTConfig(
        output_dir=str(job.folder / "trainer"),
        max_steps=total_steps,
        max_length=None,
        per_device_train_batch_size=config.micro_batch_size,
        per_device_eval_batch_size=config.micro_batch_size,
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.lr_scheduler,
        warmup_steps=math.ceil(config.warmup_fraction * total_steps),
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        optim=config.optimizer,
        bf16=autocast and config.precision == "bf16",
        fp16=config.precision == "fp16",
        gradient_checkpointing=config.gradient_checkpointing,
        use_cpu=config.device == "cpu",
        seed=config.seed,
        data_seed=config.seed,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        eval_strategy="no",
        report_to="none",
        disable_tqdm=True,
        packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        dataloader_pin_memory=config.device != "cpu" and torch.cuda.is_available(),
    )


def find_checkpoint(job: JobContext) -> str | None:
    """The newest checkpoint that is proven whole; damaged ones are named and passed over."""

    def tell(checkpoint: checkpoints.Checkpoint, reason: str) -> None:
        job.warn(
            "checkpoint_damaged", f"Checkpoint {checkpoint.path.name} is damaged ({reason}); the one before is used."
        )

    found = checkpoints.newest_good(job.folder / folder.CHECKPOINTS, tell)
    if found is None:
        return None
    job.emit("resumed_from", global_step=found.global_step, path=str(found.path))
    return str(found.path)


def save_result(job: JobContext, config: RunConfig, trainer: StudioTrainer, control: Control) -> dict[str, Any]:
    """Write the adapter or the model, complete or absent, and sum up."""
    job.phase("saving")
    name = folder.ADAPTER if config.method == "lora" else folder.MODEL
    partial, final = job.folder / f".{name}.partial", job.folder / name
    shutil.rmtree(partial, ignore_errors=True)
    if trainer.accelerator.is_main_process:
        trainer.save_model(str(partial))
        checkpoints.seal(partial, trainer.state.global_step, control.last_eval)
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        files.fsync_folder(job.folder)
        shutil.rmtree(job.folder / "trainer", ignore_errors=True)
    return {
        "state": "stopped" if control.stopped else "finished",
        "steps": trainer.state.global_step,
        "total_steps": control.total_steps,
        **losses(job),
        name: str(final),
    }


def losses(job: JobContext) -> dict[str, float | None]:
    """First and last losses of the whole run, earlier lives of it included: the events know them."""
    steps = {e["global_step"]: e["train_loss"] for e in jobs.Job(job.folder).events() if e["type"] == "step"}
    evals = {e["global_step"]: e["eval_loss"] for e in jobs.Job(job.folder).events() if e["type"] == "eval"}
    first, last = (min(steps), max(steps)) if steps else (None, None)
    return {
        "train_loss_first": steps.get(first),
        "train_loss_last": steps.get(last),
        "eval_loss_before": evals[min(evals)] if evals else None,
        "eval_loss_after": evals[max(evals)] if len(evals) > 1 else None,  # a run stopped early has only the first
    }
