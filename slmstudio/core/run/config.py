"""The configuration of one training run: every field with its limits and its words, in one place.

A new field is described here; the form, the terminal, the checks, the script and the report then have it.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from slmstudio.core import files, formats, i18n, program
from slmstudio.core.data import split
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import noop, tr
from slmstudio.core.run.run_fields import (
    GUARDS,
    METHODS,
    OBJECTIVES,
    OPTIMIZERS,
    OVERLONG,
    PRECISIONS,
    PREFERENCES,
    TEMPLATES,
    Choice,
    DayHours,
    Field,
    Lines,
    Names,
    Number,
    Switch,
    Text,
    Whole,
    contradictions,
    described,
    fields_of,
    not_allowed,
)

SET = noop("You set this.")
"""What a plan says about a value that a user decided; `chosen` says which those are."""
SEED, STEP_COUNT, NORM = Whole(0, 2**32 - 1), Whole(1, 10**9), Number(0, math.inf, above=True, below=True)
METHOD, ROWS, STEPS, MACHINE, EVALUATION, HEAT, RUN = GROUPS = (
    noop("Method"), noop("Rows and length"), noop("Steps and rate"), noop("Memory and speed"),
    noop("Evaluation and stopping"), noop("Heat and power"), noop("Name, files and split"))
NO_ADAPTER = noop("Not used by full fine-tuning.")


def _with_adapter(config: RunConfig) -> bool:
    return config.has_adapter


def _for_answers(config: RunConfig) -> bool:
    return config.objective == "sft"


@dataclass
class RunConfig:
    """Everything that decides what a run does.

    Attributes:
        reasons: by field, why it has its value, in a sentence.
        chosen: fields that a user decided.
    """

    name: str = described(..., Text(), RUN, noop("Name"),
        noop("The run's name in the window; its folder's name begins with it."), told=False)
    model: str = described(..., Text(file=True), RUN, noop("Base model"),
        noop("The folder of the base model (Hugging Face layout, safetensors)."))
    train_file: str = described(..., Text(file=True), RUN, noop("Training rows"),
        noop("The file or folder with the training rows."))
    eval_file: str | None = described(None, Text(optional=True, file=True), RUN, noop("Held-out rows"),
        noop("A file with evaluation rows, which are never used for training. Without one, some of the training rows "
             "are held out."),
        reason=noop("No test file was chosen, so rows are split off."))
    train_map: str | None = described(None, Text(optional=True), RUN, noop("Columns of the training rows"),
        noop("What the columns of the training rows contain, for example instruction=Question,output=Answer; sheet=… "
             "and text_by=… can be added. If empty, the rows themselves show it."),
        reason=noop("The columns' names and contents show it."))
    eval_map: str | None = described(None, Text(optional=True), RUN, noop("Columns of the held-out rows"),
        noop("What the columns of the held-out rows contain, written as for the training rows."),
        reason=noop("The columns' names and contents show it."), applies=lambda config: config.eval_file is not None)
    eval_fraction: float = described(split.USUAL_SHARE, Number(0, 0.5), RUN, noop("Share of rows held out"),
        noop("How many of the training rows are held out for evaluation when there is no test file: 0.1 is one in "
             "ten."))
    split_seed: int = described(0, SEED, RUN, noop("Seed of the split"),
        noop("Decides which rows are held out; the same number always holds out the same ones."),
        reason=noop("Any number will do; the same number gives the same split."))
    split_by: str = described("rows", Choice({
        "rows": noop("All rows"), "language": noop("Each language"), "source": noop("Each file")}), RUN,
        noop("Share taken from"),
        noop('Rows are held out from all rows together ("rows"), from each language, by the script of most letters '
             '("language"), or from each file of a folder or an archive ("source").'),
        reason=noop("All rows are split together."), applies=lambda config: config.eval_file is None)
    start_from: str | None = described(None, Text(optional=True, file=True), RUN, noop("Continues from"),
        noop("The folder of an earlier run, or of its adapter or model, whose weights this run starts with."),
        reason=noop("It starts from the base model itself."), applies=lambda config: config.method != "scratch")
    objective: str = described("sft", OBJECTIVES, METHOD, noop("Objective"),
        noop('What is learned: answers ("sft"), plain text as in pretraining ("text"), or which answers are better: '
             'from pairs ("dpo", "orpo") or from single answers marked good or bad ("kto").'), simple=True)
    method: str = described("lora", METHODS, METHOD, noop("Method"),
        noop('What is trained: an adapter, while the base model stays as it is ("lora"), the same with the base in 4 '
             'bits, NF4 ("qlora"), every weight ("full"), or a new, small model with the architecture and tokenizer '
             'of the base ("scratch").'), simple=True)
    chat_template: str = described("", TEMPLATES, METHOD, noop("Chat template"),
        noop("How a conversation becomes the text that is learned. If empty, it's the model's own; a base model that "
             "has none needs one of these."))
    lora_rank: int = described(16, Whole(1, 4096), METHOD, noop("Rank"),
        noop("The rank of the adapter's matrices: a higher one can learn more, and takes a little more memory."),
        reason=NO_ADAPTER, simple=True, applies=_with_adapter, aliases=("rank",))
    scratch_size: str = described("30M", Choice({size: size for size in ("10M", "20M", "30M", "60M", "100M", "150M")}),
        METHOD, noop("Size from scratch"), noop("About how many parameters a model trained from scratch has."),
        reason=noop("Only training from scratch uses it."), simple=True,
        applies=lambda config: config.method == "scratch")
    lora_alpha: int = described(32, Whole(1, 65536), METHOD, noop("Alpha"),
        noop("The adapter's update is scaled by alpha / rank."),
        reason=NO_ADAPTER, applies=_with_adapter, aliases=("alpha",))
    lora_dropout: float = described(0.0, Number(0, 1, below=True), METHOD, noop("Dropout"),
        noop("The share of values that is dropped at random before the adapter, against overfitting."),
        reason=noop("A few epochs don't need dropout; raise it if the eval loss starts to rise."),
        applies=_with_adapter)
    target_modules: str | list[str] = described("all-linear", Names(), METHOD, noop("Target modules"),
        noop('The layers that get an adapter; "all-linear" is every linear layer except the head.'),
        reason=NO_ADAPTER, applies=_with_adapter)
    use_dora: bool = described(False, Switch(), METHOD, noop("DoRA"),
        noop("Learns the magnitude of each weight row separately from its direction (DoRA): better at low ranks, but "
             "slower."),
        reason=noop("Plain LoRA is faster; DoRA may be a little better at low ranks."), applies=_with_adapter)
    use_rslora: bool = described(False, Switch(), METHOD, noop("Rank-stabilised LoRA"),
        noop("Scales the adapter by alpha / sqrt(rank), so that high ranks learn as fast as low ones."),
        reason=noop("It matters at ranks above 64."), applies=_with_adapter)
    beta: float = described(0.1, Number(0, 10, above=True), METHOD, noop("Beta"),
        noop("How strongly preference tuning keeps the model close to what it said before; for ORPO, the weight of "
             "the odds ratio."),
        reason=noop("Only preference tuning uses it."), applies=lambda config: config.is_preference)
    epochs: float = described(3.0, Number(0, 10_000, above=True), STEPS, noop("Epochs"),
        noop("How many times the model goes through the training rows. If the number of steps is set, it takes "
             "precedence."), aliases=("num_train_epochs",))
    max_steps: int | None = described(None, Whole(1, 10**9, optional=True), STEPS, noop("Maximum steps"),
        noop("The number of optimizer updates. If empty, it's as many as the epochs take."),
        reason=noop("The number of epochs decides."))
    early_stopping_patience: int = described(0, Whole(0, 10_000), EVALUATION, noop("Evaluations before stopping early"),
        noop("The run ends by itself after this many evaluations without a better eval loss; 0 means never."))
    use_best_checkpoint: bool = described(True, Switch(), EVALUATION, noop("Keep the best weights"),
        noop("The result is the weights with the lowest eval loss, not the last ones, and an adapter is applied as "
             "strongly as is best for that loss."),
        reason=noop("The weights that did best on rows not used for training are kept."))
    max_length: int = described(1024, Whole(8, 1_048_576), ROWS, noop("Sequence length, tokens"),
        noop("The longest row in tokens; longer rows are cut at the end, or left out."), simple=True,
        aliases=("max_seq_length",))
    overlong_rows: str = described("cut", OVERLONG, ROWS, noop("Longer rows"),
        noop('What happens to rows that are longer than the sequence length: they are cut at the end ("cut"), or left '
             'out ("leave_out"). Plain text is split instead.'),
        reason=noop("The beginning of a long row teaches something too."))
    micro_batch_size: int = described(4, Whole(1, 4096), STEPS, noop("Micro-batch, rows"),
        noop("How many rows are computed at once; fewer need less memory."),
        aliases=("per_device_train_batch_size",))
    gradient_accumulation_steps: int = described(4, Whole(1, 4096), STEPS, noop("Accumulation"),
        noop("How many micro-batches make one optimizer update."))
    group_by_length: bool = described(True, Switch(), ROWS, noop("Group rows by length"),
        noop("Puts rows of similar length into one batch, so that little work is spent on padding."))
    packing: bool = described(False, Switch(), ROWS, noop("Packing"),
        noop("Lays the rows of a micro-batch end to end instead of padding them; no row sees another."),
        applies=lambda config: not config.is_preference)
    completion_only_loss: bool = described(True, Switch(), ROWS, noop("Completion-only loss"),
        noop("Learns only the assistant's words, not the questions."),
        reason=noop("The model learns to answer, not to ask."), applies=_for_answers)
    learning_rate: float = described(2e-4, Number(0, 1, above=True), STEPS, noop("Learning rate"),
        noop("How far each update moves the weights; this is the highest rate, after warm-up."),
        aliases=("lr",))
    lr_scheduler: str = described("cosine", Choice({
        "linear": noop("linear"), "cosine": noop("cosine"), "constant": noop("constant"),
        "constant_with_warmup": noop("constant, with warm-up")}), STEPS, noop("Scheduler"),
        noop("How the learning rate falls after warm-up."), aliases=("lr_scheduler_type",))
    warmup_fraction: float = described(0.03, Number(0, 1, below=True), STEPS, noop("Warm-up, share of steps"),
        noop("The share of the steps in which the learning rate rises."), aliases=("warmup_ratio",))
    optimizer: str = described("adamw_torch", OPTIMIZERS, STEPS, noop("Optimizer"),
        noop("The optimizer, by its name in transformers' `optim`."),
        reason=noop("AdamW, the standard for language models."), aliases=("optim",))
    weight_decay: float = described(0.0, Number(0, 1), STEPS, noop("Weight decay"),
        noop("How strongly AdamW pulls the weights towards zero, against overfitting."))
    max_grad_norm: float = described(1.0, NORM, STEPS, noop("Clip gradients at norm"),
        noop("Gradients larger than this norm are clipped to it."),
        reason=noop("One odd row can't throw the weights off."))
    neftune_noise_alpha: float = described(0.0, Number(0, 100), STEPS, noop("NEFTune noise alpha"),
        noop("Noise on the embeddings during training (NEFTune); 0 means none, 5 is usual."),
        reason=noop("No noise; 5 sometimes helps a chat model that learns from few rows."), applies=_for_answers)
    device: str = described("auto", Choice({
        "auto": noop("auto: the GPU if there is one"), "cpu": noop("processor"), "cuda": noop("NVIDIA GPU")}),
        MACHINE, noop("Device"), noop('What the run trains on: "auto" uses the GPU if there is one.'))
    precision: str = described("fp32", PRECISIONS, MACHINE, noop("Precision"),
        noop("The number format of the weights in memory."))
    attention: str = described("sdpa", Choice({
        "sdpa": "SDPA", "eager": "eager", "flash_attention_2": "flash_attention_2"}), MACHINE, noop("Attention"),
        noop("Which implementation computes attention."), aliases=("attn_implementation",))
    gradient_checkpointing: bool = described(False, Switch(), MACHINE, noop("Recompute activations"),
        noop("Recomputes activations in the backward pass: less memory, about a fifth slower."))
    activation_offload: bool = described(False, Switch(), MACHINE, noop("Keep activations in main memory"),
        noop("Keeps what the backward pass needs in main memory until then: less memory on the card, but slower. It "
             "needs an NVIDIA GPU."),
        reason=noop("Recomputing saves more memory and costs less time; this is for rows that still don't fit."))
    use_liger_kernel: bool = described(False, Switch(), MACHINE, noop("Liger kernels"),
        noop("Uses Liger's fused kernels for norms and the loss, on NVIDIA GPUs only."))
    torch_compile: bool = described(False, Switch(), MACHINE, noop("Compile the model"),
        noop("Lets PyTorch compile the model's layers: a minute or so at the start, then faster steps. It needs an "
             "NVIDIA GPU."),
        reason=noop("Compiling takes a minute or so, which doesn't pay off in most runs."))
    threads: int = described(0, Whole(0, 1024), MACHINE, noop("Processor threads"),
        noop("How many threads of the processor each machine uses; 0 leaves it to PyTorch."),
        reason=noop("The GPU does the work."), told=False)
    processes: int = described(1, Whole(1, 64), MACHINE, noop("Cards or processes"),
        noop("How many processes of each machine train together, one on each card. The effective batch size stays the "
             "same."),
        reason=noop("One process trains."), told=False)
    nodes: int = described(1, Whole(1, 64), MACHINE, noop("Machines"),
        noop("How many machines train together, each with the number of processes set above."),
        reason=noop("One machine trains."), told=False)
    parallelism: str = described("ddp", Choice({
        "ddp": noop("Faster: each card holds the model (DDP)"),
        "fsdp": noop("Bigger: the cards share the model (FSDP)")}), MACHINE, noop("Parallelism"),
        noop('What several cards are used for: each holds the whole model and learns from its share of each batch, '
             'which is faster ("ddp"), or they share weights, gradients and optimizer, so that a bigger model fits '
             '("fsdp").'),
        reason=noop("The model fits on one card."), told=False, applies=lambda config: config.world_size > 1)
    heat_guard: str = described("pause", GUARDS, HEAT, noop("When it gets hot"),
                                noop("What happens when the machine gets hot: it pauses at the next step and resumes "
                                     'once it has cooled ("pause"), rests a little after each step so that it stays at '
                                     'the limit ("hold"), or only warns ("off").'), told=False,
                                reason=noop("Keeps the card and the laptop from running at their limit all night; what "
                                            "is learned stays the same."))
    heat_limit_c: int | None = described(None, Whole(40, 110, optional=True), HEAT, noop("Temperature limit, °C"),
        noop("The temperature at which it pauses, or which it holds. If empty, it's 5 °C below the temperature at "
             "which the card slows itself down, or 83 °C if the card doesn't report one; without a card, the same for "
             "the processor."), told=False,
        reason=noop("Each card has its own limit."))
    heat_rest_seconds: int = described(60, Whole(1, 86_400), HEAT, noop("Shortest pause, s"),
        noop("How long a pause for heat lasts at least, so that the machine doesn't keep warming up and cooling "
             "down."), told=False,
        reason=noop("A heat sink takes about a minute to cool."))
    pause_on_battery: bool = described(False, Switch(), HEAT, noop("Pause on battery"),
        noop("Pauses while a laptop runs on battery, and resumes when it's plugged in."), told=False,
        reason=noop("Off, so that a power cut doesn't stop the run."))
    train_hours: str | None = described(None, DayHours(), HEAT, noop("Only between these hours"),
        noop("The hours in which to train, by this machine's clock, for example 22:00-06:00. If empty, it may always "
             "train."), told=False,
        reason=noop("It can run all day."))
    sample_prompts: list[str] = described([], Lines(), EVALUATION, noop("Questions to watch, one per line"),
        noop("Questions that are answered at each evaluation, so that you can watch it learn. If empty, questions of "
             "held-out rows are asked."),
        reason=noop("The first questions of the held-out rows are asked."))
    sample_max_tokens: int = described(48, Whole(0, 4096), EVALUATION, noop("Maximum answer length, tokens"),
        noop("The longest of these answers, in tokens; with 0, no questions are asked."),
        reason=noop("Long enough to see whether an answer gets better."))
    eval_steps: int = described(20, STEP_COUNT, EVALUATION, noop("Steps between evaluations"),
        noop("How many steps there are between two evaluations."))
    tensorboard: bool = described(False, Switch(), EVALUATION, noop("TensorBoard files"),
        noop("Also writes the curves as TensorBoard files, into the run's folder."),
        reason=noop("The plots here show the same curves."))
    save_steps: int = described(20, STEP_COUNT, EVALUATION, noop("Steps between checkpoints"),
        noop("How many steps there are between two checkpoints."))
    keep_checkpoints: int = described(2, Whole(2, 10**6), EVALUATION, noop("Checkpoints kept"),
        noop("How many of the newest checkpoints are kept; the best one is always kept."),
        reason=noop("The newest two and the best one are enough."))
    seed: int = described(42, SEED, STEPS, noop("Seed"),
        noop("Decides the first weights, the order of the rows and dropout; the same number repeats the run."),
        reason=noop("Any number will do; the same number repeats the run."))
    reasons: dict[str, str] = field(default_factory=dict)
    chosen: list[str] = field(default_factory=list)

    @property
    def chooses_strength(self) -> bool:
        """Whether the strength of its adapter is chosen by held-out rows: DoRA's change of the weights isn't a straight
        line from the base model, and preferences are learned against it."""
        return self.use_best_checkpoint and self.has_adapter and not self.use_dora and not self.is_preference

    @property
    def has_adapter(self) -> bool:
        return self.method in ("lora", "qlora")

    @property
    def is_preference(self) -> bool:
        """Whether it learns which answers are better, rather than the answers."""
        return self.objective in PREFERENCES

    @property
    def effective_batch_size(self) -> int:
        return self.micro_batch_size * self.gradient_accumulation_steps

    @property
    def world_size(self) -> int:
        """Processes that train together, on all machines."""
        return self.processes * self.nodes

    def problems(self) -> list[Problem]:
        """Everything that is wrong with the values, each by itself and with one another, without touching a file."""
        values = {name: getattr(self, name) for name in FIELDS}
        found = [Problem(not_allowed(value, limit), field=name) for name, value in values.items()
                 if (limit := FIELDS[name].kind.limit(value))]
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
            raise UserError(tr("The run configuration can't be used."), "", tr("Correct these fields."), found)

    def file_problems(self, rows_are_kept: bool = False) -> list[Problem]:
        """What is wrong with the files that it names; `rows_are_kept` as in `check`."""
        found = []
        for name, about in FIELDS.items():
            path = None if rows_are_kept and name in ("train_file", "eval_file") else getattr(self, name)
            if not (isinstance(about.kind, Text) and about.kind.file and path):
                continue
            if not Path(path).exists():
                found.append(Problem(tr("{path} doesn't exist.", path=path), field=name))
            elif not (Path(path).is_file() or Path(path).is_dir()):
                found.append(Problem(tr("{path} is neither a file nor a folder.", path=path), field=name))
        return found

    def to_dict(self) -> dict[str, Any]:
        return {**formats.stamp("run"), "kind": "train", **asdict(self), "reasons": i18n.with_sources(self.reasons)}

    @classmethod
    def from_dict(cls, state: dict[str, Any], where: Path | str = "") -> RunConfig:
        """Read a configuration back. Keys that this version doesn't know are ignored.

        Args:
            where: the file, for an error.

        Raises:
            UserError: a newer format, a missing field, or a value of the wrong type: all at once.
        """
        state = formats.check("run", state, where or tr("The run configuration"))
        problems = [Problem(tr("It is missing."), field=name)
                    for name in ("name", "model", "train_file") if name not in state]
        reasons, chosen = i18n.retranslate(files.an_object(state.get("reasons"))), state.get("chosen")
        values: dict[str, Any] = {
            "reasons": {name: reason for name, reason in reasons.items() if isinstance(reason, str)},
            "chosen": [name for name in chosen if isinstance(name, str) and name in FIELDS]
            if isinstance(chosen, list) else []}
        for name in FIELDS.keys() & state.keys():
            try:
                values[name] = FIELDS[name].read(state[name])
            except ValueError as error:
                problems.append(Problem(str(error), field=name))
        if problems:
            wrong = {problem.field for problem in problems}
            filled = dict.fromkeys(("name", "model", "train_file"), "x") | values
            problems += [problem for problem in cls(**filled).problems() if problem.field not in wrong]
            raise UserError(tr("The run configuration can't be used."), tr("Some fields are missing or wrong."),
                            tr("Correct them, or let the program write the file: {command}", command=plan_command()),
                            problems)
        return cls(**values)


FIELDS: dict[str, Field] = fields_of(RunConfig)


def default_of(name: str) -> Any:
    return getattr(RunConfig(name="x", model="x", train_file="x"), name)


def in_groups() -> dict[str, tuple[str, ...]]:
    """All fields in the order in which one decides them, under headings."""
    return {tr(group): tuple(name for name, about in FIELDS.items() if about.group == group) for group in GROUPS}


def search(text: str) -> set[str]:
    """The fields with all these words in their name, label or help, or in what other trainers call them."""
    words = text.casefold().split()
    return {name for name, about in FIELDS.items()
            if all(word in " ".join((name, *about.aliases, about.label, about.help)).casefold() for word in words)}


def label(name: str) -> str:
    """What people call a field; the name itself for one that another version wrote."""
    return FIELDS[name].label if name in FIELDS else name


def plan_command() -> str:
    return program.command("plan", "--model", "M", "--data", "FILE", "--out", "RUN.json")
