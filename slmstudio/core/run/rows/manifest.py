"""What a run's folder says about the rows that it keeps: how many, from which files, and their checksums."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from slmstudio.core import formats
from slmstudio.core.data import split as split_rows
from slmstudio.core.data.reader import Dataset
from slmstudio.core.errors import Problem
from slmstudio.core.run.config import RunConfig

TRAIN, EVALUATION = "train", "eval"
SIDES = (TRAIN, EVALUATION)
NAMED_PROBLEMS = 20
"""Problems of a file that are kept with their lines; all of them are counted."""


@dataclass(frozen=True)
class Side:
    """The rows that are learned, or those that are evaluated.

    Attributes:
        layout: of the file that they come from.
        sha256: of their lines, uncompressed, in hexadecimal.
    """

    rows: int
    layout: str
    sha256: str


@dataclass(frozen=True)
class SourceFile:
    """A file as it was when its rows were kept.

    Attributes:
        sha256: of its bytes, in hexadecimal.
        problems: how many rows had problems and were left out. named: the first of these.
        mapping: which columns were read as what, if the user chose that.
    """

    path: str
    bytes: int
    sha256: str
    encoding: str
    problems: int = 0
    named: tuple[Problem, ...] = ()
    mapping: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return Path(self.path).name

    @classmethod
    def of(cls, dataset: Dataset) -> SourceFile:
        return cls(str(dataset.path.absolute()), dataset.bytes, dataset.sha256, dataset.encoding,
                   len(dataset.problems), tuple(dataset.problems[:NAMED_PROBLEMS]),
                   dict(getattr(dataset, "mapping", None) or {}))


@dataclass(frozen=True)
class Manifest:
    """
    Attributes:
        sides: "train" and "eval".
        sources: by the field of the configuration that names the file.
        split: `eval_fraction`, `split_seed` and `split_by` where the evaluation rows were split off; otherwise empty. A
            run from before `split_by` has none.
    """

    sides: dict[str, Side]
    sources: dict[str, SourceFile]
    split: dict[str, Any]

    def is_of(self, config: RunConfig) -> bool:
        """Whether the configuration still asks for these rows."""
        asked = {name: str(Path(path).absolute()) for name in ("train_file", "eval_file")
                 if (path := getattr(config, name))}
        split = self.split and {"split_by": split_rows.ROWS, **self.split}
        return split == split_of(config) and asked == {name: file.path for name, file in self.sources.items()}

    def to_dict(self) -> dict[str, Any]:
        sources = {name: {"name": file.name, **asdict(file)} for name, file in self.sources.items()}
        return {**formats.stamp("rows"), "sides": {name: asdict(side) for name, side in self.sides.items()},
                "sources": sources, "split": self.split}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Manifest:
        """Raises KeyError, TypeError, AttributeError, ValueError: the state is damaged."""
        sides = {name: Side(int(each["rows"]), str(each["layout"]), str(each["sha256"]))
                 for name, each in state["sides"].items()}
        sources = {name: SourceFile(
            str(each["path"]), int(each["bytes"]), str(each["sha256"]), str(each["encoding"]), int(each["problems"]),
            tuple(Problem(**problem) for problem in each["named"]), dict(each["mapping"]))
            for name, each in state["sources"].items()}
        if sides.keys() != set(SIDES) or "train_file" not in sources:
            raise ValueError("not all is there")
        return cls(sides, sources, dict(state["split"]))


def split_of(config: RunConfig) -> dict[str, Any]:
    """How the configuration splits rows off; empty if they have a file of their own."""
    if config.eval_file:
        return {}
    return {"eval_fraction": config.eval_fraction, "split_seed": config.split_seed, "split_by": config.split_by}
