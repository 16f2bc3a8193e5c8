"""`slmstudio chat`: ask a model once, or talk to it."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from slmstudio.cli.progress import print_error, print_json, say
from slmstudio.core import jobs, llama, program
from slmstudio.core.chat import sampling, store
from slmstudio.core.chat.conversation import Conversation, Lane
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import noop, tr
from slmstudio.core.jobs.interactive import InteractiveWorker

app = typer.Typer()
HELP = noop("""\
/help              show these lines
/system [TEXT]     show the system prompt, or set it
/set NAME VALUE    change a setting: {names}
/regenerate        answer the last question again
/new               start a new conversation
/save FILE         save the conversation as FILE.json and FILE.md
/quit              leave; Ctrl-D does too
Ctrl-C stops an answer. A line that starts with two slashes is sent with one.""")


@app.command()
def chat(
    gguf: Annotated[Path, typer.Argument(help="GGUF file.")],
    prompt: Annotated[
        str | None, typer.Option(help="Ask once and print the answer; by default, a conversation starts.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="System prompt.")] = None,
    temperature: Annotated[float, typer.Option(help="How freely words are chosen; 0 takes the likeliest.")] = 0.3,
    top_p: Annotated[float, typer.Option(help="Draw from the likeliest tokens that make up this share.")] = 0.9,
    top_k: Annotated[int, typer.Option(help="Draw from this many of the likeliest tokens; 0 means all.")] = 40,
    min_p: Annotated[float, typer.Option(help="Leave out tokens less likely than this share of the likeliest.")] = 0.05,
    repeat_penalty: Annotated[float, typer.Option(help="Make the latest words less likely; 1 has no effect.")] = 1.0,
    max_tokens: Annotated[int, typer.Option(help="The most tokens that an answer may have.")] = 512,
    seed: Annotated[int, typer.Option(help="The same seed and question give the same answer.")] = 0,
    stop: Annotated[list[str] | None, typer.Option(help="End before this text; may be given several times.")] = None,
    context: Annotated[int | None, typer.Option(min=1, help="Context length in tokens.")] = None,
    gpu_layers: Annotated[
        int | None, typer.Option(min=0, help="Layers on the graphics card; by default, as many as fit.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of stdout.")] = False,
) -> int:
    """Chat with a model in a GGUF file. In the conversation, type /help to see what you can type."""
    settings = {"temperature": temperature, "top_p": top_p, "top_k": top_k, "min_p": min_p,
                "repeat_penalty": repeat_penalty, "max_tokens": max_tokens, "seed": seed, "stop": stop or []}
    sampling.parse(settings)
    _no_run(gguf)
    llama.need()
    with InteractiveWorker("chat") as worker:
        talk = Talk(worker, gguf, settings, system or "", quiet=as_json)
        talk.load(context, gpu_layers)
        if prompt is not None:
            talk.ask(prompt)
        else:
            converse(talk)
    if as_json:
        print_json(talk.result)
    return 0


def _no_run(path: Path) -> None:
    """
    Raises:
        UserError: it is a run folder, of this program or a newer one.
    """
    from slmstudio.core.run import folder

    if (path / jobs.RUN).is_file():
        jobs.Job(path).request()
        newest = next(iter(folder.exported(path)), None)
        raise UserError(tr("{path} is a run, not a GGUF file.", path=path), "",
                        tr("Give one of its exports: {command}", command=program.command("chat", newest)) if newest
                        else tr("Export it first: {command}", command=program.command("export", path)))


class Talk:
    """A conversation with one model.

    Attributes:
        settings: the fields of `Sampling`.
        result: the last answer with its figures; {} before the first.
    """

    def __init__(self, worker: InteractiveWorker, gguf: Path, settings: dict[str, Any], system: str, quiet: bool):
        self.settings, self.system, self.result = settings, system, dict[str, Any]()
        self._worker, self._gguf, self._quiet = worker, gguf, quiet
        self._replies = worker.receive()
        self._asked = 0
        self._completion = False
        self.new()

    def new(self) -> None:
        """Begin a new conversation."""
        self._lane = Lane(str(self._gguf.absolute()))
        self._conversation = Conversation(time.time(), {}, [self._lane])

    def load(self, context: int | None, gpu_layers: int | None) -> None:
        """Load the model.

        Raises:
            UserError: it cannot be loaded.
        """
        self._worker.send({"command": "load", "path": self._lane.model, "context_length": context,
                           "gpu_layers": gpu_layers})
        loaded = self._wait("loaded", lambda text: None)
        self._completion = not loaded["chat_template"]
        if self._completion:
            say(tr("This model has no chat template, so it continues your text instead of answering it."),
                file=sys.stderr)
        if loaded.get("device"):
            say(loaded["device"], file=sys.stderr)

    def ask(self, question: str) -> None:
        """Put a question and print the answer as it comes.

        Raises:
            UserError: it cannot be answered; it is not part of the conversation then.
        """
        message = self._lane.tree.add("user", question)
        try:
            self._answer(self.settings)
        except UserError:
            self._lane.tree.remove(message)
            raise

    def regenerate(self) -> None:
        """Answer the last question again, with another seed."""
        turns = self._lane.turns
        if not turns:
            raise UserError(tr("You haven't asked anything yet."), "", tr("Type a question."))
        tries = 1
        if turns[-1].role == "assistant":
            tries = len(self._lane.tree.siblings(turns[-1]))
            self._lane.tree.rewind(turns[-1])
        try:
            self._answer({**self.settings, "seed": self.settings["seed"] + tries})
        except UserError:
            self._lane.tree.show(turns[-1])
            raise

    def save(self, path: Path) -> None:
        """Write the conversation as JSON and as Markdown.

        Raises:
            UserError: it cannot be written.
        """
        self._conversation.settings = {"system": self.system, **self.settings}
        store.save(self._conversation, path)

    def _answer(self, settings: dict[str, Any]) -> None:
        self._asked += 1
        messages = [{"role": "system", "content": self.system}] if self.system else []
        messages += [{"role": turn.role, "content": turn.content} for turn in self._lane.turns]
        said: list[str] = []

        def hear(text: str) -> None:
            said.append(text)
            if not self._quiet:
                say(text, end="", flush=True)

        with self._stopping():
            self._worker.send({"command": "generate", "id": self._asked, "messages": messages,
                               "completion": self._completion, **settings})
            done = self._wait("done", hear)
        if said and not self._quiet:
            say()
        figures = {key: value for key, value in done.items() if key not in ("type", "protocol", "id", "time")}
        self.result = {"reply": "".join(said).strip(), **figures}
        self._lane.tree.add("assistant", self.result["reply"], figures)

    @contextlib.contextmanager
    def _stopping(self) -> Iterator[None]:
        """Ctrl-C ends the answer, not the program; a second one does."""
        def stop(*_: Any) -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._worker.send({"command": "stop", "id": self._asked})

        before = signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _wait(self, wanted: str, hear: Callable[[str], None]) -> dict[str, Any]:
        for message in self._replies:
            if message["type"] == "error":
                raise UserError.from_dict(message["error"])
            if message["type"] == "token":
                hear(message["text"])
            elif message["type"] == wanted:
                return message
        raise self._worker.cause_of_death()


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
            if not talk._worker.is_alive():
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
