"""Commands that use a model: ask it once, talk to it, or serve it to other programs."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Annotated, Any

import typer

from slmstudio.cli.output import Json, print_json, say
from slmstudio.core import llama, program, serving, settings
from slmstudio.core.chat.devices import Choice
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr

app = typer.Typer()
Device = Annotated[Choice | None, typer.Option(
    help="What computes: the processor, or a graphics card by Vulkan or CUDA; auto takes a card that has room. By "
         "default, what Settings says.")]


def chosen(device: str | None) -> str:
    """The device that was given, or the one of the settings."""
    return device or settings.load(put_aside=False)[0].chat_device


@app.command()
def serve(
    model: Annotated[str, typer.Argument(help="A GGUF file; or a run, by its name or folder: its newest export is "
                                              "served.")],
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port to listen on; by default 8765, or the next "
                                                                    "free one.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = serving.LOOPBACK,
    allow_network: Annotated[bool, typer.Option("--allow-network", help="Let other machines reach the "
                                                                        "server.")] = False,
    context: Annotated[int | None, typer.Option(min=256, help="Context length: the tokens of a prompt and its answer "
                                                              "together.")] = None,
    parallel: Annotated[int | None, typer.Option(min=1, max=64, help="Number of answers written at the same "
                                                                     "time.")] = None,
    device: Device = None,
    new_key: Annotated[bool, typer.Option("--new-key", help="Make a new API key; the old one is refused.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line once the server is ready.")] = False,
) -> int:
    """Serve a model to other programs with OpenAI's API, until Ctrl-C. It ends when this terminal is closed."""
    from slmstudio.core.chat import partners
    from slmstudio.core.jobs.interactive import InteractiveWorker

    llama.need()
    gguf, kept = partners.file_to_serve(model).absolute(), partners.assistant_of(model)
    serving.check_host(host, allow_network)
    key = serving.server_key(new_key)
    worker = InteractiveWorker("serve")
    with _interruptible():
        try:
            worker.start()
            worker.send({"command": "start", "path": str(gguf), "key": key, "host": host, "port": port,
                         "allow_network": allow_network, "context_length": context, "parallel": parallel,
                         "device": chosen(device), **(kept.load_options() if kept else {})})
            for message in worker.receive():
                if message["type"] == "error":
                    raise UserError.from_dict(message["error"])
                if message["type"] == "serving":
                    say(message["reason"], file=sys.stderr)
                    _show(message, key, as_json)
            raise worker.cause_of_death()
        except KeyboardInterrupt:
            say(tr("Stopped."), file=sys.stderr)
            return 0
        finally:
            worker.close()


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """`kill` ends it as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _show(message: dict[str, Any], key: str, as_json: bool) -> None:
    url, model = message["url"], message["model"]
    if as_json:
        # Whoever ends `pid` ends the worker too.
        print_json({"url": url, "api_key": key, "model": model, "pid": os.getpid(), "worker_pid": message["pid"],
                    **{name: message[name] for name in ("host", "port", "context_length", "parallel", "device",
                                                      "device_name", "layers_on_device", "layers")}})
        return
    if not serving.is_loopback(message["host"]):
        import socket

        say(tr("Other machines reach it at {address}. The connection isn't encrypted.",
               address=f"http://{socket.gethostname()}:{message['port']}/v1") + "\n")
    say(tr("URL    {url}\nKey    {key}\nModel  {model}", url=url, key=key, model=model))
    say(f"\n{serving.curl_snippet(url, key, model)}\n\n{serving.python_snippet(url, key, model)}\n")
    say(tr("Press Ctrl-C to stop it."), flush=True)


@app.command()
def chat(
    model: Annotated[str, typer.Argument(help='A run, by its name or folder; a GGUF file; a model folder, or the name '
                                             'of a model on this machine; or "starter".')],
    prompt: Annotated[
        str | None, typer.Option(help="Ask once and print the answer; by default, a conversation starts.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="System prompt.")] = None,
    temperature: Annotated[float, typer.Option(help="How freely words are chosen; 0 takes the most likely one.")] = 0.3,
    top_p: Annotated[
        float, typer.Option(help="Choose among the most likely tokens that together make up this share.")] = 0.9,
    top_k: Annotated[int, typer.Option(help="Choose among this many of the most likely tokens; 0 means all.")] = 40,
    min_p: Annotated[
        float, typer.Option(help="Leave out tokens less likely than this share of the most likely one.")] = 0.05,
    repeat_penalty: Annotated[float, typer.Option(help="Make recent words less likely; 1 has no effect.")] = 1.0,
    max_tokens: Annotated[int, typer.Option(help="Maximum length of an answer, in tokens.")] = 512,
    seed: Annotated[int, typer.Option(help="The same seed and question give the same answer.")] = 0,
    stop: Annotated[list[str] | None, typer.Option(help="Stop before this text. Can be given several times.")] = None,
    context: Annotated[int | None, typer.Option(min=1, help="Context length in tokens.")] = None,
    device: Device = None,
    gpu_layers: Annotated[
        int | None, typer.Option(min=0, help="Layers of a GGUF file on the graphics card; by default, as many as fit.")
    ] = None,
    base: Annotated[bool, typer.Option("--base", help="Also let the run's base model answer, to see what was learned.")]
    = False,
    as_json: Json = False,
) -> int:
    """Chat with a run's result, or with another model. Type /help in the chat to see its commands.

    If the run isn't finished, its last checkpoint answers.
    """
    from slmstudio.cli.talk import Talk, Voice, converse
    from slmstudio.core.chat import partners, sampling

    options = {"temperature": temperature, "top_p": top_p, "top_k": top_k, "min_p": min_p,
                "repeat_penalty": repeat_penalty, "max_tokens": max_tokens, "seed": seed, "stop": stop or []}
    sampling.parse(options)
    tuned, *others = map(Voice, partners.of_text(model))
    if gpu_layers is not None and not tuned.is_file:
        raise UserError(tr("--gpu-layers is for GGUF files, and {model} isn't one.", model=model), "",
                        tr("Leave out --gpu-layers, or export the model first: {command}",
                           command=program.command("export", tuned.lane.model)))
    if base and not others:
        raise UserError(tr("There's no base model that can answer too."),
                        tr("{model} isn't a run, its base model is missing, or the two don't fit in memory together.",
                           model=model),
                        tr("Leave out --base, or close other programs."))
    tuned.kept = partners.assistant_of(model)
    voices = [tuned, *others] if base else [tuned]
    with ExitStack() as workers:
        for voice in voices:
            workers.enter_context(voice.worker)
            voice.load(chosen(device), context, gpu_layers)
        talk = Talk(voices, options, system or "", quiet=as_json)
        if prompt is not None:
            talk.ask(prompt)
        else:
            converse(talk)
    if as_json:
        print_json({**tuned.result, **({"base": others[0].result} if base else {})})
    return 0
