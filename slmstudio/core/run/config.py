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

SET = "You set this."
"""The reason of a value that a person decided."""
SEED, STEPS, NORM = Whole(0, 2**32 - 1), Whole(1, 10**9), Number(0, math.inf, above=True, below=True)
RUN, METHOD, LENGTH, BATCH, LEARNING, MACHINE, HEAT, WATCHING, SAVING = GROUPS = (
    "Run", "Method", "Length", "Batch", "Learning", "Machine", "Heat and hours", "Watching", "Saving")
NO_ADAPTER = "Not used by full fine-tuning."


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

    name: str = described(..., Text(), RUN, "Name",
        "shown in the window, and part of the run folder's name.", simple=True, told=False)
    model: str = described(..., Text(file=True), RUN, "Base model",
        "folder of the base model (Hugging Face layout, safetensors).")
    train_file: str = described(..., Text(file=True), RUN, "Training rows",
        "file or folder with the rows to learn.")
    eval_file: str | None = described(None, Text(optional=True, file=True), RUN, "Held-out rows",
        "file with rows that are never learned; None splits them off `train_file`.",
        reason="No test file was chosen, so rows are split off.")
    train_map: str | None = described(None, Text(optional=True), RUN, "Columns of the training rows",
        "what the columns of `train_file` hold, as in instruction=Question,output=Answer; sheet=… and text_by=… may be "
        "among them. None finds that out by looking at rows.", reason="The columns tell it themselves.")
    eval_map: str | None = described(None, Text(optional=True), RUN, "Columns of the held-out rows",
        "the same for `eval_file`.", reason="The columns tell it themselves.",
        applies=lambda config: config.eval_file is not None)
    eval_fraction: float = described(0.1, Number(0, 0.5), RUN, "Share of rows held out",
        "share of `train_file` split off for evaluation when there is no `eval_file`.")
    split_seed: int = described(0, SEED, RUN, "Seed of that split",
        "seed of that split.", reason="Any number does; the same number gives the same split.")
    split_by: str = described("rows", Choice({
        "rows": "All rows", "language": "Each language", "source": "Each file"}), RUN, "Share taken from",
        'what that share is taken from: all "rows" together, the rows of each "language" (by the script of most '
        'letters), or those of each "source" (file of a folder or an archive).',
        reason="All rows are split together.", applies=lambda config: config.eval_file is None)
    start_from: str | None = described(None, Text(optional=True, file=True), RUN, "Continues from",
        "folder of an earlier run, or of its adapter or model, whose weights this run starts with.",
        reason="It begins with the base model itself.", applies=lambda config: config.method != "scratch")
    objective: str = described("sft", OBJECTIVES, METHOD, "Objective",
        'what is learned: "sft" (answers), "text" (continued pretraining on plain text), or which answers are '
        'better: "dpo" and "orpo" (from pairs), "kto" (from single answers marked good or bad).', simple=True)
    method: str = described("lora", METHODS, METHOD, "Method",
        '"lora" (an adapter learns, the base is frozen), "qlora" (the same on a base held in 4 bits, NF4), '
        '"full" (every weight learns) or "scratch" (a new, small model with the architecture and tokenizer of the '
        'base).', simple=True)
    chat_template: str = described("", TEMPLATES, METHOD, "Chat template",
        "how a conversation becomes the text that is learned; empty takes the model's own. A base model that has none "
        "needs one of these.")
    lora_rank: int = described(16, Whole(1, 4096), METHOD, "Rank",
        "rank of the adapter's matrices.", reason=NO_ADAPTER, simple=True, applies=_with_adapter, aliases=("rank",))
    scratch_size: str = described("30M", Choice({
        size: size for size in ("10M", "20M", "30M", "60M", "100M", "150M")}), METHOD, "Size from scratch",
        "parameters of a model trained from scratch, about.",
        reason="Only training from scratch uses it.", simple=True, applies=lambda config: config.method == "scratch")
    lora_alpha: int = described(32, Whole(1, 65536), METHOD, "Alpha",
        "the adapter's update is scaled by alpha / rank.",
        reason=NO_ADAPTER, applies=_with_adapter, aliases=("alpha",))
    lora_dropout: float = described(0.0, Number(0, 1, below=True), METHOD, "Dropout",
        "dropout before the adapter's first matrix.",
        reason="Few epochs do not need dropout; raise it when eval loss turns upwards.", applies=_with_adapter)
    target_modules: str | list[str] = described("all-linear", Names(), METHOD, "Target modules",
        'layers that get an adapter; "all-linear" is every linear layer but the head.',
        reason=NO_ADAPTER, applies=_with_adapter)
    use_dora: bool = described(False, Switch(), METHOD, "DoRA",
        "learn the magnitude of each weight row apart from its direction (DoRA): better at low ranks, slower.",
        reason="Plain LoRA is faster; DoRA may be a little better at low ranks.", applies=_with_adapter)
    use_rslora: bool = described(False, Switch(), METHOD, "Rank-stabilised LoRA",
        "scale the adapter by alpha / sqrt(rank) (rank-stabilised LoRA), so that high ranks learn as fast.",
        reason="It matters at ranks above 64.", applies=_with_adapter)
    beta: float = described(0.1, Number(0, 10, above=True), METHOD, "Beta",
        "how strongly preference tuning holds on to what the model said before; for ORPO the odds ratio's "
        "weight.", reason="Only preference tuning uses it.", applies=lambda config: config.is_preference)
    epochs: float = described(3.0, Number(0, 10_000, above=True), LENGTH, "Epochs",
        "passes over the training rows; ignored when `max_steps` is set.", simple=True, aliases=("num_train_epochs",))
    max_steps: int | None = described(None, Whole(1, 10**9, optional=True), LENGTH, "Steps at most",
        "optimizer updates; None means: as many as `epochs` takes.", reason="The number of epochs decides.")
    early_stopping_patience: int = described(0, Whole(0, 10_000), LENGTH, "Stop early after, evaluations",
        "evaluations without a better eval loss before the run ends by itself; 0 is never.")
    use_best_checkpoint: bool = described(True, Switch(), LENGTH, "Keep the best weights",
        "keep the weights with the lowest eval loss, not the last ones, as the result.",
        reason="What is kept is what did best on rows that were never learned.")
    max_length: int = described(1024, Whole(8, 1_048_576), BATCH, "Sequence length, tokens",
        "sequence length in tokens; longer rows are cut at the end.", simple=True, aliases=("max_seq_length",))
    micro_batch_size: int = described(4, Whole(1, 4096), BATCH, "Micro-batch, rows",
        "rows in one forward pass.", simple=True, aliases=("per_device_train_batch_size",))
    gradient_accumulation_steps: int = described(4, Whole(1, 4096), BATCH, "Accumulation",
        "micro-batches in one optimizer update.", simple=True)
    group_by_length: bool = described(True, Switch(), BATCH, "Group rows by length",
        "batch rows of like length together, so that little is padding.")
    packing: bool = described(False, Switch(), BATCH, "Packing",
        "lay the rows of a micro-batch end to end instead of padding them; each attends to itself only.",
        applies=lambda config: not config.is_preference)
    completion_only_loss: bool = described(True, Switch(), BATCH, "Completion-only loss",
        "learn the assistant's words only, not the questions.",
        reason="The model learns to answer, not to ask.", applies=_for_answers)
    learning_rate: float = described(2e-4, Number(0, 1, above=True), LEARNING, "Learning rate",
        "peak rate, after warm-up.", simple=True, aliases=("lr",))
    lr_scheduler: str = described("cosine", Choice({
        "linear": "linear", "cosine": "cosine", "constant": "constant",
        "constant_with_warmup": "constant, with warm-up"}), LEARNING, "Scheduler",
        "how the rate falls after warm-up.", aliases=("lr_scheduler_type",))
    warmup_fraction: float = described(0.03, Number(0, 1, below=True), LEARNING, "Warm-up, share of steps",
        "share of the steps in which the rate rises.", aliases=("warmup_ratio",))
    optimizer: str = described("adamw_torch", OPTIMIZERS, LEARNING, "Optimizer",
        "name in transformers' `optim`.", reason="AdamW, the standard for language models.", aliases=("optim",))
    weight_decay: float = described(0.0, Number(0, 1), LEARNING, "Weight decay",
        "AdamW's decoupled weight decay.")
    max_grad_norm: float = described(1.0, NORM, LEARNING, "Clip gradients at norm",
        "gradients are clipped to this norm.", reason="A batch with an odd row cannot throw the weights off.")
    neftune_noise_alpha: float = described(0.0, Number(0, 100), LEARNING, "NEFTune noise alpha",
        "noise on the embeddings while learning answers (NEFTune); 0 is none, 5 is usual.",
        reason="No noise; 5 sometimes helps a chat model that learns from few rows.", applies=_for_answers)
    device: str = described("auto", Choice({
        "auto": "auto: the GPU if there is one", "cpu": "processor", "cuda": "NVIDIA GPU"}), MACHINE, "Device",
        '"auto" takes the GPU when there is one.')
    precision: str = described("fp32", PRECISIONS, MACHINE, "Precision",
        "number format of the weights that are held in memory.", simple=True)
    attention: str = described("sdpa", Choice({
        "sdpa": "SDPA", "eager": "eager", "flash_attention_2": "flash_attention_2"}), MACHINE, "Attention",
        "attention implementation.", aliases=("attn_implementation",))
    gradient_checkpointing: bool = described(False, Switch(), MACHINE, "Recompute activations",
        "recompute activations in the backward pass: less memory, about a fifth slower.")
    activation_offload: bool = described(False, Switch(), MACHINE, "Keep activations in main memory",
        "keep what the backward pass needs in main memory meanwhile: less memory on the card, but slower; needs an "
        "NVIDIA GPU.",
        reason="Recomputing saves more for less time; this is for rows that don't fit even so.")
    use_liger_kernel: bool = described(False, Switch(), MACHINE, "Liger kernels",
        "Liger's fused kernels for norms and the loss; NVIDIA GPUs only.")
    torch_compile: bool = described(False, Switch(), MACHINE, "Compile the model",
        "let PyTorch compile the model's layers: a minute or so at the start, faster steps; NVIDIA GPUs only.",
        reason="Compiling takes a minute or so, which most runs never earn back.")
    threads: int = described(0, Whole(0, 1024), MACHINE, "Processor threads",
        "CPU threads to use on each machine; 0 leaves it to torch.",
        reason="The GPU does the work.", told=False)
    processes: int = described(1, Whole(1, 64), MACHINE, "Cards or processes",
        "how many processes of each machine train together, one on each card; the effective batch stays the same.",
        reason="One process trains.", told=False)
    nodes: int = described(1, Whole(1, 64), MACHINE, "Machines",
        "how many machines train together; each has as many processes as said above.", reason="One machine trains.",
        told=False)
    parallelism: str = described("ddp", Choice({
        "ddp": "Faster: each card holds the model (DDP)",
        "fsdp": "Bigger: the cards share the model (FSDP)"}), MACHINE, "Several cards make it",
        '"ddp" (each card holds the whole model and learns from its share of each batch: faster) or "fsdp" (the cards '
        'share weights, gradients and optimizer: a bigger model fits).', reason="The model fits on one card.",
        told=False, applies=lambda config: config.world_size > 1)
    heat_guard: str = described("pause", GUARDS, HEAT, "When it gets hot",
        '"pause" stops at the next step and resumes when the machine has cooled; "hold" rests a little after each '
        'step, so that it gets no hotter than the limit; "off" only warns.', told=False,
        reason="Saves card and laptop from nights at their limit; what is learned stays the same.")
    heat_limit_c: int | None = described(None, Whole(40, 110, optional=True), HEAT, "Temperature limit, °C",
        "where it pauses, or what it holds. Empty takes 5 °C less than the temperature at which the card slows itself "
        "down, or 83 °C where it doesn't say; without a card, the same of the processor.", told=False,
        reason="Each card knows its own limit.")
    heat_rest_seconds: int = described(60, Whole(1, 86_400), HEAT, "Shortest pause, s",
        "how long a pause for heat lasts at least, so that the machine doesn't warm up and cool down all the time.",
        told=False,
        reason="A heat sink takes about a minute to cool.")
    pause_on_battery: bool = described(False, Switch(), HEAT, "Pause on battery",
        "pause while a laptop runs on its battery; resume when it is plugged in.", told=False,
        reason="A run isn't held up where the machine has no mains.")
    train_hours: str | None = described(None, DayHours(), HEAT, "Only between these hours",
        "the hours in which to train, by this machine's clock, as in 22:00-06:00; empty is always.", told=False,
        reason="It may run all day.")
    sample_prompts: list[str] = described([], Lines(), WATCHING, "Questions to watch, one a line",
        "questions answered at each evaluation, so that you see it learn; if empty, evaluation rows are asked.",
        reason="The first questions of the evaluation rows are asked.")
    sample_max_tokens: int = described(48, Whole(0, 4096), WATCHING, "Answers, tokens at most",
        "length of these answers; 0 asks none.", reason="Long enough to see whether an answer gets better.")
    eval_steps: int = described(20, STEPS, WATCHING, "Evaluate every, steps",
        "optimizer updates between evaluations.")
    tensorboard: bool = described(False, Switch(), WATCHING, "TensorBoard files",
        "write the curves as TensorBoard files too, into the run's folder.",
        reason="The plots here show the same curves.")
    save_steps: int = described(20, STEPS, SAVING, "Checkpoint every, steps",
        "optimizer updates between checkpoints.")
    keep_checkpoints: int = described(2, Whole(2, 10**6), SAVING, "Checkpoints kept",
        "how many of the newest checkpoints are kept; the best one always is.",
        reason="The newest two, and the best one always.")
    seed: int = described(42, SEED, SAVING, "Seed",
        "of weights, order and dropout.", reason="Any number does; the same number repeats the run.")
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
                found.append(Problem(f"{value!r} is not allowed; it must be {limit}.", field=name))
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
            raise UserError("The run configuration cannot be used.", "", "Correct these fields.", found)

    def file_problems(self, rows_are_kept: bool = False) -> list[Problem]:
        """What is wrong with the files that it names; `rows_are_kept` as in `check`."""
        found = []
        for name, about in FIELDS.items():
            path = None if rows_are_kept and name in ("train_file", "eval_file") else getattr(self, name)
            if not (isinstance(about.kind, Text) and about.kind.file and path):
                continue
            if not Path(path).exists():
                found.append(Problem(f"{path} does not exist.", field=name))
            elif not (Path(path).is_file() or Path(path).is_dir()):
                found.append(Problem(f"{path} is neither a file nor a folder.", field=name))
        return found

    def to_dict(self) -> dict[str, Any]:
        return {**formats.stamp("run"), "kind": "train", **asdict(self)}

    @classmethod
    def from_dict(cls, state: dict[str, Any], where: Path | str = "The run configuration") -> RunConfig:
        """Read a configuration back. Keys that this version does not know are ignored.

        Args:
            where: the file, for an error.

        Raises:
            UserError: a newer format, a missing field, or a value of the wrong type: all at once.
        """
        state = formats.check("run", state, where)
        problems = [Problem("is missing.", field=name) for name in ("name", "model", "train_file") if name not in state]
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
                "The run configuration cannot be used.",
                "Some fields are missing or wrong.",
                f"Correct them, or let the program write the file: {plan_command()}",
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
