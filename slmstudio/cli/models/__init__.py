"""Commands about base models: which there are, how to get one, whether it can be trusted and fits."""

import typer

from slmstudio.cli.models import get, token, vet

app = typer.Typer(no_args_is_help=False, help="Base models: those on disk and those that can be fetched.")
app.command()(get.get)
app.command()(token.token)
app.command()(vet.vet)
