"""What is exported: base weights and an adapter, merged a few rows at a time, so that no merged model is ever whole in
memory; and where the base's full-precision weights are."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from slmstudio.core import files, jobs, paths
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.model import peft_adapter
from slmstudio.core.model.facts import ModelFacts, read_model
from slmstudio.core.model.json_files import read_json_object
from slmstudio.core.model.peft_adapter import CONFIG, MAGNITUDE, PREFIX, WEIGHTS, A, B, need_loadable, of_pattern
from slmstudio.core.run import folder as run_folder
from slmstudio.worker.model.base_weights import Array, BaseWeights, names_on_disk

_UNKNOWN_HERE = ("layer_replication", "trainable_token_indices", "alora_invocation_tokens", "use_qalora")


class Adapter:
    """A LoRA adapter as PEFT writes it: adapter_config.json and adapter_model.safetensors.

    W' = W + scale · B A, with scale = alpha / r, or alpha / sqrt(r) for rank-stabilised LoRA (Kalajdzievski 2023).
    DoRA (Liu et al. 2024) scales each row of W' to its learned magnitude. Layers that were trained whole
    (`modules_to_save`) replace the base's.

    Attributes:
        replaced: tensors that were trained whole, by name, float32; the base may not even have one, as with a head
            untied from the embeddings.
        scales: what B · A is multiplied by, by the tensor's name.

    Raises:
        UserError: it isn't a LoRA adapter, or uses what isn't known here.
    """

    def __init__(self, folder: Path):
        self._config = _read_config(folder)
        need_loadable(folder)
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            tensors = {name.removeprefix(PREFIX): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        self._lora: dict[str, dict[str, torch.Tensor]] = {}
        self.replaced: dict[str, torch.Tensor] = {}
        for name, tensor in tensors.items():
            for ending in (A, B, MAGNITUDE):
                if name.endswith(ending):
                    self._lora.setdefault(name.removesuffix(ending) + ".weight", {})[ending] = tensor.float()
                    break
            else:
                if ".lora_" in name:
                    raise UserError(tr("The adapter can't be merged."),
                                    tr("{tensor} is of an unsupported kind.", tensor=name),
                                    tr("Train with LoRA on linear layers."))
                self.replaced[name] = tensor.float()
        self.scales: dict[str, float] = {}
        for name, parts in self._lora.items():
            rank = parts[A].shape[0]
            alpha = float(of_pattern(self._config.get("alpha_pattern"), name.removesuffix(".weight"),
                                     self._config["lora_alpha"]))
            self.scales[name] = alpha / math.sqrt(rank) if self._config.get("use_rslora") else alpha / rank

    @property
    def targets(self) -> frozenset[str]:
        """Names of the base tensors that this adapter changes or replaces."""
        return frozenset(self._lora) | frozenset(self.replaced)

    def rename(self, names: Mapping[str, str]) -> None:
        """Call the tensors as the base's files do, where those differ from the modules' names, which PEFT writes."""
        self._lora, self.replaced, self.scales = (
            {names.get(name, name): value for name, value in each.items()}
            for each in (self._lora, self.replaced, self.scales))

    def rows(self, name: str, weight: torch.Tensor, start: int, stop: int) -> torch.Tensor:
        """Rows of a merged tensor that LoRA changes, float32; every row is merged by itself.

        Args:
            weight: the base's rows from `start` to `stop`.
        """
        parts = self._lora[name]
        if self._config.get("fan_in_fan_out"):
            update = parts[A][:, start:stop].T @ parts[B].T
        else:
            update = parts[B][start:stop] @ parts[A]
        merged = weight.float() + self.scales[name] * update
        if MAGNITUDE in parts:
            merged *= (parts[MAGNITUDE][start:stop] / torch.linalg.norm(merged, dim=1))[:, None]
        return merged

    def low_rank(self) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """Name: A (rank, in) and B (out, rank) of every tensor that LoRA changes, float32.

        Raises:
            UserError: the adapter does more than add B · A.
        """
        if self.replaced or any(MAGNITUDE in parts for parts in self._lora.values()):
            raise UserError(tr("This adapter can't become a GGUF LoRA."),
                            tr("It contains whole layers. A GGUF LoRA only adds products of two small matrices.")
                            if self.replaced else
                            tr("It's a DoRA adapter. A GGUF LoRA only adds products of two small matrices."),
                            tr("Export a whole model, for instance as Q8_0."))
        return {name: (parts[A], parts[B]) for name, parts in self._lora.items()}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name: shape that the base's tensor must have."""
        found = {name: tuple(tensor.shape) for name, tensor in self.replaced.items()}
        for name, parts in self._lora.items():
            shape = (parts[B].shape[0], parts[A].shape[1])
            found[name] = shape[::-1] if self._config.get("fan_in_fan_out") else shape
        return found


