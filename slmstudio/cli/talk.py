"""A conversation in the terminal with one model, or with several that are asked the same."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from slmstudio.cli.output import print_error, say
from slmstudio.core.chat import sampling
from slmstudio.core.chat.assistant import Assistant
from slmstudio.core.chat.conversation import Conversation, Lane, save_chat
from slmstudio.core.chat.placement import left_card
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import noop, tr
from slmstudio.core.jobs.interactive import InteractiveWorker

HELP = noop("""\
/help              show these lines
/system [TEXT]     show the system prompt, or set it
/set NAME VALUE    change a setting: {names}
/regenerate        answer the last question again
/new               start a new conversation
/save FILE         save the conversation as FILE.json and FILE.md
/quit              leave; Ctrl-D does too
Ctrl-C stops an answer. A line that starts with two slashes is sent with one.""")


class Voice:
    """One model of a conversation, in a worker of its own.

    Attributes:
        is_file: whether the model is a GGUF file, and not the folder of a model or a run.
        name: of the file; of a run or a model in a folder as its own files have it, once it is loaded.
        result: its last answer with its figures; {} before the first.
        kept: what it is shown with each question, where the user has kept that of an evaluation.
        stopped: whether Ctrl-C was pressed in this round.
    """

    def __init__(self, model: Path):
        self.is_file = model.is_file()
        self.worker = InteractiveWorker("chat" if self.is_file else "talk")
        self.lane = Lane(str(model.absolute()))
        self.name, self.result = self.lane.name, dict[str, Any]()
        self.kept: Assistant | None = None
        self.stopped = False
        self._asked = 0
        self._answering = self._completion = False
        self._placed = self._load = dict[str, Any]()

    def load(self, device: str, context: int | None = None, gpu_layers: int | None = None) -> None:
        """Load the model, and say where it computes.

        Args:
            device: one of `devices.CHOICES`.

        Raises:
            UserError: it cannot be loaded.
        """
        self._load = {"command": "load", "path": self.lane.model, "context_length": context, "device": device,
                      "gpu_layers": gpu_layers, **(self.kept.load_options() if self.kept else {})}
        self._replies = self.worker.receive()
        self.worker.send(self._load)
        loaded = self._placed = self._wait("loaded", lambda text: None)
        self.name = self.name if self.is_file else loaded.get("name", self.name)
        self._completion = not loaded["chat_template"]
        say(": ".join(filter(None, (self.name, loaded["reason"]))), file=sys.stderr)
        if self.kept is not None:
            say(tr("It answers as “{name}” did in an evaluation, with its prompt and rows.", name=self.kept.rival),
                file=sys.stderr)
        if self._completion:
            say(tr("This model has no chat template, so it continues your text instead of answering it."),
                file=sys.stderr)

    def answer(self, system: str, settings: dict[str, Any], hear: Callable[[str], None]) -> None:
        """Answer the last question.

        Args:
            settings: the fields of `Sampling`.
            hear: called with the answer's text as it comes.

        Raises:
            UserError: it cannot be answered.
        """
        self._asked += 1
        messages = [{"role": "system", "content": system}] if system else []
        messages += [{"role": turn.role, "content": turn.content} for turn in self.lane.turns]
        said: list[str] = []

        def take(text: str) -> None:
            said.append(text)
            hear(text)

        self.worker.send({"command": "generate", "id": self._asked, "messages": messages,
                          "completion": self._completion, **settings})
        self._answering = True
        try:
            if self.stopped:
                self.stop()
            done = self._wait("done", take)
        finally:
            self._answering = False
        figures = {key: value for key, value in done.items() if key not in ("type", "protocol", "id", "time")}
        self.result = {"model": self.lane.model, "reply": "".join(said).strip(), **figures,
                       **{key: self._placed[key] for key in ("device", "device_name", "layers_on_device", "layers")}}
        self.lane.tree.add("assistant", self.result["reply"], figures)

    def stop(self) -> None:
        """End the answer that is coming, or one that is about to be asked for. A signal handler may call it."""
        self.stopped = True
        if self._answering:  # else the question may be half sent
            self.worker.send({"command": "stop", "id": self._asked})

    def _wait(self, wanted: str, hear: Callable[[str], None]) -> dict[str, Any]:
        for message in self._replies:
            if message["type"] == "error":
                raise UserError.from_dict(message["error"])
            if message["type"] in ("placed", "loaded"):
                self._placed = message
            if message["type"] == "token":
                hear(message["text"])
            elif message["type"] == wanted:
                return message
        error, placed = self.worker.cause_of_death(), self._placed
        if not placed.get("layers_on_device"):
            raise error
        self.worker.start()  # most likely it was the card's driver
        self._placed = {}
        self.load("cpu", self._load["context_length"])
        if wanted == "loaded":
            return self._placed
        raise left_card(placed["device_name"], error.why)


class Talk:
    """A conversation.

    Args:
        voices: at least one.

    Attributes:
        settings: the fields of `Sampling`.
    """

    def __init__(self, voices: list[Voice], settings: dict[str, Any], system: str, quiet: bool):
        self.voices, self.settings, self.system = voices, settings, system
        self._quiet = quiet
        self._began = time.time()

    def new(self) -> None:
        self._began = time.time()
        for voice in self.voices:
            voice.lane = Lane(voice.lane.model)

    def is_alive(self) -> bool:
        return all(voice.worker.is_alive() for voice in self.voices)

    def ask(self, question: str) -> None:
        """Put a question to each model and print the answers as they come. After Ctrl-C, the models that follow answer
        nothing.

        Raises:
            UserError: a model can't answer it; it isn't part of the conversation with any of them then.
        """
        asked = [(voice.lane.tree, voice.lane.tree.add("user", question)) for voice in self.voices]
        try:
            self._answer_all(self.settings)
        except UserError:
            for tree, message in asked:
                tree.remove(message)
            raise
        for tree, message in asked:
            if tree.path()[-1] is message:  # many chat templates refuse two questions in a row
                tree.add("assistant", "", {"reason": "stopped"})

    def regenerate(self) -> None:
        """Answer the last question again, with another seed. Where that fails or isn't begun, the answers before stay.

        Raises:
            UserError: nothing was asked, or a model can't answer.
        """
        shown = [(voice.lane.tree, voice.lane.turns[-1]) for voice in self.voices if voice.lane.turns]
        if not shown:
            raise UserError(tr("You haven't asked anything yet."), "", tr("Type a question."))
        tries = max(len(tree.siblings(answer)) for tree, answer in shown)
        for tree, answer in shown:
            tree.rewind(answer)
        try:
            self._answer_all({**self.settings, "seed": self.settings["seed"] + tries})
        except UserError:
            for tree, answer in shown:
                tree.show(answer)
            raise
        for tree, answer in shown:
            if tree.path()[-1].role == "user":
                tree.show(answer)

    def _answer_all(self, settings: dict[str, Any]) -> None:
        with self._stopping():
            for voice in self.voices:
                if not voice.stopped:
                    self._answer(voice, settings)

    @contextlib.contextmanager
    def _stopping(self) -> Iterator[None]:
        """Ctrl-C ends the answer and the round, not the program; a second one does."""
        def stop(*_: Any) -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            for voice in self.voices:
                voice.stop()

        for voice in self.voices:
            voice.stopped = False
        before = signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _answer(self, voice: Voice, settings: dict[str, Any]) -> None:
        if self._quiet:
            voice.answer(self.system, settings, lambda text: None)
            return
        if len(self.voices) > 1:
            say(f"[{voice.name}]", flush=True)
        voice.answer(self.system, settings, lambda text: say(text, end="", flush=True))
        if voice.result["reply"]:
            say()
        if voice.result["reason"] == "repeated":
            say(tr(sampling.ADVICE), file=sys.stderr)

    def save(self, path: Path) -> None:
        """Write the conversation as JSON and as Markdown.

        Raises:
            UserError: it cannot be written.
        """
        settings = {"system": self.system, **self.settings}
        save_chat(Conversation(self._began, settings, [voice.lane for voice in self.voices]), path)


def converse(talk: Talk) -> None:
    """Talk until the input ends. What goes wrong with one line does not end the conversation."""
    if sys.stdin.isatty():
        say(tr("Ask something. Type /help to see what else you can type."), file=sys.stderr)
    while True:
        try:
            line = input(tr("you> ") if sys.stdin.isatty() else "").strip()
        except EOFError:
            return
        try:
            if line in ("/quit", "/exit"):
                return
            if line.startswith("/") and not line.startswith("//"):
                _obey(talk, line)
            elif line:
                talk.ask(line.removeprefix("/") if line.startswith("//") else line)
        except UserError as error:
            print_error(error, as_json=False)
            if not talk.is_alive():
                raise


def _obey(talk: Talk, line: str) -> None:
    command, _, rest = line.partition(" ")
    rest = rest.strip()
    if command == "/help":
        say(tr(HELP, names=", ".join(talk.settings)))
    elif command == "/system":
        talk.system = rest or talk.system
        say(tr("System prompt: {prompt}", prompt=talk.system or tr("none")))
    elif command == "/set":
        _set(talk, rest)
    elif command == "/regenerate":
        talk.regenerate()
    elif command == "/new":
        talk.new()
    elif command == "/save" and rest:
        path = Path(rest)
        talk.save(path)
        say(tr("Saved as {json_file} and {markdown_file}.", json_file=path.with_suffix(".json"),
               markdown_file=path.with_suffix(".md")))
    else:
        raise UserError(tr("{command} isn't a command here, or something is missing after it.", command=command), "",
                        tr("Type /help to see what you can type."))


def _set(talk: Talk, rest: str) -> None:
    name, _, value = rest.partition(" ")
    name = name.replace("-", "_")
    if name not in talk.settings:
        raise UserError(tr("There's no setting “{name}”.", name=name), "",
                        tr("Choose one of: {settings}.", settings=", ".join(talk.settings)))
    taken: Any = [value.strip()] if name == "stop" else value.strip()
    if name != "stop":
        with contextlib.suppress(ValueError):
            taken = int(taken) if name in sampling.WHOLE else float(taken)
    sampling.parse({**talk.settings, name: taken})
    talk.settings[name] = taken
    say(tr("{name} is now {value}.", name=name, value=taken))
