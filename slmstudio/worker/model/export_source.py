"""What is exported, and where its full-precision weights are."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from slmstudio.core import jobs, paths
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.model.facts import ModelFacts, read_model
from slmstudio.core.run import folder as run_folder
from slmstudio.worker.model.base_weights import BaseWeights


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
