"""The configuration of one training run: every knob, in one file, with the field's own names."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

from slmstudio.core import files, formats, program
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.run import limits, values

NOTES = frozenset({"format", "kind", "protocol", "created", "versions", "hashes"})
"""What a run.json holds beside the fields: nothing that decides what a run does."""


@dataclass
class RunConfig:
    """Everything that decides what a run does.

    Attributes:
        name: shown in the window, and part of the run folder's name.
        model: folder of the base model (Hugging Face layout, safetensors).
        train_file: JSONL with the rows to learn.
        eval_file: JSONL with rows that are never learned; None splits them off `train_file`.
        eval_fraction: share of `train_file` split off for evaluation when there is no `eval_file`.
        split_seed: seed of that split.
        objective: what is learned: "sft" (answers), "text" (continued pretraining on plain text), or which answers are
            better: "dpo" and "orpo" (from pairs), "kto" (from single answers marked good or bad).
        method: "lora" (an adapter learns, the base is frozen), "qlora" (the same on a base held in 4 bits, NF4),
            "full" (every weight learns) or "scratch" (a new, small model of the base's architecture and tokenizer).
        start_from: folder of an earlier run, or of its adapter or model, whose weights this run goes on from.
        scratch_size: parameters of a model trained from scratch, about.
        epochs: passes over the training rows; ignored when `max_steps` is set.
        max_steps: optimizer updates; None means: as many as `epochs` takes.
        max_length: sequence length in tokens; longer rows are cut at the end.
        micro_batch_size: rows in one forward pass.
        gradient_accumulation_steps: micro-batches in one optimizer update.
        learning_rate: peak rate, after warm-up.
        lr_scheduler: how the rate falls after warm-up.
        warmup_fraction: share of the steps in which the rate rises.
        weight_decay: AdamW's decoupled weight decay.
        max_grad_norm: gradients are clipped to this norm.
        optimizer: name in transformers' `optim`.
        beta: how strongly preference tuning holds on to what the model said before; for ORPO the odds ratio's weight.
        neftune_noise_alpha: noise on the embeddings while learning answers (NEFTune); 0 is none, 5 is usual.
        lora_rank: rank of the adapter's matrices.
        lora_alpha: the adapter's update is scaled by alpha / rank.
        lora_dropout: dropout before the adapter's first matrix.
        target_modules: layers that get an adapter; "all-linear" is every linear layer but the head.
        use_dora: learn the magnitude of each weight row apart from its direction (DoRA): better at low ranks, slower.
        use_rslora: scale the adapter by alpha / sqrt(rank) (rank-stabilised LoRA), so that high ranks learn as fast.
        precision: number format of the weights that are held in memory.
        attention: attention implementation.
        gradient_checkpointing: recompute activations in the backward pass: less memory, about a fifth slower.
        completion_only_loss: learn the assistant's words only, not the questions.
        group_by_length: batch rows of like length together, so that little is padding.
        packing: lay the rows of a micro-batch end to end instead of padding them; each attends to itself only.
        use_liger_kernel: Liger's fused kernels for norms and the loss; NVIDIA GPUs only.
        torch_compile: let PyTorch compile the model: minutes at the start, faster steps; needs a C++ compiler.
        eval_steps: optimizer updates between evaluations.
        save_steps: optimizer updates between checkpoints.
        keep_checkpoints: how many of the newest checkpoints are kept; the best one always is.
        early_stopping_patience: evaluations without a better eval loss before the run ends by itself; 0 is never.
        use_best_checkpoint: keep the weights with the lowest eval loss, not the last ones, as the result.
        sample_prompts: questions answered at each evaluation, so that one sees it learn; empty takes evaluation rows.
        sample_max_tokens: length of these answers; 0 asks none.
        tensorboard: write the curves as TensorBoard files too, into the run's folder.
        seed: of weights, order and dropout.
        device: "auto" takes the GPU when there is one.
        threads: CPU threads of the worker; 0 leaves it to torch.
    """

    name: str
    model: str
    train_file: str
    eval_file: str | None = None
    eval_fraction: float = 0.1
    split_seed: int = 0
    objective: str = "sft"
    method: str = "lora"
    start_from: str | None = None
    scratch_size: str = "30M"
    epochs: float = 3.0
    max_steps: int | None = None
    max_length: int = 1024
    micro_batch_size: int = 4
    gradient_accumulation_steps: int = 4
    learning_rate: float = 2e-4
    lr_scheduler: str = "cosine"
    warmup_fraction: float = 0.03
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    optimizer: str = "adamw_torch"
    beta: float = 0.1
    neftune_noise_alpha: float = 0.0
    lora_rank: int = 16
    lora_alpha: int = 32
    lora_dropout: float = 0.0
    target_modules: str | list[str] = "all-linear"
    use_dora: bool = False
    use_rslora: bool = False
    precision: str = "fp32"
    attention: str = "sdpa"
    gradient_checkpointing: bool = False
    completion_only_loss: bool = True
    group_by_length: bool = True
    packing: bool = False
    use_liger_kernel: bool = False
    torch_compile: bool = False
    eval_steps: int = 20
    save_steps: int = 20
    keep_checkpoints: int = 2
    early_stopping_patience: int = 0
    use_best_checkpoint: bool = True
    sample_prompts: list[str] = field(default_factory=list)
    sample_max_tokens: int = 48
    tensorboard: bool = False
    seed: int = 42
    device: str = "auto"
    threads: int = 0
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def has_adapter(self) -> bool:
        """Whether an adapter learns and the base stays as it is."""
        return self.method in ("lora", "qlora")

    @property
    def is_preference(self) -> bool:
        """Whether it learns which answers are better, rather than the answers."""
        return self.objective in limits.PREFERENCES

    @property
    def effective_batch_size(self) -> int:
        """Rows in one optimizer update."""
        return self.micro_batch_size * self.gradient_accumulation_steps

    def problems(self) -> list[Problem]:
        """Everything wrong with the values, without touching a file. Empty when all is well."""
        return limits.problems(self)

    def check(self) -> None:
        """Look at the values and at the files they name, before anything is loaded.

        Raises:
            UserError: naming every problem.
        """
        found = self.problems()
        for name in ("model", "train_file", "eval_file", "start_from"):
            path = getattr(self, name)
            if path and not Path(path).exists():
                found.append(Problem(f"{path} does not exist.", field=name))
        if found:
            raise UserError("The run configuration cannot be used.", "", "Correct these fields.", found)

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
        known = {f.name for f in fields(cls)}
        problems = [Problem("is missing.", field=name) for name in ("name", "model", "train_file") if name not in state]
        values: dict[str, Any] = {}
        for name in known & state.keys():
            try:
                values[name] = convert(name, state[name])
            except ValueError as error:
                problems.append(Problem(str(error), field=name))
        if problems:
            wrong = {problem.field for problem in problems}
            filled = dict.fromkeys(("name", "model", "train_file"), "x") | values
            problems += [problem for problem in cls(**filled).problems() if problem.field not in wrong]
            raise UserError(
                "The run configuration cannot be used.",
                "Some fields are missing or wrong.",
                f"Correct them, or let the program write the file: {_planned()}",
                problems,
            )
        return cls(**values)


def convert(name: str, value: Any) -> Any:
    """Make `value` (a JSON value, or text that a person typed) fit the field `name`.

    Raises:
        ValueError: with a sentence, when it does not fit.
    """
    return values.convert(str(get_type_hints(RunConfig)[name]), value, prose=name == "sample_prompts")


def default_of(name: str) -> Any:
    """The value that a field has when nobody decides it."""
    return getattr(RunConfig(name="x", model="x", train_file="x"), name)


def field_help() -> dict[str, str]:
    """One sentence a field, taken from the docstring above: the window's tooltips and the terminal's help."""
    import inspect

    text: dict[str, str] = {}
    name = ""
    for line in inspect.cleandoc(RunConfig.__doc__ or "").split("Attributes:")[1].splitlines():
        stripped = line.strip()
        if line.startswith("    ") and not line.startswith("     ") and ":" in stripped:
            name, _, rest = stripped.partition(":")
            text[name] = rest.strip()
        elif stripped and name:
            text[name] += " " + stripped
    return text


def _planned() -> str:
    """The command that writes a configuration."""
    return program.command("plan", "--model", "M", "--data", "FILE", "--out", "RUN.json")


def load(path: Path) -> RunConfig:
    """Read a run configuration from a file.

    Raises:
        UserError: the file is missing, is no JSON object, or holds wrong fields.
    """
    if not path.exists():
        raise UserError(
            f"{path} does not exist.", "", f"Write one: {_planned()}"
        )
    file = path / "run.json" if path.is_dir() else path
    state = files.read_json(file)
    if state is None:
        raise UserError(
            f"{path} is no run configuration.",
            "It is not a JSON object.",
            f"Write one: {_planned()}",
        )
    config = RunConfig.from_dict(state, file)
    unknown = state.keys() - RunConfig.__dataclass_fields__.keys() - NOTES
    if unknown or state.get("kind", "train") != "train":
        problems = [Problem("is no field of a run; it may be misspelt.", field=name) for name in sorted(unknown)]
        if state.get("kind", "train") != "train":
            problems.append(Problem(f"{state['kind']!r} is not allowed; it must be 'train'.", field="kind"))
        raise UserError(f"{path} cannot be used.", "", "Correct these fields.", problems + config.problems())
    return config
