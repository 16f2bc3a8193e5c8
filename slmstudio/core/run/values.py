"""From what a person typed, or a file holds, to the type of a run's field."""

from __future__ import annotations

from typing import Any

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


METHOD_WORDS: dict[str, dict[str, Any]] = {
    "dora": {"method": "lora", "use_dora": True},
    "rslora": {"method": "lora", "use_rslora": True},
    "qdora": {"method": "qlora", "use_dora": True},
    "pretrain": {"method": "full", "objective": "text"},
    "continued_pretraining": {"method": "full", "objective": "text"},
    "dpo": {"objective": "dpo"},
    "orpo": {"objective": "orpo"},
    "kto": {"objective": "kto"},
}
"""What people call a method and what it is in our fields, accepted by `--set method=...`."""


def convert(hint: str, value: Any, prose: bool = False) -> Any:
    """Make `value` (a JSON value, or text that a person typed) fit a field.

    Args:
        hint: the field's type, as text.
        prose: a list is typed one entry a line, because commas belong to its texts.

    Raises:
        ValueError: with a sentence, when it does not fit.
    """
    if value is None or (isinstance(value, str) and value.strip().lower() in ("none", "null", "")):
        if "None" in hint:
            return None
        if prose:
            return []
        if not isinstance(value, str) or "str" not in hint or "list" in hint:
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
            if prose:
                return [line.strip() for line in value.splitlines() if line.strip()]
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
