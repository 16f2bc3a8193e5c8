"""The built-in server in the terminal."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from slmstudio.cli.output import print_json, say
from slmstudio.core import llama, serving
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr

app = typer.Typer()


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
    new_key: Annotated[bool, typer.Option("--new-key", help="Make a new API key; the old one is refused.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line once the server is ready.")] = False,
) -> int:
    """Serve a model to other programs with OpenAI's API, until Ctrl-C. It ends when this terminal is closed."""
    from slmstudio.core.chat import partners
    from slmstudio.core.jobs.interactive import InteractiveWorker

    llama.need()
    gguf = partners.file_to_serve(model).absolute()
    serving.check_host(host, allow_network)
    key = serving.server_key(new_key)
    worker = InteractiveWorker("serve")
    with _interruptible():
        try:
            worker.start()
            worker.send({"command": "start", "path": str(gguf), "key": key, "host": host, "port": port,
                         "allow_network": allow_network, "context_length": context, "parallel": parallel})
            for message in worker.receive():
                if message["type"] == "error":
                    raise UserError.from_dict(message["error"])
                if message["type"] == "serving":
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
                    **{name: message[name] for name in ("host", "port", "context_length", "parallel")}})
        return
    if not serving.is_loopback(message["host"]):
        import socket

        say(tr("Other machines reach it at {address}. The connection isn't encrypted.",
               address=f"http://{socket.gethostname()}:{message['port']}/v1") + "\n")
    say(tr("URL    {url}\nKey    {key}\nModel  {model}", url=url, key=key, model=model))
    say(f"\n{serving.curl_snippet(url, key, model)}\n\n{serving.python_snippet(url, key, model)}\n")
    say(tr("Press Ctrl-C to stop it."), flush=True)
