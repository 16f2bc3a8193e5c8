"""Loads a base model with all of its weights, or not at all.

transformers fills what the files don't hold with random numbers and only logs it. The core knows the tensors of the
usual families; here its own report is asked, whatever the architecture.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM

from slmstudio.core.errors import UserError
from slmstudio.core.model.architecture import summed_up

REPORT: dict[str, Any] = {"output_loading_info": True, "ignore_mismatched_sizes": True}
"""What `from_pretrained` is given so that it reports everything that doesn't fit, instead of raising at the first."""


def load(folder: Path | str, **options: Any) -> Any:
    """A model folder in memory. Safetensors only, and no code from the folder.

    Raises:
        UserError: weights are missing, or have other shapes than config.json says.
        as `from_pretrained`.
    """
    model, report = AutoModelForCausalLM.from_pretrained(
        folder, use_safetensors=True, trust_remote_code=False, local_files_only=True, **REPORT, **options)
    need_all(report, Path(folder).name)
    return model


def need_all(report: Mapping[str, Any], name: str) -> None:
    """Refuse a model that isn't wholly what its files hold.

    Args:
        report: what `from_pretrained` returns beside the model when it is given `REPORT`.

    Raises:
        UserError: naming all tensors concerned.
    """
    missing, unknown = sorted(report["missing_keys"]), sorted(report["unexpected_keys"])
    other = sorted(key for key, *_ in report["mismatched_keys"])
    why = []
    if missing:
        why.append(f"Tensors missing from its weights: {summed_up(missing)}. Random numbers would take their place.")
    if other:
        why.append(f"Tensors with another shape than config.json says: {summed_up(other)}.")
    if why and unknown:
        why.append(f"Its files hold tensors that the model doesn't have: {summed_up(unknown)}.")
    if why:
        raise UserError(f"{name} cannot be used: its weights aren't complete.", " ".join(why),
                        "Put the model's own files in their place, or choose another model.")
