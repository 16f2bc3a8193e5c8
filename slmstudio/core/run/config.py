"""The configuration of one training run: every field with its limits and its words, in one place.

A new field is described here; the form, the terminal, the checks, the script and the report then have it.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from slmstudio.core import formats, program
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import noop, tr
from slmstudio.core.run.fields.choices import (
    GUARDS,
    METHODS,
    OBJECTIVES,
    OPTIMIZERS,
    PRECISIONS,
    PREFERENCES,
    TEMPLATES,
)
from slmstudio.core.run.fields.contradictions import contradictions
from slmstudio.core.run.fields.kinds import (
    Choice,
    DayHours,
    Field,
    Lines,
    Names,
    Number,
    Switch,
    Text,
    Whole,
    described,
    fields_of,
)

SET = noop("You set this.")
"""The reason of a value that a person decided."""
SEED, STEPS, NORM = Whole(0, 2**32 - 1), Whole(1, 10**9), Number(0, math.inf, above=True, below=True)
RUN, METHOD, LENGTH, BATCH, LEARNING, MACHINE, HEAT, WATCHING, SAVING = GROUPS = (
    "Run", "Method", "Length", "Batch", "Learning", "Machine", noop("Heat and hours"), "Watching", "Saving")
NO_ADAPTER = noop("Not used by full fine-tuning.")


def _with_adapter(config: RunConfig) -> bool:
    return config.has_adapter


def _for_answers(config: RunConfig) -> bool:
    return config.objective == "sft"


@dataclass
class RunConfig:
    """Everything that decides what a run does.

    Attributes:
        reasons: by field, why it has its value.
    """

    name: str = described(..., Text(), RUN, noop("Name"),
        noop("shown in the window, and part of the run folder's name."), simple=True, told=False)
    model: str = described(..., Text(file=True), RUN, noop("Base model"),
        noop("folder of the base model (Hugging Face layout, safetensors)."))
    train_file: str = described(..., Text(file=True), RUN, noop("Training rows"),
        noop("file or folder with the rows to learn."))
    eval_file: str | None = described(None, Text(optional=True, file=True), RUN, noop("Held-out rows"),
        noop("file with rows that are never learned; None splits them off `train_file`."),
        reason=noop("No test file was chosen, so rows are split off."))
    train_map: str | None = described(None, Text(optional=True), RUN, noop("Columns of the training rows"),
                                      noop("what the columns of `train_file` hold, as in "
                                           "instruction=Question,output=Answer; sheet=… and text_by=… may be among "
                                           "them. None finds that out by looking at rows."),
                                      reason=noop("The columns tell it themselves."))
    eval_map: str | None = described(None, Text(optional=True), RUN, noop("Columns of the held-out rows"),
        noop("the same for `eval_file`."), reason=noop("The columns tell it themselves."),
        applies=lambda config: config.eval_file is not None)
    eval_fraction: float = described(0.1, Number(0, 0.5), RUN, noop("Share of rows held out"),
        noop("share of `train_file` split off for evaluation when there is no `eval_file`."))
    split_seed: int = described(0, SEED, RUN, noop("Seed of that split"),
        noop("seed of that split."), reason=noop("Any number does; the same number gives the same split."))
    split_by: str = described("rows",
                              Choice({"rows": noop("All rows"), "language": noop("Each language"), "source": noop("Each file")}),
                              RUN, noop("Share taken from"),
                              noop('what that share is taken from: all "rows" together, the rows of each "language" '
                                   '(by the script of most letters), or those of each "source" (file of a folder or an '
                                   "archive)."), reason=noop("All rows are split together."),
                              applies=lambda config: config.eval_file is None)
    start_from: str | None = described(None, Text(optional=True, file=True), RUN, noop("Continues from"),
        noop("folder of an earlier run, or of its adapter or model, whose weights this run starts with."),
        reason=noop("It begins with the base model itself."), applies=lambda config: config.method != "scratch")
    objective: str = described("sft", OBJECTIVES, METHOD, noop("Objective"),
                               noop('what is learned: "sft" (answers), "text" (continued pretraining on plain text), '
                                    'or which answers are better: "dpo" and "orpo" (from pairs), "kto" (from single '
                                    "answers marked good or bad)."), simple=True)
    method: str = described("lora", METHODS, METHOD, noop("Method"),
                            noop('"lora" (an adapter learns, the base is frozen), "qlora" (the same on a base held in '
                                 '4 bits, NF4), "full" (every weight learns) or "scratch" (a new, small model with the '
                                 "architecture and tokenizer of the base)."), simple=True)
    chat_template: str = described("", TEMPLATES, METHOD, noop("Chat template"),
                                   noop("how a conversation becomes the text that is learned; empty takes the model's "
                                        "own. A base model that has none needs one of these."))
    lora_rank: int = described(16, Whole(1, 4096), METHOD, noop("Rank"), noop("rank of the adapter's matrices."),
                               reason=NO_ADAPTER, simple=True, applies=_with_adapter, aliases=("rank",))
    scratch_size: str = described("30M", Choice({size: size for size in ("10M", "20M", "30M", "60M", "100M", "150M")}),
                                  METHOD, noop("Size from scratch"),
                                  noop("parameters of a model trained from scratch, about."),
                                  reason=noop("Only training from scratch uses it."), simple=True,
                                  applies=lambda config: config.method == "scratch")
    lora_alpha: int = described(32, Whole(1, 65536), METHOD, noop("Alpha"),
        noop("the adapter's update is scaled by alpha / rank."),
        reason=NO_ADAPTER, applies=_with_adapter, aliases=("alpha",))
    lora_dropout: float = described(0.0, Number(0, 1, below=True), METHOD, noop("Dropout"),
        noop("dropout before the adapter's first matrix."),
        reason=noop("Few epochs do not need dropout; raise it when eval loss turns upwards."), applies=_with_adapter)
    target_modules: str | list[str] = described("all-linear", Names(), METHOD, noop("Target modules"),
        noop('layers that get an adapter; "all-linear" is every linear layer but the head.'),
        reason=NO_ADAPTER, applies=_with_adapter)
    use_dora: bool = described(False, Switch(), METHOD, noop("DoRA"),
        noop("learn the magnitude of each weight row apart from its direction (DoRA): better at low ranks, slower."),
        reason=noop("Plain LoRA is faster; DoRA may be a little better at low ranks."), applies=_with_adapter)
    use_rslora: bool = described(False, Switch(), METHOD, noop("Rank-stabilised LoRA"),
        noop("scale the adapter by alpha / sqrt(rank) (rank-stabilised LoRA), so that high ranks learn as fast."),
        reason=noop("It matters at ranks above 64."), applies=_with_adapter)
    beta: float = described(0.1, Number(0, 10, above=True), METHOD, noop("Beta"),
                            noop("how strongly preference tuning holds on to what the model said before; for ORPO the "
                                 "odds ratio's weight."), reason=noop("Only preference tuning uses it."),
                            applies=lambda config: config.is_preference)
    epochs: float = described(3.0, Number(0, 10_000, above=True), LENGTH, noop("Epochs"),
                              noop("passes over the training rows; ignored when `max_steps` is set."), simple=True,
                              aliases=("num_train_epochs",))
    max_steps: int | None = described(None, Whole(1, 10**9, optional=True), LENGTH, noop("Steps at most"),
        noop("optimizer updates; None means: as many as `epochs` takes."), reason=noop("The number of epochs decides."))
    early_stopping_patience: int = described(0, Whole(0, 10_000), LENGTH, noop("Stop early after, evaluations"),
        noop("evaluations without a better eval loss before the run ends by itself; 0 is never."))
    use_best_checkpoint: bool = described(True, Switch(), LENGTH, noop("Keep the best weights"),
        noop("keep the weights with the lowest eval loss, not the last ones, as the result."),
        reason=noop("What is kept is what did best on rows that were never learned."))
    max_length: int = described(1024, Whole(8, 1_048_576), BATCH, noop("Sequence length, tokens"),
        noop("sequence length in tokens; longer rows are cut at the end."), simple=True, aliases=("max_seq_length",))
    micro_batch_size: int = described(4, Whole(1, 4096), BATCH, noop("Micro-batch, rows"),
        noop("rows in one forward pass."), simple=True, aliases=("per_device_train_batch_size",))
    gradient_accumulation_steps: int = described(4, Whole(1, 4096), BATCH, noop("Accumulation"),
        noop("micro-batches in one optimizer update."), simple=True)
    group_by_length: bool = described(True, Switch(), BATCH, noop("Group rows by length"),
        noop("batch rows of like length together, so that little is padding."))
    packing: bool = described(False, Switch(), BATCH, noop("Packing"),
        noop("lay the rows of a micro-batch end to end instead of padding them; each attends to itself only."),
        applies=lambda config: not config.is_preference)
    completion_only_loss: bool = described(True, Switch(), BATCH, noop("Completion-only loss"),
        noop("learn the assistant's words only, not the questions."),
        reason=noop("The model learns to answer, not to ask."), applies=_for_answers)
    learning_rate: float = described(2e-4, Number(0, 1, above=True), LEARNING, noop("Learning rate"),
        noop("peak rate, after warm-up."), simple=True, aliases=("lr",))
    lr_scheduler: str = described("cosine", Choice({
        "linear": "linear", "cosine": "cosine", "constant": "constant",
        "constant_with_warmup": noop("constant, with warm-up")}), LEARNING, noop("Scheduler"),
        noop("how the rate falls after warm-up."), aliases=("lr_scheduler_type",))
    warmup_fraction: float = described(0.03, Number(0, 1, below=True), LEARNING, noop("Warm-up, share of steps"),
        noop("share of the steps in which the rate rises."), aliases=("warmup_ratio",))
    optimizer: str = described("adamw_torch", OPTIMIZERS, LEARNING, noop("Optimizer"),
                               noop("name in transformers' `optim`."),
                               reason=noop("AdamW, the standard for language models."), aliases=("optim",))
    weight_decay: float = described(0.0, Number(0, 1), LEARNING, noop("Weight decay"),
        noop("AdamW's decoupled weight decay."))
    max_grad_norm: float = described(1.0, NORM, LEARNING, noop("Clip gradients at norm"),
                                     noop("gradients are clipped to this norm."),
                                     reason=noop("A batch with an odd row cannot throw the weights off."))
    neftune_noise_alpha: float = described(0.0, Number(0, 100), LEARNING, noop("NEFTune noise alpha"),
        noop("noise on the embeddings while learning answers (NEFTune); 0 is none, 5 is usual."),
        reason=noop("No noise; 5 sometimes helps a chat model that learns from few rows."), applies=_for_answers)
    device: str = described("auto", Choice({
        "auto": noop("auto: the GPU if there is one"), "cpu": "processor", "cuda": "NVIDIA GPU"}), MACHINE, noop("Device"),
        noop('"auto" takes the GPU when there is one.'))
    precision: str = described("fp32", PRECISIONS, MACHINE, noop("Precision"),
        noop("number format of the weights that are held in memory."), simple=True)
    attention: str = described("sdpa", Choice({
        "sdpa": "SDPA", "eager": "eager", "flash_attention_2": "flash_attention_2"}), MACHINE, noop("Attention"),
        noop("attention implementation."), aliases=("attn_implementation",))
    gradient_checkpointing: bool = described(False, Switch(), MACHINE, noop("Recompute activations"),
        noop("recompute activations in the backward pass: less memory, about a fifth slower."))
    activation_offload: bool = described(False, Switch(), MACHINE, noop("Keep activations in main memory"),
                                         noop("keep what the backward pass needs in main memory meanwhile: less memory "
                                              "on the card, but slower; needs an NVIDIA GPU."),
                                         reason=noop("Recomputing saves more for less time; this is for rows that "
                                                     "don't fit even so."))
    use_liger_kernel: bool = described(False, Switch(), MACHINE, noop("Liger kernels"),
        noop("Liger's fused kernels for norms and the loss; NVIDIA GPUs only."))
    torch_compile: bool = described(False, Switch(), MACHINE, noop("Compile the model"),
        noop("let PyTorch compile the model's layers: a minute or so at the start, faster steps; NVIDIA GPUs only."),
        reason=noop("Compiling takes a minute or so, which most runs never earn back."))
    threads: int = described(0, Whole(0, 1024), MACHINE, noop("Processor threads"),
        noop("CPU threads to use on each machine; 0 leaves it to torch."),
        reason=noop("The GPU does the work."), told=False)
    processes: int = described(1, Whole(1, 64), MACHINE, noop("Cards or processes"),
                               noop("how many processes of each machine train together, one on each card; the "
                                    "effective batch stays the same."), reason=noop("One process trains."), told=False)
    nodes: int = described(1, Whole(1, 64), MACHINE, noop("Machines"),
                           noop("how many machines train together; each has as many processes as said above."),
                           reason=noop("One machine trains."), told=False)
    parallelism: str = described("ddp", Choice({
        "ddp": noop("Faster: each card holds the model (DDP)"),
        "fsdp": noop("Bigger: the cards share the model (FSDP)")}), MACHINE, noop("Several cards make it"),
        noop('"ddp" (each card holds the whole model and learns from its share of each batch: faster) or "fsdp" (the '
             "cards share weights, gradients and optimizer: a bigger model "
             "fits)."), reason=noop("The model fits on one card."),
        told=False, applies=lambda config: config.world_size > 1)
    heat_guard: str = described("pause", GUARDS, HEAT, noop("When it gets hot"),
                                noop('"pause" stops at the next step and resumes when the machine has cooled; "hold" '
                                     'rests a little after each step, so that it gets no hotter than the limit; "off" '
                                     "only warns."), told=False,
                                reason=noop("Saves card and laptop from nights at their limit; what is learned stays "
                                            "the same."))
    heat_limit_c: int | None = described(None, Whole(40, 110, optional=True), HEAT, noop("Temperature limit, °C"),
                                         noop("where it pauses, or what it holds. Empty takes 5 °C less than the "
                                              "temperature at which the card slows itself down, or 83 °C where it "
                                              "doesn't say; without a card, the same of the processor."), told=False,
                                         reason=noop("Each card knows its own limit."))
    heat_rest_seconds: int = described(60, Whole(1, 86_400), HEAT, noop("Shortest pause, s"),
                                       noop("how long a pause for heat lasts at least, so that the machine doesn't "
                                            "warm up and cool down all the time."), told=False,
                                       reason=noop("A heat sink takes about a minute to cool."))
    pause_on_battery: bool = described(False, Switch(), HEAT, noop("Pause on battery"),
        noop("pause while a laptop runs on its battery; resume when it is plugged in."), told=False,
        reason=noop("A run isn't held up where the machine has no mains."))
    train_hours: str | None = described(None, DayHours(), HEAT, noop("Only between these hours"),
        noop("the hours in which to train, by this machine's clock, as in 22:00-06:00; empty is always."), told=False,
        reason=noop("It may run all day."))
    sample_prompts: list[str] = described([], Lines(), WATCHING, noop("Questions to watch, one a line"),
        noop("questions answered at each evaluation, so that you see it learn; if empty, evaluation rows are asked."),
        reason=noop("The first questions of the evaluation rows are asked."))
    sample_max_tokens: int = described(48, Whole(0, 4096), WATCHING, noop("Answers, tokens at most"),
        noop("length of these answers; 0 asks none."), reason=noop("Long enough to see whether an answer gets better."))
    eval_steps: int = described(20, STEPS, WATCHING, noop("Evaluate every, steps"),
        noop("optimizer updates between evaluations."))
    tensorboard: bool = described(False, Switch(), WATCHING, noop("TensorBoard files"),
        noop("write the curves as TensorBoard files too, into the run's folder."),
        reason=noop("The plots here show the same curves."))
    save_steps: int = described(20, STEPS, SAVING, noop("Checkpoint every, steps"),
        noop("optimizer updates between checkpoints."))
    keep_checkpoints: int = described(2, Whole(2, 10**6), SAVING, noop("Checkpoints kept"),
        noop("how many of the newest checkpoints are kept; the best one always is."),
        reason=noop("The newest two, and the best one always."))
    seed: int = described(42, SEED, SAVING, noop("Seed"),
        noop("of weights, order and dropout."), reason=noop("Any number does; the same number repeats the run."))
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def has_adapter(self) -> bool:
        """Whether an adapter learns and the base stays as it is."""
        return self.method in ("lora", "qlora")

    @property
    def is_preference(self) -> bool:
        """Whether it learns which answers are better, rather than the answers."""
        return self.objective in PREFERENCES

    @property
    def effective_batch_size(self) -> int:
        """Rows in one optimizer update."""
        return self.micro_batch_size * self.gradient_accumulation_steps

    @property
    def world_size(self) -> int:
        """Processes that train together, on all machines."""
        return self.processes * self.nodes

    def problems(self) -> list[Problem]:
        """Everything that is wrong with the values, each by itself and with one another, without touching a file."""
        found = []
        for name, about in FIELDS.items():
            value = getattr(self, name)
            if limit := about.kind.limit(value):
                found.append(Problem(tr("{value!r} is not allowed; it must be {limit}.", value=value, limit=limit),
                                     field=name))
        return found + contradictions(self)

    def check(self, rows_are_kept: bool = False) -> None:
        """Look at the values and at the files they name, before anything is loaded.

        Args:
            rows_are_kept: whether the files with the rows are needed no more.

        Raises:
            UserError: naming every problem.
        """
        found = [*self.problems(), *self.file_problems(rows_are_kept)]
        if found:
            raise UserError(tr("The run configuration cannot be used."), "", tr("Correct these fields."), found)

    def file_problems(self, rows_are_kept: bool = False) -> list[Problem]:
        """What is wrong with the files that it names; `rows_are_kept` as in `check`."""
        found = []
        for name, about in FIELDS.items():
            path = None if rows_are_kept and name in ("train_file", "eval_file") else getattr(self, name)
            if not (isinstance(about.kind, Text) and about.kind.file and path):
                continue
            if not Path(path).exists():
                found.append(Problem(tr("{path} does not exist.", path=path), field=name))
            elif not (Path(path).is_file() or Path(path).is_dir()):
                found.append(Problem(tr("{path} is neither a file nor a folder.", path=path), field=name))
        return found

    def to_dict(self) -> dict[str, Any]:
        return {**formats.stamp("run"), "kind": "train", **asdict(self)}

    @classmethod
    def from_dict(cls, state: dict[str, Any], where: Path | str = noop("The run configuration")) -> RunConfig:
        """Read a configuration back. Keys that this version does not know are ignored.

        Args:
            where: the file, for an error.

        Raises:
            UserError: a newer format, a missing field, or a value of the wrong type: all at once.
        """
        state = formats.check("run", state, where)
        problems = [Problem(tr("is missing."), field=name) for name in ("name", "model", "train_file") if name not in state]
        values: dict[str, Any] = {"reasons": dict(state.get("reasons") or {})}
        for name in FIELDS.keys() & state.keys():
            try:
                values[name] = FIELDS[name].read(state[name])
            except ValueError as error:
                problems.append(Problem(str(error), field=name))
        if problems:
            wrong = {problem.field for problem in problems}
            filled = dict.fromkeys(("name", "model", "train_file"), "x") | values
            problems += [problem for problem in cls(**filled).problems() if problem.field not in wrong]
            raise UserError(
                tr("The run configuration cannot be used."),
                tr("Some fields are missing or wrong."),
                tr("Correct them, or let the program write the file: {plan_command}", plan_command=plan_command()),
                problems,
            )
        return cls(**values)


FIELDS: dict[str, Field] = fields_of(RunConfig)


def default_of(name: str) -> Any:
    """The value that a field has when nobody decides it."""
    return getattr(RunConfig(name="x", model="x", train_file="x"), name)


def in_groups() -> dict[str, tuple[str, ...]]:
    """All fields in the order in which one decides them, under headings."""
    return {group: tuple(name for name, about in FIELDS.items() if about.group == group) for group in GROUPS}


def label(name: str) -> str:
    """What people call a field; the name itself for one that another version wrote."""
    return FIELDS[name].label if name in FIELDS else name


def plan_command() -> str:
    """The command that writes a configuration."""
    return program.command("plan", "--model", "M", "--data", "FILE", "--out", "RUN.json")
