"""What a run needs in memory: its rows as tokens, the model, and the trainer that the objective asks for."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import datasets
import pyarrow
from transformers import set_seed
from transformers.trainer_callback import DefaultFlowCallback, PrinterCallback, ProgressCallback
from trl import SFTConfig

from slmstudio.core import disk_space, files, jobs, paths
from slmstudio.core.data.record import Record
from slmstudio.core.i18n import tr
from slmstudio.core.model import named_templates
from slmstudio.core.model.chat_template import ChatTemplate
from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.model.tokens import end_of_turn
from slmstudio.core.model.vetting.vet import read_vetted
from slmstudio.core.run import curves, folder
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.config_file import versions
from slmstudio.core.run.planning import plan_rows
from slmstudio.core.run.rows.run_rows import EVALUATION, TRAIN
from slmstudio.core.run.rows.saving_rows import make_room
from slmstudio.worker.kernels import fast_layers, head_loss, joined_linear, packed
from slmstudio.worker.model import export_source
from slmstudio.worker.runtime import ranks
from slmstudio.worker.runtime.context import JobContext
from slmstudio.worker.training import dealing, methods, options, training_rows
from slmstudio.worker.training.batches import PackedCollator, PaddedCollator
from slmstudio.worker.training.samples import FROM_ROWS, Samples
from slmstudio.worker.training.trainer import (
    StudioTrainer,
    WithRows,
    be_fast_on_the_cpu,
    preference_arguments,
    preference_trainer,
)
from slmstudio.worker.training.training_rows import (
    Losses,
    NothingLearned,
    encode_preferences,
    encode_rows,
    read_rows,
    report_losses,
)

# -- Rows as tokens, kept for the next run that learns the same rows with the same tokenizer, template and length.
#
#     cache/tokens/KEY/rows.arrow   the encoded rows, which are mapped into memory
#     cache/tokens/KEY/about.json   their SHA-256, and what was lost of them
#
# KEY is made of everything that decides the tokens, so that an entry is right or isn't found. A damaged one is removed.

FORMAT = 3
"""Raised whenever the encoding of rows changes: entries of before aren't found then, and go as they age."""
MOST_BYTES = 2 * 1024**3
"""The size of all entries together. Above it, those unused for the longest time are removed, but not the newest."""
ROOM = 2 * 1024**3
"""Bytes that must be left on the disk: checkpoints need them more."""
LOOK_EVERY = 100
"""How many batches pass between checks of the free disk space."""
ROWS, ABOUT = "rows.arrow", "about.json"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


def encode(rows: Sequence[Record], sha256: str | None, tokenizer: Any, template: ChatTemplate, config: RunConfig,
           job: JobContext, phase: str) -> datasets.Dataset:
    """The rows in the columns of `encode_rows` or `encode_preferences`, with warnings of what was cut or left out.

    They are on the disk and are mapped into memory; in memory where they can't be kept.

    Args:
        sha256: of the rows as the run keeps them; None if it keeps none, and nothing is looked up then.

    Raises:
        NothingLearned: no row is left.
        UserError: the rows are of a different kind from what the objective needs.
        Cancelled: the user asked to end.
    """
    place = paths.cache_dir() / "tokens" / _key(sha256, template, config) if sha256 else None
    found = _load(place, job) if place is not None else None

    def batches(losses: Losses) -> Iterator[pyarrow.RecordBatch]:
        work = encode_preferences if config.is_preference else encode_rows
        return work(rows, tokenizer, template, config, job, phase, losses)

    if found is None and place is not None and disk_space.free(place) > ROOM:
        found = _keep(place, batches, len(rows), job)
    if found is None:
        losses = Losses(len(rows))
        made = list(batches(losses))
        found = datasets.Dataset(pyarrow.Table.from_batches(made)) if made else datasets.Dataset.from_dict({}), losses
    dataset, losses = found
    report_losses(job, config, losses, len(dataset) > 0)
    return dataset


