"""Conversations as files: JSON to open again, Markdown to read."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from slmstudio.core import files
from slmstudio.core.errors import UserError, from_os_error

FORMAT = 1


@dataclass
class Lane:
    """One model's side of a conversation.

    Attributes:
        model: the GGUF file's path.
        turns: messages with "role" and "content"; an answer has its figures in "figures".
    """

    model: str
    turns: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Transcript:
    """A conversation with one model, or with two side by side.

    Attributes:
        created: seconds since 1970.
        settings: system prompt, temperature, top_p, max_tokens and seed at the last question.
    """

    created: float
    settings: dict[str, Any]
    lanes: list[Lane]

    @property
    def title(self) -> str:
        """The first question, cut to a line."""
        first = next((turn["content"] for lane in self.lanes for turn in lane.turns if turn["role"] == "user"), "")
        line = " ".join(first.split())
        return line if len(line) <= 60 else line[:59] + "…"

    def to_json(self) -> str:
        return files.dump_pretty({"format": FORMAT, "title": self.title, **asdict(self)})

    @classmethod
    def read(cls, path: Path) -> Transcript:
        """
        Raises:
            UserError: the file is missing or is no transcript.
        """
        try:
            state = files.read_json(path)
            if state is None:
                raise ValueError("no JSON object")
            lanes = [Lane(str(lane["model"]), [dict(turn) for turn in lane["turns"]]) for lane in state["lanes"]]
            for lane in lanes:
                for turn in lane.turns:
                    if turn["role"] not in ("user", "assistant") or not isinstance(turn["content"], str):
                        raise ValueError("a message has no text")
            return cls(float(state["created"]), dict(state["settings"]), lanes)
        except OSError as error:
            raise from_os_error(error, "open the conversation") from error
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path.name} is no conversation.", f"It cannot be read: {error}.",
                            "Choose a file that Chat has saved.") from error

    def to_markdown(self) -> str:
        """The conversation to read. Two models that were asked the same stand together below each question."""
        names = [Path(lane.model).stem for lane in self.lanes]
        lines = [f"# {self.title}", "", time.strftime("%Y-%m-%d %H:%M", time.localtime(self.created)), ""]
        lines += [f"- {key}: {value}" for key, value in {"model": ", ".join(names), **self.settings}.items() if value]
        asked = [[turn["content"] for turn in lane.turns if turn["role"] == "user"] for lane in self.lanes]
        together = all(questions == asked[0] for questions in asked)
        said = [[(name, number > 0, turn) for turn in lane.turns]
                for number, (name, lane) in enumerate(zip(names, self.lanes, strict=True))]
        order = (each for row in zip_longest(*said) for each in row if each) if together else chain.from_iterable(said)
        for name, second, turn in order:
            if turn["role"] == "user" and second and together:
                continue
            lines += ["", f"## {'You' if turn['role'] == 'user' else name}", "", turn["content"].strip()]
        return "\n".join(lines) + "\n"


def write(path: Path, text: str) -> None:
    """
    Raises:
        UserError: it cannot be written.
    """
    try:
        files.write_atomically(path, text)
    except OSError as error:
        raise from_os_error(error, "save the conversation") from error


def save(transcript: Transcript, path: Path) -> None:
    """Write NAME.json, and NAME.md beside it.

    Raises:
        UserError: one of them cannot be written.
    """
    write(path.with_suffix(".json"), transcript.to_json())
    write(path.with_suffix(".md"), transcript.to_markdown())


def all_transcripts(folder: Path) -> list[tuple[Path, Transcript]]:
    """The saved conversations, newest first. Files that are none are passed over."""
    found = []
    for path in folder.glob("*.json"):
        try:
            found.append((path, Transcript.read(path)))
        except UserError:
            continue
    return sorted(found, key=lambda each: -each[1].created)
