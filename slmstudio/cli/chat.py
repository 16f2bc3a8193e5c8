"""`slmstudio chat`: ask a model once, or talk to it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated

import typer

from slmstudio.cli.output import Json, print_json
from slmstudio.core import program
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr

app = typer.Typer()


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

    settings = {"temperature": temperature, "top_p": top_p, "top_k": top_k, "min_p": min_p,
                "repeat_penalty": repeat_penalty, "max_tokens": max_tokens, "seed": seed, "stop": stop or []}
    sampling.parse(settings)
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
    voices = [tuned, *others] if base else [tuned]
    with ExitStack() as workers:
        for voice in voices:
            workers.enter_context(voice.worker)
            voice.load(context, gpu_layers)
        talk = Talk(voices, settings, system or "", quiet=as_json)
        if prompt is not None:
            talk.ask(prompt)
        else:
            converse(talk)
    if as_json:
        print_json({**tuned.result, **({"base": others[0].result} if base else {})})
    return 0