def _key(sha256: str, template: ChatTemplate, config: RunConfig) -> str:
    """What decides the tokens of rows with this SHA-256. KTO's rows are put together by seed and micro-batch, too."""
    installed = versions()
    decides = {
        "format": FORMAT, "rows": sha256, "template": [template.source, dict(template.special_tokens), template.thinks],
        "tokenizer": [files.sha256_of(path) if path.is_file() else None
                      for path in (Path(config.model) / name for name in TOKENIZER_FILES)],
        "libraries": [installed.get(name) for name in ("tokenizers", "transformers")],
        "objective": config.objective, "length": config.max_length,
        "overlong": config.overlong_rows, "completion_only": config.completion_only_loss,
        "batches": [config.seed, config.micro_batch_size] if config.objective == "kto" else None,
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def _load(place: Path, job: JobContext) -> tuple[datasets.Dataset, Losses] | None:
    if not place.is_dir():
        return None
    try:
        about = json.loads((place / ABOUT).read_bytes())
        losses = Losses(**about["losses"])
        if files.sha256_of(place / ROWS) != about["sha256"]:
            raise ValueError(f"{ROWS} was changed")
        dataset = datasets.Dataset.from_file(str(place / ROWS), in_memory=False)
        os.utime(place)
    except (OSError, ValueError, KeyError, TypeError, pyarrow.ArrowException) as error:
        job.log(f"The tokens of an earlier run are damaged and are made again: {error}", "warning")
        shutil.rmtree(place, ignore_errors=True)
        return None
    job.log(f"The tokens of {losses.rows:,} rows are those of an earlier run.")
    return dataset, losses


def _keep(place: Path, batches: Callable[[Losses], Iterator[pyarrow.RecordBatch]], rows: int,
          job: JobContext) -> tuple[datasets.Dataset, Losses] | None:
    """Encode them into the cache. None when the disk has no room for them, which must not end the run, and when no row
    is left."""
    partial, losses = place.with_name(f".{place.name}.{os.getpid()}.partial"), Losses(rows)
    made = batches(losses)
    first = next(made, None)
    if first is None:
        return None
    try:
        partial.mkdir(parents=True)
        with pyarrow.OSFile(str(partial / ROWS), "wb") as file, pyarrow.ipc.new_stream(file, first.schema) as writer:
            for number, batch in enumerate(chain([first], made)):
                writer.write_batch(batch)
                if number % LOOK_EVERY == 0 and disk_space.free(partial) <= ROOM:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        about = {"sha256": files.sha256_of(partial / ROWS), "losses": asdict(losses)}
        (partial / ABOUT).write_bytes(files.dump_line(about))
        try:
            os.replace(partial, place)
        except OSError:  # each system has an error of its own for it
            if not place.is_dir():  # an equal run was faster
                raise
        make_room(place, MOST_BYTES)
        return datasets.Dataset.from_file(str(place / ROWS)), losses
    except OSError as error:
        job.log(f"The tokens are not kept for the next run: {error}")
        return None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@dataclass(frozen=True)
class Loaded:
    """What learns, and what it learns from.

    Attributes:
        eval_rows: as tokens; 0 if nothing is evaluated.
    """

    facts: ModelFacts
    trainer: Any
    samples: Samples
    train_rows: int
    eval_rows: int


def load(job: JobContext, config: RunConfig) -> Loaded:
    """Rows, model and trainer of a run; each part says what it is doing."""
    set_seed(config.seed)
    model_folder = Path(config.model)
    about = read_vetted(model_folder)  # refuses what isn't whole or can't be trusted before torch sees it
    tokenizer = methods.load_tokenizer(model_folder)
    template = chat_template(job, config, tokenizer)
    train_data, eval_data, asked = ranks.alone(lambda: _rows(job, config, about, tokenizer, template))
    job.check_cancelled()
    job.phase(jobs.LOADING, model_folder.name)
    trainer = make_trainer(job, config, tokenizer, train_data, eval_data)
    stop_at_the_end(trainer, tokenizer, template)
    trainer.prepare(config, job.folder / folder.CHECKPOINTS, training_rows.lengths(train_data),
                    curves.total_steps(config, len(train_data)))
    samples = Samples(config, tokenizer, template, asked)
    return Loaded(about, trainer, samples, len(train_data), len(eval_data) if eval_data is not None else 0)


def _rows(job: JobContext, config: RunConfig, about: ModelFacts, tokenizer: Any, template: ChatTemplate
          ) -> tuple[datasets.Dataset, datasets.Dataset | None, list[Record]]:
    """Rows to learn and to evaluate as tokens, and those whose questions may be asked while it learns."""
    job.phase("reading data", Path(config.train_file).name)
    rows = read_rows(config, job)
    plan_rows.check_embeddings(chain(rows.train, rows.evaluation), about, config.chat_template)
    job.phase("tokenizing")
    with_these = (tokenizer, template, config, job, "tokenizing")
    train_data = encode(rows.train, rows.sha256(TRAIN), *with_these)
    try:
        eval_data = encode(rows.evaluation, rows.sha256(EVALUATION), *with_these) if rows.evaluation \
            else None
    except NothingLearned:
        job.warn("nothing_evaluated",
                 tr("No evaluation row is left at a sequence length of {count:,} tokens, so there is no eval loss. "
                    "Raise the sequence length, or choose other rows.", count=config.max_length))
        eval_data = None
    if config.nodes > 1:  # a file that it is mapped from isn't on the other machines
        train_data, eval_data = dealing.in_memory(train_data), eval_data and dealing.in_memory(eval_data)
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
        settings.eos_token_id = export_source.with_end(settings.eos_token_id, tokenizer.convert_tokens_to_ids(end))


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
        be_fast_on_the_cpu(not methods.on_gpu(config))
        kind, arguments_kind = preference_trainer(config)
        arguments = arguments_kind(**shared_arguments(job, config),
                                   **preference_arguments(config, methods.on_gpu(config)))
        more: dict[str, Any] = {}
    else:
        kind = StudioTrainer
        arguments = SFTConfig(
            **shared_arguments(job, config), max_length=None, packing=False,
            dataset_kwargs={"skip_prepare_dataset": True},
            router_aux_loss_coef=0.0)  # of experts: else answers in between come to a loss of theirs, and fail
        more = {"data_collator": PackedCollator() if config.packing and apart
                else PaddedCollator(tokenizer.pad_token_id)}
    # transformers takes all cards that it sees, and multiplies the batch by their number (TrainingArguments,
    # _setup_devices); one process uses one card, and more are `processes`.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    trainer = kind(
        model=model, args=arguments, train_dataset=train_data, eval_dataset=eval_data, processing_class=tokenizer,
        peft_config=adapter, **more)
    trainer.rows_apart = way if apart else None
    if config.is_preference:
        trainer.data_collator = WithRows(trainer.data_collator)
    if config.has_adapter:
        methods.adapters_in_fp32(trainer.model)
    if config.has_adapter and not methods.is_sharded(config):  # they keep weights joined, which the ranks must share
        joined_linear.apply(trainer.model)
        fast_layers.apply(trainer.model)
    if config.use_liger_kernel:
        head_loss.put_liger_into(trainer.model)
    if config.torch_compile:
        options.compile_layers(trainer, job)
    for stock in (DefaultFlowCallback, PrinterCallback, ProgressCallback):  # `TrainingControl` does all that
        trainer.remove_callback(stock)
    return trainer


def shared_arguments(job: JobContext, config: RunConfig) -> dict[str, Any]:
    """Our configuration in the words of every trainer. Saving and evaluating is left to `TrainingControl`."""
    autocast = methods.autocasts(config, methods.on_gpu(config))
    return {
        "output_dir": str(job.folder / "trainer"),
        "per_device_train_batch_size": config.micro_batch_size,
        "per_device_eval_batch_size": config.micro_batch_size,
        "ddp_find_unused_parameters": False,
        **({"fsdp": True, "fsdp_config": {"version": 2, "reshard_after_forward": True}}
           if methods.is_sharded(config) else {}),
        "learning_rate": config.learning_rate,
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "optim": config.optimizer,
        "neftune_noise_alpha": config.neftune_noise_alpha or None,
        "bf16": autocast and config.precision == "bf16",
        "fp16": autocast and config.precision == "fp16",
        "activation_checkpointing": config.gradient_checkpointing,
        "use_cpu": not methods.on_gpu(config),
        "seed": config.seed,
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": methods.on_gpu(config),
        "accelerator_config": {"non_blocking": methods.on_gpu(config)},
    }
