"""What a user has kept of an evaluation instead of the tuned model alone: RUN/assistant.json, with its rows beside it.

    {"rival": its name, "system": text or null, "context": null or as in `chat.context`,
     "model": null for the run's result, else {"model": folder or "gguf": path, …} of the base}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from slmstudio.core import formats, jobs
from slmstudio.core.chat.context import Context, CountTokens, Messages, with_system
from slmstudio.core.run import folder as run_folder

ASSISTANT, ASSISTANT_ROWS = "assistant.json", "assistant-rows.jsonl"


@dataclass
class Assistant:
    """
    Attributes:
        folder: where its rows are.
        system: None for that of whoever asks.
        model: of the request whose base answers; None for the run's result.
    """

    folder: Path
    rival: str
    system: str | None
    context: Mapping[str, Any] | None
    model: Mapping[str, Any] | None

    @cached_property
    def rows(self) -> Context | None:
        """Raises UserError: they can't be read."""
        return None if self.context is None else Context(self.context, self.folder)

    def load_options(self) -> dict[str, Any]:
        """What the first command of a worker for chat or the server says of it, so that it may read the files."""
        return {"assistant": str(self.folder.absolute()), **{key: value for key, value in (self.model or {}).items()
                                                             if key == "model"}}

    def with_system(self, messages: Messages, takes_system: bool = True) -> list[dict[str, Any]]:
        """The conversation with its system prompt, unless it has one of its own."""
        has_own = messages[0]["role"] == "system"
        return [dict(each) for each in (messages if has_own else with_system(messages, self.system, takes_system))]

    def ask(self, messages: Messages, count: CountTokens, room: int, takes_system: bool) -> list[dict[str, Any]]:
        """The conversation as the model is asked. Args and errors as of `Context.ask`."""
        asked = self.with_system(messages, takes_system)
        if self.rows is None:
            return asked
        return [dict(each) for each in self.rows.ask(asked, count, room, takes_system).messages]


def read(folder: Path) -> Assistant | None:
    """What was kept in the folder of a run, or of a trial; None if nothing was.

    Raises:
        UserError: a newer program wrote it.
    """
    found = formats.read("assistant", folder / ASSISTANT)
    if found is None:
        return None
    return Assistant(folder, str(found["rival"]), found.get("system"), found.get("context"), found.get("model"))


def of_model(path: Path) -> Assistant | None:
    """What answers for a model in Chat or the server: a run's, or that of an export of a run whose result it is."""
    if path.is_dir():
        return read(path)
    run = path.parent.parent
    found = read(run) if path.parent.name == run_folder.EXPORTS and (run / jobs.RUN).is_file() else None
    return found if found is not None and found.model is None else None
