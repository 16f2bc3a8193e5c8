"""Which tensor on the disk is which of the model's, as transformers itself tells it when it loads a folder.

The hub's files often have different names from the modules: Gemma 3's have `language_model.model.layers…` for
`model.language_model.layers…`, and experts of a mixture lie apart that are one tensor in memory. PEFT names what it
changes by the modules, the converter knows the names on the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch


class DiskNames:
    """The tensors on the disk by the names of the model's parameters.

    Attributes:
        plain: parameter: name on the disk, of those that are stored unchanged.
        joined: parameter: names on the disk, of those that transformers joins when it loads them.
    """

    def __init__(self, model: Any, on_disk: Iterable[str]):
        """
        Args:
            model: transformers' model; its weights aren't looked at.
            on_disk: names of the tensors in the folder.
        """
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

        steps = get_model_conversion_mapping(model)
        renamings = [step for step in steps if isinstance(step, WeightRenaming)]
        self._model = model
        self._converters = {pattern: step for step in steps if isinstance(step, WeightConverter)
                            for pattern in step.source_patterns}
        converters = list(dict.fromkeys(self._converters.values()))
        known = model.state_dict()
        self.plain: dict[str, str] = {}
        self.joined: dict[str, list[str]] = {}
        self._patterns: dict[str, str] = {}
        for name in on_disk:
            parameter, pattern = rename_source_key(name, renamings, converters, model.base_model_prefix, known)
            if pattern is None or parameter == name:
                self.plain[parameter] = name
            else:
                self.joined.setdefault(parameter, []).append(name)
                self._patterns[name] = pattern

    def join(self, parameter: str, read: Callable[[str], torch.Tensor]) -> torch.Tensor:
        """Put one of `joined` together from its parts, in transformers' own way."""
        from transformers.core_model_loading import dot_natural_key

        names = sorted(self.joined[parameter], key=dot_natural_key)
        converter = deepcopy(self._converters[self._patterns[names[0]]])
        for name in names:
            converter.add_tensor(parameter, name, self._patterns[name], read(name))  # type: ignore[arg-type]
        made = converter.convert(parameter, model=self._model, config=self._model.config)[parameter]
        return made[0] if isinstance(made, list) else made


def names_on_disk(base: Path, on_disk: Iterable[str]) -> dict[str, str]:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(base, local_files_only=True, trust_remote_code=False)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    return DiskNames(model, on_disk).plain