def _read_config(folder: Path) -> dict[str, Any]:
    if missing := [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]:
        raise UserError(tr("The adapter {folder} can't be read.", folder=folder),
                        tr("{file} is missing.", file=missing[0]), tr("Choose a run that has finished, or resume it."))
    config = read_json_object(folder / CONFIG)
    unknown = [name for name in _UNKNOWN_HERE if config.get(name)]
    if config.get("peft_type") != "LORA" or unknown:
        why = (tr("It uses {settings}.", settings=", ".join(unknown)) if unknown else
               tr("It is an adapter of type {kind!r}.", kind=config.get("peft_type")))
        raise UserError(tr("The adapter can't be merged."), why,
                        tr("Only plain LoRA, rank-stabilised LoRA and DoRA can be merged."))
    return config


CHUNK_VALUES = 2 * 2**20
"""Values that are merged at a time: 8 MB of float32."""


class MergedWeights:
    """The weights that were trained, float32, under the base model's names.

    Attributes:
        names: of all tensors; where the adapter brought one that the base doesn't have, that too.
        adapter: what is added to them, under the same names; None if nothing is.

    Raises:
        UserError: the weights can't be read, or the adapter is of another base.
    """

    def __init__(self, base: Path, adapter: Path | None):
        self.base = BaseWeights(base)
        self.adapter = Adapter(adapter) if adapter is not None else None
        self.names = list(self.base.tensors)
        if self.adapter is None:
            return
        if not self.adapter.targets <= self.base.tensors.keys():
            self.adapter.rename(names_on_disk(base, self.names))
        for name in sorted(self.adapter.targets - self.base.tensors.keys()):
            if name not in self.adapter.replaced:
                raise peft_adapter.of_another_base(tr("The base has no {tensor}.", tensor=name))
            self.names.append(name)
        self._check_shapes(self.adapter)

    def _check_shapes(self, adapter: Adapter) -> None:
        for name, shape in adapter.shapes().items():
            if name in self.base.tensors and self.base.shape(name) != shape:
                raise peft_adapter.of_another_base(
                    tr("{tensor} has the shape {theirs} in the base, but {own} in the adapter.", tensor=name,
                       theirs=self.base.shape(name), own=shape))

    def is_changed(self, name: str) -> bool:
        return self.adapter is not None and name in self.adapter.targets

    def shape(self, name: str) -> tuple[int, ...]:
        if self.adapter is not None and name in self.adapter.replaced:
            return tuple(self.adapter.replaced[name].shape)
        return self.base.shape(name)

    def row_count(self, name: str) -> int:
        """A vector counts as one row."""
        shape = self.shape(name)
        return shape[0] if len(shape) > 1 else 1

    def rows(self, name: str, start: int, stop: int) -> Array:
        """Rows of a merged tensor, float32 (stop - start, ...)."""
        if self.adapter is None or name not in self.adapter.targets:
            return self.base.rows(name, start, stop)
        if name in self.adapter.replaced:
            return self.adapter.replaced[name].reshape(self.row_count(name), -1)[start:stop].numpy()
        weight = torch.from_numpy(self.base.rows(name, start, stop))
        return self.adapter.rows(name, weight, start, stop).numpy()

    def whole(self, name: str) -> Array:
        """A merged tensor in its own shape, float32."""
        return self.rows(name, 0, self.row_count(name)).reshape(self.shape(name))

    def chunks(self, name: str) -> list[tuple[int, int]]:
        """Parts of a tensor of about `CHUNK_VALUES` values, as (first row, end)."""
        shape = self.shape(name)
        count = self.row_count(name)
        return row_ranges(count, torch.Size(shape).numel() // max(1, count))


def row_ranges(count: int, width: int) -> list[tuple[int, int]]:
    """`count` rows of `width` values in parts of about `CHUNK_VALUES` values."""
    step = max(1, CHUNK_VALUES // max(1, width))
    return [(start, min(count, start + step)) for start in range(0, count, step)]


# -- Where a model's generation ends: the token that its chat template puts behind an answer must be among the ends
# that its files name, or programs that go by those files never stop.

FILE = "generation_config.json"


def with_end(ends: Any, end: int) -> int | list[int]:
    """`eos_token_id` of a configuration, one id or several or none, with `end` among them."""
    known = ends if isinstance(ends, list) else [] if ends is None else [ends]
    found = [*known, *({end} - set(known))]
    return found[0] if len(found) == 1 else found


def write(base: Path, end: int, target: Path) -> None:
    """Write the base's generation_config.json into `target`, with `end` among its ends.

    Raises:
        OSError: it can't be written.
    """
    state: dict[str, Any] = {}
    for name in ("config.json", FILE):
        with contextlib.suppress(UserError):  # a model need not have the second
            found = read_json_object(base / name)
            state = found if name == FILE else {"eos_token_id": found.get("eos_token_id")}
    state.pop("_from_model_config", None)  # or transformers would make it from config.json again
    files.write_atomically(target / FILE, files.dump_pretty(
        {**state, "eos_token_id": with_end(state.get("eos_token_id"), end)}))


@dataclass(frozen=True)
class Source:
    """A base model with an adapter, or a model that stands alone.

    Attributes:
        name: of the files, and inside them.
        rows: dataset files with the user's own rows, for the proof.
    """

    name: str
    base: Path
    adapter: Path | None
    folder: Path
    rows: tuple[Path, ...] = ()

    @classmethod
    def of(cls, folder: Path) -> Source:
        """Look into a run folder or a model folder.

        Raises:
            UserError: there is nothing to export in it, or another adapter or model than the run has left there.
        """
        if not (folder / jobs.RUN).is_file():
            return cls(run_folder.slug(folder.name), folder, None, folder)
        config = run_folder.summarise(folder).config
        result = run_folder.result_folder(folder)
        if result is None:
            raise UserError(tr("{folder} has nothing to export yet.", folder=folder.name),
                            tr("The run produced neither an adapter nor a model."), tr("Let it finish, or resume it."))
        run_folder.need_own_result(result)
        rows = tuple(Path(path) for path in (config.eval_file, config.train_file) if path)
        name = run_folder.slug(config.name)
        if result.name == run_folder.MODEL:
            return cls(name, result, None, folder, rows)
        return cls(name, Path(config.model), result, folder, rows)


def in_full_precision(source: Source, facts: ModelFacts) -> tuple[Source, str]:
    """If the base is stored in 4 bits: the same source with the weights it was made from, if they are on this machine.

    Returns:
        The source, and a sentence that says into which weights the adapter goes; empty if there is no choice.

    Raises:
        UserError: the weights are packed in a way that can't be unpacked here.
    """
    if not facts.quantization:
        return source, ""
    if facts.quantization != "bitsandbytes 4-bit":
        raise UserError(tr("{model} can't be exported.", model=facts.name),
                        tr("Its weights are packed ({quantization}).", quantization=facts.quantization),
                        tr("Use the same model with plain bf16 or fp16 weights as the base."))
    for folder in _candidates(source.base):
        if _is_original(source.base, facts, folder):
            return (dataclasses.replace(source, base=folder),
                    tr("The base is stored in 4 bits. The export uses the full-precision weights in {folder}.",
                       folder=folder.name))
    return source, tr("The base is stored in 4 bits and its full-precision weights aren't on this machine, so they "
                      "were unpacked from the 4 bits. That is what was trained, but a little worse than the original.")


def _candidates(base: Path) -> list[Path]:
    parents = {base.parent, paths.models_dir()}
    return sorted(folder for parent in parents if parent.is_dir() for folder in parent.iterdir()
                  if (folder / "config.json").is_file() and folder != base)


def _is_original(packed: Path, facts: ModelFacts, folder: Path) -> bool:
    """Whether a folder holds the weights that were packed: same shapes, and equal vectors, which are never packed."""
    try:
        other = read_model(folder)
    except UserError:
        return False
    alike = ("architecture", "hidden_size", "layers", "vocabulary_size", "intermediate_size")
    if other.quantization or any(getattr(other, name) != getattr(facts, name) for name in alike):
        return False
    ours, theirs = BaseWeights(packed), BaseWeights(folder)
    vectors = [name for name, tensor in ours.tensors.items() if len(tensor.shape) == 1 and name not in ours.packed]
    return bool(vectors) and all(name in theirs.tensors and theirs.shape(name) == ours.shape(name)
                                 and (ours.whole(name) == theirs.whole(name)).all() for name in vectors)
