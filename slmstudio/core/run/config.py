"""The configuration of one training run: every knob, in one file, with the field's own names."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

from slmstudio.core import files
from slmstudio.core.errors import Problem, UserError

FORMAT = 1
METHODS = ("lora", "full")
PRECISIONS = ("fp32", "bf16", "fp16")
SCHEDULERS = ("linear", "cosine", "constant", "constant_with_warmup")
OPTIMIZERS = ("adamw_torch", "adamw_torch_fused", "adafactor", "sgd")
DEVICES = ("auto", "cpu", "cuda")
ATTENTION = ("sdpa", "eager", "flash_attention_2")


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
        method: "lora" (an adapter learns, the base is frozen) or "full" (every weight learns).
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
        lora_rank: rank of the adapter's matrices.
        lora_alpha: the adapter's update is scaled by alpha / rank.
        lora_dropout: dropout before the adapter's first matrix.
        target_modules: layers that get an adapter; "all-linear" is every linear layer but the head.
        precision: number format of the weights that are held in memory.
        attention: attention implementation.
        gradient_checkpointing: recompute activations in the backward pass: less memory, about a fifth slower.
        completion_only_loss: learn the assistant's words only, not the questions.
        group_by_length: batch rows of like length together, so that little is padding.
        eval_steps: optimizer updates between evaluations.
        save_steps: optimizer updates between checkpoints.
        keep_checkpoints: how many of the newest checkpoints are kept; the best one always is.
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
    method: str = "lora"
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
    lora_rank: int = 16
    lora_alpha: int = 32
    lora_dropout: float = 0.0
    target_modules: str | list[str] = "all-linear"
    precision: str = "fp32"
    attention: str = "sdpa"
    gradient_checkpointing: bool = False
    completion_only_loss: bool = True
    group_by_length: bool = True
    eval_steps: int = 20
    save_steps: int = 20
    keep_checkpoints: int = 2
    seed: int = 42
    device: str = "auto"
    threads: int = 0
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def effective_batch_size(self) -> int:
        """Rows in one optimizer update."""
        return self.micro_batch_size * self.gradient_accumulation_steps

    def problems(self) -> list[Problem]:
        """Everything wrong with the values, without touching a file. Empty when all is well."""
        found: list[Problem] = []

        def need(name: str, ok: bool, limit: str) -> None:
            if not ok:
                found.append(Problem(f"{getattr(self, name)!r} is not allowed; it must be {limit}.", field=name))

        for name in ("name", "model", "train_file"):
            need(name, bool(str(getattr(self, name)).strip()), "filled in")
        for name, allowed in (
            ("method", METHODS),
            ("precision", PRECISIONS),
            ("lr_scheduler", SCHEDULERS),
            ("optimizer", OPTIMIZERS),
            ("device", DEVICES),
            ("attention", ATTENTION),
        ):
            need(name, getattr(self, name) in allowed, "one of " + ", ".join(allowed))
        for name, low, high in (
            ("max_length", 8, 1_048_576),
            ("micro_batch_size", 1, 4096),
            ("gradient_accumulation_steps", 1, 4096),
            ("lora_rank", 1, 4096),
            ("lora_alpha", 1, 65536),
            ("eval_steps", 1, 10**9),
            ("save_steps", 1, 10**9),
            ("keep_checkpoints", 1, 10**6),
            ("threads", 0, 1024),
            ("seed", 0, 2**32 - 1),
            ("split_seed", 0, 2**32 - 1),
        ):
            need(name, low <= getattr(self, name) <= high, f"from {low:,} to {high:,}")
        need("max_steps", self.max_steps is None or self.max_steps >= 1, "at least 1, or empty")
        need("epochs", 0 < self.epochs <= 10_000, "above 0 and at most 10,000")
        need("learning_rate", 0 < self.learning_rate <= 1, "above 0 and at most 1")
        need("eval_fraction", 0 <= self.eval_fraction <= 0.5, "from 0 to 0.5")
        need("warmup_fraction", 0 <= self.warmup_fraction < 1, "from 0 to below 1")
        need("weight_decay", 0 <= self.weight_decay <= 1, "from 0 to 1")
        need("max_grad_norm", self.max_grad_norm > 0, "above 0")
        need("lora_dropout", 0 <= self.lora_dropout < 1, "from 0 to below 1")
        return found

    def check(self) -> None:
        """Look at the values and at the files they name, before anything is loaded.

        Raises:
            UserError: naming every problem.
        """
        found = self.problems()
        for name in ("model", "train_file", "eval_file"):
            path = getattr(self, name)
            if path and not Path(path).exists():
                found.append(Problem(f"{path} does not exist.", field=name))
        if found:
            raise UserError("The run configuration cannot be used.", "", "Correct these fields.", found)

    def to_dict(self) -> dict[str, Any]:
        return {"format": FORMAT, "kind": "train", **asdict(self)}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> RunConfig:
        """Read a configuration back. Keys that this version does not know are ignored.

        Raises:
            UserError: a newer format, a missing field, or a value of the wrong type: all at once.
        """
        if not isinstance(state.get("format", FORMAT), int):
            raise UserError("The run configuration cannot be used.", "Its format is no whole number.",
                            "Let `slmstudio plan` write the file.")
        if state.get("format", FORMAT) > FORMAT:
            raise UserError(
                "This run was made by a newer SLM Studio.",
                f"Its format is {state['format']}, this program reads up to {FORMAT}.",
                "Update SLM Studio.",
            )
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
                "Correct them, or let `slmstudio plan` write the file.",
                problems,
            )
        return cls(**values)


ALIASES = {
    "per_device_train_batch_size": "micro_batch_size",
    "num_train_epochs": "epochs",
    "max_seq_length": "max_length",
    "lr": "learning_rate",
    "lr_scheduler_type": "lr_scheduler",
    "warmup_ratio": "warmup_fraction",
    "optim": "optimizer",
    "attn_implementation": "attention",
    "rank": "lora_rank",
    "alpha": "lora_alpha",
}
"""Names that other trainers use for the same thing, accepted by `--set`."""


def convert(name: str, value: Any) -> Any:
    """Make `value` (a JSON value, or text that a person typed) fit the field `name`.

    Raises:
        ValueError: with a sentence, when it does not fit.
    """
    hint = str(get_type_hints(RunConfig)[name])
    if value is None or (isinstance(value, str) and value.strip().lower() in ("none", "null", "")):
        if "None" in hint:
            return None
        if not isinstance(value, str) or "str" not in hint:
            raise ValueError("must not be empty.")
    try:
        if "dict" in hint:
            return dict(value)
        if "bool" in hint:
            return _to_bool(value)
        if "int" in hint and "str" not in hint:
            if isinstance(value, bool) or (isinstance(value, float) and value != int(value)):
                raise ValueError
            return int(value)
        if "float" in hint:
            if isinstance(value, bool):
                raise ValueError
            return float(value)
        if "list" in hint:
            if isinstance(value, list):
                return [str(item) for item in value]
            return [part.strip() for part in value.split(",")] if "," in value else str(value)
        if not isinstance(value, str):
            raise ValueError
        return value
    except (ValueError, TypeError, OverflowError) as error:
        wanted = next(
            word
            for key, word in (
                ("bool", "true or false"),
                ("int", "a whole number"),
                ("float", "a number"),
                ("str", "text"),
                ("dict", "an object"),
            )
            if key in hint
        )
        raise ValueError(f"{value!r} is not allowed; it must be {wanted}.") from error


def _to_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in ("true", "yes", "on", "1"):
        return True
    if isinstance(value, str) and value.strip().lower() in ("false", "no", "off", "0"):
        return False
    raise ValueError


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


def load(path: Path) -> RunConfig:
    """Read a run configuration from a file.

    Raises:
        UserError: the file is missing, is no JSON object, or holds wrong fields.
    """
    if not path.exists():
        raise UserError(
            f"{path} does not exist.", "", "Write one with `slmstudio plan --model M --data FILE --out RUN.json`."
        )
    state = files.read_json(path / "run.json" if path.is_dir() else path)
    if state is None:
        raise UserError(
            f"{path} is no run configuration.",
            "It is not a JSON object.",
            "Write one with `slmstudio plan --model M --data FILE --out RUN.json`.",
        )
    config = RunConfig.from_dict(state)
    unknown = state.keys() - RunConfig.__dataclass_fields__.keys() - {"format", "kind", "protocol", "created"}
    if unknown or state.get("kind", "train") != "train":
        problems = [Problem("is no field of a run; it may be misspelt.", field=name) for name in sorted(unknown)]
        if state.get("kind", "train") != "train":
            problems.append(Problem(f"{state['kind']!r} is not allowed; it must be 'train'.", field="kind"))
        raise UserError(f"{path} cannot be used.", "", "Correct these fields.", problems + config.problems())
    return config
