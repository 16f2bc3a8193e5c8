"""`slmstudio chat`: ask a model once, or talk to it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slmstudio.cli.output import Json, print_json
from slmstudio.core import jobs, llama, program
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr

app = typer.Typer()


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
    as_json: Json = False,
) -> int:
    """Chat with a model in a GGUF file. In the conversation, type /help to see what you can type."""
    settings = {"temperature": temperature, "top_p": top_p, "top_k": top_k, "min_p": min_p,
                "repeat_penalty": repeat_penalty, "max_tokens": max_tokens, "seed": seed, "stop": stop or []}
    from slmstudio.cli.talk import Talk, converse
    from slmstudio.core.chat import sampling
    from slmstudio.core.jobs.interactive import InteractiveWorker

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
