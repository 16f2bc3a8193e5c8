"""Loads a base model with all of its weights, or not at all.

transformers fills what the files don't hold with random numbers and only logs it. The core knows the tensors of the
usual families; here its own report is asked, whatever the architecture.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoModelForCausalLM

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.model.architecture import summed_up
from slmstudio.core.model.json_files import printable

REPORT: dict[str, Any] = {"output_loading_info": True, "ignore_mismatched_sizes": True}
"""What `from_pretrained` is given so that it reports everything that doesn't fit, instead of raising at the first."""


def load(folder: Path | str, **options: Any) -> Any:
    """A model folder in memory. Safetensors only, and no code from the folder.

    Raises:
        UserError: weights are missing, or have shapes that differ from config.json; or transformers can't make a model
            of the folder.
    """
    with in_words(folder):
        model, report = AutoModelForCausalLM.from_pretrained(
            folder, use_safetensors=True, trust_remote_code=False, local_files_only=True, **REPORT, **options)
    need_all(report, Path(folder).name)
    return model


@contextmanager
def in_words(folder: Path | str) -> Iterator[None]:
    """Whatever transformers finds wrong with a folder's settings becomes a sentence: the folder may be anybody's.

    Raises:
        UserError: it found something.
    """
    try:
        yield
    except (StrictDataclassError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError,
            AssertionError) as error:
        said = printable(" ".join(str(error).split()).rstrip("."), 300)
        raise UserError(tr("{name} can't be loaded.", name=Path(folder).name),
                        tr("transformers says: {message}",
                           message=f"{type(error).__name__}: {said}." if said else f"{type(error).__name__}."),
                        tr("Put the model's own files in their place, or choose another model.")) from error


def need_numbers(model: Any, name: str) -> None:
    """Refuse weights with NaN or infinity among them, which make a loss of NaN. A sum has them where a part has.

    Raises:
        UserError: naming all tensors concerned.
    """
    with torch.no_grad():
        broken = [key for key, tensor in model.named_parameters() if tensor.is_floating_point()
                  and tensor.device.type != "meta" and not torch.isfinite(tensor.sum(dtype=torch.float32))]
    if broken:
        raise UserError(tr("{name} can't be used: some of its weights aren't numbers.", name=name),
                        tr("NaN or infinity was found in {names}.", names=summed_up(broken)),
                        tr("Download the model again."))


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
        why.append(tr("Tensors missing from its weights: {names}. Random numbers would be used instead.",
                      names=summed_up(missing)))
    if other:
        why.append(tr("Tensors that don't have the shape that config.json says: {names}.", names=summed_up(other)))
    if why and unknown:
        why.append(tr("Its files contain tensors that the model doesn't have: {names}.", names=summed_up(unknown)))
    if why:
        raise UserError(tr("{name} can't be used: its weights aren't complete.", name=name), " ".join(why),
                        tr("Put the model's own files in their place, or choose another model."))
